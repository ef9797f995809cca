/* ISO 8583 messages: any bytes are refused with a note, or pack again to themselves; field parsers bear any
 * text. */
#include "iso8583/f62.h"
#include "iso8583/mask.h"
#include "iso8583/pack.h"
#include "iso8583/processing.h"
#include "iso8583/track2.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool right)
{
    if (!right)
        abort();
}

static void parse_fields(const struct iso_message *m, struct err *e)
{
    char masked[ISO_MASKED_BYTES], pan[20], track[ISO_TRACK2_DIGITS_MAX + 1];
    uint8_t bytes[ISO_TRACK2_CLEAR_MAX];
    size_t len = 0;
    struct iso_f53 f53;
    struct iso_f60 f60;
    struct iso_f62 f62;
    const char *serial = NULL;
    for (unsigned i = 0; i <= ISO_FIELD_LAST + 1; i++)
        iso_mask_field(m, i, masked);
    if (iso_has(m, 53))
        (void)!iso_f53_parse(iso_text(m, 53), &f53, e);
    if (iso_has(m, 60) && iso_f60_parse(iso_text(m, 60), &f60, e) == ERR_OK) {
        char again[ISO_F60_DIGITS_MAX + 1];
        must(iso_f60_build(&f60, again, e) == ERR_OK && strcmp(again, iso_text(m, 60)) == 0);
    }
    const uint8_t *f62_bytes = iso_view_bytes(m, 62, &len);
    if (f62_bytes != NULL) {
        (void)!iso_f62_parse(f62_bytes, len, ISO_F62_TDES, &f62, e);
        (void)!iso_f62_parse(f62_bytes, len, ISO_F62_AES, &f62, e);
        (void)!iso_f62_serial(f62_bytes, len, &serial, &len, e);
    }
    if (!iso_has(m, 35))
        return;
    strcpy(track, iso_text(m, 35));
    (void)!iso_track2_pan(track, pan, e);
    for (enum iso_track2_rule rule = ISO_TRACK2_TDES; rule <= ISO_TRACK2_AES; rule++) {
        if (iso_track2_slice(rule, track, bytes, &len, e) == ERR_OK)
            must(iso_track2_put(rule, track, bytes, len, e) == ERR_OK && strcmp(track, iso_text(m, 35)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct iso_message m;
    static uint8_t again[ISO_MESSAGE_BYTES_MAX];
    for (const struct iso_dialect *const *d = iso_dialects; *d != NULL; d++) {
        struct err e = {0};
        size_t len = 0;
        if (iso_unpack(&m, *d, data, size, &e) != ERR_OK) {
            must(e.note[0] != '\0');
            continue;
        }
        must(iso_pack(&m, again, sizeof again, &len, &e) == ERR_OK);
        must(len == size && memcmp(again, data, size) == 0);
        if (iso_mac_input_len(&m, size) > 0) {
            must(iso_mac_input(&m, again, sizeof again, &len, &e) == ERR_OK && len == size - ISO_MAC_BYTES);
            must(memcmp(again, data, len) == 0);
        }
        parse_fields(&m, &e);
    }
    return 0;
}

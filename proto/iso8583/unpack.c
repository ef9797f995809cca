#include "base/hex.h"
#include "base/secret.h"
#include "iso8583/pack.h"

#include <string.h>

#define FIELD_UNITS_MAX 999

struct reader {
    const uint8_t *bytes;
    size_t left;
};

static enum err_code take(struct reader *r, size_t len, const char *what, const uint8_t **out_at,
                          struct err *e)
{
    if (len > r->left)
        return err_set(e, ERR_INPUT, "%s: needs %zu bytes, %zu left", what, len, r->left);
    *out_at = r->bytes;
    r->bytes += len;
    r->left -= len;
    return ERR_OK;
}

static enum err_code take_length(struct reader *r, const struct iso_field *row, size_t *out_len,
                                 struct err *e)
{
    if (row->length == ISO_FIXED) {
        *out_len = row->max;
        return ERR_OK;
    }
    const uint8_t *at = NULL;
    const size_t count = row->length == ISO_LL ? 1 : 2;
    TRY(take(r, count, "length", &at, e));
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        if (at[i] >> 4 > 9 || (at[i] & 0xF) > 9)
            return err_set(e, ERR_INPUT, "length byte %02X is not BCD", at[i]);
        len = len * 100 + (size_t)(at[i] >> 4) * 10 + (at[i] & 0xF);
    }
    if (len > row->max)
        return err_set(e, ERR_INPUT, "length %zu exceeds %u", len, row->max);
    *out_len = len;
    return ERR_OK;
}

static enum err_code nibbles_to_text(const struct iso_field *row, const uint8_t *wire, size_t count,
                                     char *out, struct err *e)
{
    const bool odd = count % 2 != 0;
    const size_t first = odd && row->pad == ISO_PAD_LEFT ? 1 : 0;
    const size_t total = count + (odd ? 1 : 0);
    for (size_t i = 0; i < total; i++) {
        const uint8_t nibble = i % 2 == 0 ? wire[i / 2] >> 4 : wire[i / 2] & 0xF;
        const bool pad = i < first || i - first >= count;
        if (pad && nibble != row->pad_nibble)
            return err_set(e, ERR_INPUT, "pad nibble is %X, needs %X", nibble, row->pad_nibble);
        if (!pad && row->format == ISO_DIGITS && nibble > 9)
            return err_set(e, ERR_INPUT, "digit %zu is %X, not decimal", i - first + 1, nibble);
        if (!pad)
            out[i - first] = "0123456789ABCDEF"[nibble];
    }
    return ERR_OK;
}

static enum err_code read_field(struct iso_message *m, unsigned number, struct reader *r, struct err *e)
{
    const struct iso_field *row = iso_dialect_field(m->dialect, number);
    if (row == NULL)
        return err_set(e, ERR_INPUT, "field %u is not in dialect %s", number, m->dialect->name);
    size_t len = 0;
    if (take_length(r, row, &len, e) != ERR_OK)
        return err_context(e, "field %u", number);
    const bool nibbles = row->format == ISO_DIGITS || row->format == ISO_TRACK;
    const uint8_t *wire = NULL;
    if (take(r, nibbles ? (len + 1) / 2 : len, "value", &wire, e) != ERR_OK)
        return err_context(e, "field %u", number);
    if (!nibbles)
        return iso_set_bytes(m, number, wire, len, e);
    char text[FIELD_UNITS_MAX + 1];
    enum err_code code = nibbles_to_text(row, wire, len, text, e);
    code = code == ERR_OK ? iso_set_bytes(m, number, text, len, e) : err_context(e, "field %u", number);
    secret_wipe(text, len);
    return code;
}

static enum err_code read_head(struct iso_message *m, struct reader *r, const uint8_t **out_bitmap,
                               struct err *e)
{
    const uint8_t *mti = NULL, *bitmap = NULL;
    TRY(take(r, 2, "message type", &mti, e));
    char text[5];
    hex_encode(mti, 2, text);
    TRY(iso_set_mti(m, text, e));
    TRY(take(r, 8, "bitmap", &bitmap, e));
    if (bitmap[0] & 0x80)
        return err_set(e, ERR_INPUT,
                       "bitmap announces a secondary bitmap (field 1); only fields 2-64 are supported");
    *out_bitmap = bitmap;
    return ERR_OK;
}

static enum err_code read_all(struct iso_message *m, struct reader *r, struct err *e)
{
    const uint8_t *bitmap = NULL;
    unsigned last = 0;
    TRY(read_head(m, r, &bitmap, e));
    for (unsigned i = ISO_FIELD_FIRST; i <= ISO_FIELD_LAST; i++) {
        if ((bitmap[(i - 1) / 8] & 0x80 >> (i - 1) % 8) == 0)
            continue;
        TRY(read_field(m, i, r, e));
        last = i;
    }
    if (r->left > 0)
        return err_set(e, ERR_INPUT, "%zu bytes follow the last field (%u)", r->left, last);
    return ERR_OK;
}

enum err_code iso_unpack(struct iso_message *m, const struct iso_dialect *dialect, const uint8_t *bytes,
                         size_t len, struct err *e)
{
    iso_message_init(m, dialect);
    if (len > ISO_MESSAGE_BYTES_MAX)
        return err_set(e, ERR_INPUT, "message of %zu bytes is longer than %d", len, ISO_MESSAGE_BYTES_MAX);
    struct reader r = {.bytes = bytes, .left = len};
    const enum err_code code = read_all(m, &r, e);
    if (code != ERR_OK)
        iso_message_drop(m);
    return code;
}

#include "iso8583/f62.h"

#include "base/hex.h"

#include <stdio.h>
#include <string.h>

#define SERIAL_LABEL "Sequence No"
#define TDES_BYTES   16

struct slot_layout {
    uint8_t cipher_len, zero_len; /* zero bytes stand between cryptogram and CV */
};

struct layout {
    uint8_t len;
    bool written;
    const char *management_code; /* NULL: no code asks for it */
    struct slot_layout slots[ISO_F62_SLOT_COUNT];
};

static const struct layout layouts[] = {
    {.len = 24, .written = true, .management_code = "001", .slots = {{8, 0}, {8, 0}}},
    {.len = 40, .written = true, .management_code = "003", .slots = {{16, 0}, {8, 8}}},
    {.len = 60, .written = true, .management_code = "004", .slots = {{16, 0}, {16, 0}, {16, 0}}},
    {.len = 84, .written = true, .management_code = "005", .slots = {{24, 0}, {24, 0}, {24, 0}}},
    {.len = 56, .slots = {{24, 0}, {24, 0}}},
    {.len = 57, .slots = {{24, 0}, {24, 0}}},
    {.len = 104, .slots = {{16, 0}, {16, 0}, {16, 0}}},
};

static const char *const slot_names[] = {"PIK", "MAK", "TDK"};

static const struct layout *find_layout(size_t len)
{
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        if (layouts[i].len == len)
            return &layouts[i];
    }
    return NULL;
}

enum err_code iso_f62_len(const char *management_code, size_t *out_len, struct err *e)
{
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        const char *code = layouts[i].management_code;
        if (code != NULL && strcmp(code, management_code) == 0) {
            *out_len = layouts[i].len;
            return ERR_OK;
        }
    }
    return err_set(e, ERR_INPUT, "management code %.3s asks for no working keys; 001, 003, 004, 005 do",
                   management_code);
}

size_t iso_f62_slot_len(size_t len, enum iso_f62_slot slot)
{
    const struct layout *layout = find_layout(len);
    return layout != NULL ? layout->slots[slot].cipher_len : 0;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

static enum err_code parse_slot(const uint8_t *at, const struct slot_layout *slot, enum iso_f62_fill fill,
                                struct iso_f62_key *out_key, struct err *e)
{
    size_t used = slot->cipher_len;
    if (used == ISO_F62_CIPHER_MAX && fill == ISO_F62_TDES)
        used = TDES_BYTES;
    const size_t zeros = (size_t)slot->cipher_len + slot->zero_len - used;
    if (!all_zero(at + used, zeros))
        return err_set(e, ERR_INPUT, "padding after %zu bytes is not zero", used);
    memcpy(out_key->cipher, at, used);
    out_key->cipher_len = used;
    memcpy(out_key->cv, at + used + zeros, ISO_F62_CV_BYTES);
    return ERR_OK;
}

enum err_code iso_f62_parse(const uint8_t *bytes, size_t len, enum iso_f62_fill fill, struct iso_f62 *out_f62,
                            struct err *e)
{
    const struct layout *layout = find_layout(len);
    if (layout == NULL)
        return err_set(e, ERR_INPUT, "field 62: %zu bytes are no layout of working keys", len);
    struct iso_f62 f62 = {0};
    for (size_t i = 0; i < ISO_F62_SLOT_COUNT; i++) {
        const struct slot_layout *slot = &layout->slots[i];
        if (slot->cipher_len == 0)
            continue;
        if (parse_slot(bytes, slot, fill, &f62.keys[i], e) != ERR_OK)
            return err_context(e, "field 62: %s", slot_names[i]);
        bytes += slot->cipher_len + slot->zero_len + ISO_F62_CV_BYTES;
    }
    *out_f62 = f62;
    return ERR_OK;
}

/* A shorter cryptogram is zero-padded in a 24-byte slot only: elsewhere its length is the layout's. */
static bool fits(const struct slot_layout *slot, size_t cipher_len)
{
    if (slot->cipher_len == ISO_F62_CIPHER_MAX)
        return cipher_len == 8 || cipher_len == TDES_BYTES || cipher_len == ISO_F62_CIPHER_MAX;
    return cipher_len == slot->cipher_len;
}

enum err_code iso_f62_build(const struct iso_f62 *f62, size_t len, uint8_t out_bytes[ISO_F62_BYTES_MAX],
                            struct err *e)
{
    const struct layout *layout = find_layout(len);
    if (layout == NULL || !layout->written)
        return err_set(e, ERR_INPUT, "field 62: no layout of %zu bytes is written", len);
    uint8_t bytes[ISO_F62_BYTES_MAX] = {0};
    size_t at = 0;
    for (size_t i = 0; i < ISO_F62_SLOT_COUNT; i++) {
        const struct slot_layout *slot = &layout->slots[i];
        const struct iso_f62_key *key = &f62->keys[i];
        if (slot->cipher_len == 0)
            continue;
        if (!fits(slot, key->cipher_len))
            return err_set(e, ERR_INPUT, "field 62: %s of %zu bytes does not fit a slot of %u", slot_names[i],
                           key->cipher_len, slot->cipher_len);
        memcpy(bytes + at, key->cipher, key->cipher_len);
        at += (size_t)slot->cipher_len + slot->zero_len;
        memcpy(bytes + at, key->cv, ISO_F62_CV_BYTES);
        at += ISO_F62_CV_BYTES;
    }
    memcpy(out_bytes, bytes, at);
    return ERR_OK;
}

enum err_code iso_f62_serial(const uint8_t *bytes, size_t len, const char **out_serial,
                             size_t *out_serial_len, struct err *e)
{
    const size_t label = strlen(SERIAL_LABEL), head = label + 2;
    if (len < head || strncmp((const char *)bytes, SERIAL_LABEL, label) != 0)
        return err_set(e, ERR_INPUT, "field 62 does not begin with \"" SERIAL_LABEL "\" and two digits");
    const char *digits = (const char *)bytes + label;
    if (!digits_only(digits, 2))
        return err_set(e, ERR_INPUT, "field 62: the serial number's length is not two digits");
    const size_t announced = (size_t)(digits[0] - '0') * 10 + (size_t)(digits[1] - '0');
    if (announced == 0 || announced != len - head)
        return err_set(e, ERR_INPUT, "field 62: serial number of %zu characters, announced are %zu",
                       len - head, announced);
    *out_serial = (const char *)bytes + head;
    *out_serial_len = announced;
    return ERR_OK;
}

enum err_code iso_f62_serial_build(const char *serial, char out_text[16 + ISO_F62_SERIAL_MAX], struct err *e)
{
    const size_t len = strlen(serial);
    if (len == 0 || len > ISO_F62_SERIAL_MAX)
        return err_set(e, ERR_INPUT, "serial number of %zu characters; 1 to %d are possible", len,
                       ISO_F62_SERIAL_MAX);
    snprintf(out_text, 16 + ISO_F62_SERIAL_MAX, SERIAL_LABEL "%02zu%s", len, serial);
    return ERR_OK;
}

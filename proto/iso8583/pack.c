#include "iso8583/pack.h"

#include "base/hex.h"

#include <string.h>

#define HEAD_BYTES 10 /* message type and bitmap */

struct writer {
    uint8_t *bytes;
    size_t len, capacity;
};

static bool is_nibbles(const struct iso_field *row)
{
    return row->format == ISO_DIGITS || row->format == ISO_TRACK;
}

static size_t wire_bytes(const struct iso_field *row, size_t units)
{
    return is_nibbles(row) ? (units + 1) / 2 : units;
}

static enum err_code reserve(struct writer *w, size_t len, uint8_t **out_at, struct err *e)
{
    if (len > w->capacity - w->len)
        return err_set(e, ERR_LIMIT, "message is longer than %zu bytes", w->capacity);
    *out_at = w->bytes + w->len;
    w->len += len;
    return ERR_OK;
}

static void put_nibbles(const struct iso_field *row, const uint8_t *digits, size_t count, uint8_t *out)
{
    const bool odd = count % 2 != 0;
    const size_t shift = odd && row->pad == ISO_PAD_LEFT ? 1 : 0;
    const size_t total = count + (odd ? 1 : 0);
    for (size_t i = 0; i < total; i++) {
        const bool pad = i < shift || i - shift >= count;
        const uint8_t nibble = pad ? row->pad_nibble : (uint8_t)hex_digit((char)digits[i - shift]);
        out[i / 2] = i % 2 == 0 ? (uint8_t)(nibble << 4) : (uint8_t)(out[i / 2] | nibble);
    }
}

static uint8_t bcd(size_t two_digits)
{
    return (uint8_t)(two_digits / 10 << 4 | two_digits % 10);
}

static enum err_code put_length(struct writer *w, const struct iso_field *row, size_t len, struct err *e)
{
    if (row->length == ISO_FIXED)
        return ERR_OK;
    uint8_t *at = NULL;
    const size_t count = row->length == ISO_LL ? 1 : 2;
    TRY(reserve(w, count, &at, e));
    if (count == 2)
        *at++ = bcd(len / 100);
    *at = bcd(len % 100);
    return ERR_OK;
}

static enum err_code put_field(struct writer *w, const struct iso_message *m, unsigned number, struct err *e)
{
    const struct iso_field *row = iso_dialect_field(m->dialect, number);
    size_t len = 0;
    const uint8_t *value = iso_view_bytes(m, number, &len);
    if (row == NULL || value == NULL)
        return err_set(e, ERR_INTERNAL, "field %u is not in dialect %s", number, m->dialect->name);
    uint8_t *at = NULL;
    TRY(put_length(w, row, len, e));
    TRY(reserve(w, wire_bytes(row, len), &at, e));
    if (is_nibbles(row))
        put_nibbles(row, value, len, at);
    else if (len > 0)
        memcpy(at, value, len);
    return ERR_OK;
}

/* Fields up to `last`; bit 64 is set when the message has it or `mac_bit` asks for it. */
static enum err_code pack_until(const struct iso_message *m, unsigned last, bool mac_bit, struct writer *w,
                                struct err *e)
{
    if (m->mti[0] == '\0')
        return err_set(e, ERR_INPUT, "the message has no message type");
    uint8_t *head = NULL;
    TRY(reserve(w, HEAD_BYTES, &head, e));
    TRY(bcd_encode(m->mti, 4, head, e));
    uint8_t *bitmap = head + 2;
    memset(bitmap, 0, 8);
    for (unsigned i = ISO_FIELD_FIRST; i <= ISO_FIELD_LAST; i++) {
        if (iso_has(m, i) || (i == ISO_FIELD_LAST && mac_bit))
            bitmap[(i - 1) / 8] |= (uint8_t)(0x80 >> (i - 1) % 8);
        if (iso_has(m, i) && i <= last)
            TRY(put_field(w, m, i, e));
    }
    return ERR_OK;
}

enum err_code iso_pack(const struct iso_message *m, uint8_t *out_bytes, size_t capacity, size_t *out_len,
                       struct err *e)
{
    struct writer w = {.bytes = out_bytes, .capacity = capacity};
    TRY(pack_until(m, ISO_FIELD_LAST, false, &w, e));
    *out_len = w.len;
    return ERR_OK;
}

enum err_code iso_mac_input(const struct iso_message *m, uint8_t *out_bytes, size_t capacity, size_t *out_len,
                            struct err *e)
{
    struct writer w = {.bytes = out_bytes, .capacity = capacity};
    TRY(pack_until(m, ISO_FIELD_LAST - 1, true, &w, e));
    *out_len = w.len;
    return ERR_OK;
}

size_t iso_mac_input_len(const struct iso_message *m, size_t len)
{
    return iso_has(m, ISO_FIELD_LAST) && len >= HEAD_BYTES + ISO_MAC_BYTES ? len - ISO_MAC_BYTES : 0;
}

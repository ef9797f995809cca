#include "iso8583/message.h"

#include "base/hex.h"
#include "base/secret.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_DIGITS_MAX 18 /* fits 63 bits */

void iso_message_init(struct iso_message *m, const struct iso_dialect *dialect)
{
    memset(m, 0, offsetof(struct iso_message, values));
    m->dialect = dialect;
}

void iso_message_drop(struct iso_message *m)
{
    const struct iso_dialect *dialect = m->dialect;
    if (m->used <= sizeof m->values)
        secret_wipe(m->values, m->used);
    iso_message_init(m, dialect);
}

enum err_code iso_set_mti(struct iso_message *m, const char *mti, struct err *e)
{
    if (strlen(mti) != 4 || !digits_only(mti, 4))
        return err_set(e, ERR_INPUT, "message type is not 4 digits");
    memcpy(m->mti, mti, sizeof m->mti);
    return ERR_OK;
}

static enum err_code find_row(const struct iso_message *m, unsigned field, const struct iso_field **out_row,
                              struct err *e)
{
    const struct iso_field *row = iso_dialect_field(m->dialect, field);
    if (row == NULL)
        return err_set(e, ERR_INPUT, "field %u is not in dialect %s", field, m->dialect->name);
    *out_row = row;
    return ERR_OK;
}

static bool char_fits(enum iso_format format, uint8_t c)
{
    switch (format) {
    case ISO_DIGITS:
        return c >= '0' && c <= '9';
    case ISO_TRACK:
        return hex_digit((char)c) >= 0 || c == '=';
    case ISO_TEXT:
        return c >= 0x20 && c <= 0x7E;
    case ISO_BYTES:
        return true;
    }
    return false;
}

static enum err_code check_value(const struct iso_field *row, unsigned field, const uint8_t *bytes,
                                 size_t len, struct err *e)
{
    static const char *const needs[] = {[ISO_DIGITS] = "a digit",
                                        [ISO_TRACK] = "a track digit",
                                        [ISO_TEXT] = "printable",
                                        [ISO_BYTES] = "a byte"};
    if (len > row->max)
        return err_set(e, ERR_INPUT, "field %u: length %zu exceeds %u", field, len, row->max);
    if (row->length == ISO_FIXED && len != row->max)
        return err_set(e, ERR_INPUT, "field %u: length %zu, needs %u", field, len, row->max);
    for (size_t i = 0; i < len; i++) {
        if (!char_fits(row->format, bytes[i]))
            return err_set(e, ERR_INPUT, "field %u: character %zu is not %s", field, i + 1,
                           needs[row->format]);
    }
    return ERR_OK;
}

void iso_clear(struct iso_message *m, unsigned field)
{
    if (!iso_has(m, field))
        return;
    const struct iso_value old = m->fields[field];
    const size_t slot = (size_t)old.len + 1, end = (size_t)old.at + slot;
    memmove(m->values + old.at, m->values + end, m->used - end);
    m->used -= slot;
    secret_wipe(m->values + m->used, slot);
    m->fields[field] = (struct iso_value){0};
    for (unsigned i = ISO_FIELD_FIRST; i <= ISO_FIELD_LAST; i++) {
        if (m->fields[i].present && m->fields[i].at > old.at)
            m->fields[i].at = (uint16_t)(m->fields[i].at - slot);
    }
}

static void store(struct iso_message *m, unsigned field, const uint8_t *bytes, size_t len, bool track)
{
    uint8_t *at = m->values + m->used;
    m->fields[field] = (struct iso_value){.at = (uint16_t)m->used, .len = (uint16_t)len, .present = true};
    for (size_t i = 0; i < len; i++) {
        const uint8_t c = bytes[i];
        const bool lower = c >= 'a' && c <= 'f';
        at[i] = !track ? c : c == '=' ? 'D' : lower ? (uint8_t)(c - 'a' + 'A') : c;
    }
    at[len] = '\0';
    m->used += len + 1;
}

bool iso_is_request(const char *mti)
{
    return strlen(mti) == 4 && digits_only(mti, 4) && mti[0] == '0' && (mti[2] - '0') % 2 == 0;
}

enum err_code iso_set_bytes(struct iso_message *m, unsigned field, const void *bytes, size_t len,
                            struct err *e)
{
    const struct iso_field *row = NULL;
    TRY(find_row(m, field, &row, e));
    TRY(check_value(row, field, bytes, len, e));
    const size_t freed = iso_has(m, field) ? (size_t)m->fields[field].len + 1 : 0;
    if (m->used - freed + len + 1 > sizeof m->values)
        return err_set(e, ERR_LIMIT, "field %u: the message is full", field);
    iso_clear(m, field);
    store(m, field, bytes, len, row->format == ISO_TRACK);
    return ERR_OK;
}

enum err_code iso_set_text(struct iso_message *m, unsigned field, const char *text, struct err *e)
{
    return iso_set_bytes(m, field, text, strlen(text), e);
}

enum err_code iso_set_number(struct iso_message *m, unsigned field, uint64_t number, struct err *e)
{
    const struct iso_field *row = NULL;
    TRY(find_row(m, field, &row, e));
    if (row->format != ISO_DIGITS || row->length != ISO_FIXED)
        return err_set(e, ERR_INTERNAL, "field %u is not a number of fixed length", field);
    char text[32];
    const int len = snprintf(text, sizeof text, "%0*" PRIu64, (int)row->max, number);
    return iso_set_bytes(m, field, text, (size_t)len, e);
}

enum err_code iso_copy_field(struct iso_message *m, const struct iso_message *from, unsigned field,
                             struct err *e)
{
    size_t len = 0;
    const uint8_t *bytes = iso_view_bytes(from, field, &len);
    return bytes != NULL ? iso_set_bytes(m, field, bytes, len, e) : ERR_OK;
}

bool iso_has(const struct iso_message *m, unsigned field)
{
    return field >= ISO_FIELD_FIRST && field <= ISO_FIELD_LAST && m->fields[field].present;
}

const uint8_t *iso_view_bytes(const struct iso_message *m, unsigned field, size_t *out_len)
{
    if (!iso_has(m, field))
        return NULL;
    *out_len = m->fields[field].len;
    return m->values + m->fields[field].at;
}

const char *iso_text(const struct iso_message *m, unsigned field)
{
    size_t len = 0;
    const uint8_t *bytes = iso_view_bytes(m, field, &len);
    if (bytes == NULL)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        if (!char_fits(ISO_TEXT, bytes[i]))
            return NULL;
    }
    return (const char *)bytes;
}

enum err_code iso_number(const struct iso_message *m, unsigned field, uint64_t *out_number, struct err *e)
{
    size_t len = 0;
    const uint8_t *text = iso_view_bytes(m, field, &len);
    if (text == NULL)
        return err_set(e, ERR_NOT_FOUND, "field %u is missing", field);
    if (len == 0 || len > NUMBER_DIGITS_MAX || !digits_only((const char *)text, len))
        return err_set(e, ERR_INPUT, "field %u is not a number of 1 to %d digits", field, NUMBER_DIGITS_MAX);
    uint64_t number = 0;
    for (size_t i = 0; i < len; i++)
        number = number * 10 + (uint64_t)(text[i] - '0');
    *out_number = number;
    return ERR_OK;
}

enum err_code iso_require(const struct iso_message *m, const uint8_t *fields, struct err *e)
{
    for (const uint8_t *f = fields; *f != 0; f++) {
        if (!iso_has(m, *f))
            return err_set(e, ERR_INPUT, "field %u is missing", *f);
    }
    return ERR_OK;
}

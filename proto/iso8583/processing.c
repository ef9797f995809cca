#include "iso8583/processing.h"

#include "base/hex.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define F60_DIGITS_MIN 8
#define F53_DIGITS     16

struct part {
    const char *name;
    size_t offset, digits;
    bool any_length; /* up to `digits` */
};

static const struct part f60_parts[] = {
    {"type", offsetof(struct iso_f60, type), 2, false},
    {"batch", offsetof(struct iso_f60, batch), 6, false},
    {"management code", offsetof(struct iso_f60, management), 3, false},
    {"read capability", offsetof(struct iso_f60, capability), 1, false},
    {"IC condition", offsetof(struct iso_f60, ic_condition), 1, false},
    {"partial approval", offsetof(struct iso_f60, partial_approval), 1, false},
    {"account type", offsetof(struct iso_f60, account), 3, false},
    {"extra digits", offsetof(struct iso_f60, extra), 2, true},
};

#define F60_PART_COUNT (sizeof f60_parts / sizeof f60_parts[0])

enum err_code iso_f60_parse(const char *text, struct iso_f60 *out_f60, struct err *e)
{
    const size_t len = strlen(text);
    if (len < F60_DIGITS_MIN || len > ISO_F60_DIGITS_MAX || !digits_only(text, len))
        return err_set(e, ERR_INPUT, "field 60 has %zu characters, needs %d to %d digits", len,
                       F60_DIGITS_MIN, ISO_F60_DIGITS_MAX);
    struct iso_f60 f60 = {0};
    size_t at = 0;
    for (size_t i = 0; i < F60_PART_COUNT && at < len; i++) {
        const struct part *part = &f60_parts[i];
        const size_t left = len - at, take = left < part->digits ? left : part->digits;
        if (take < part->digits && !part->any_length)
            return err_set(e, ERR_INPUT, "field 60: %s has %zu digits, needs %zu", part->name, take,
                           part->digits);
        memcpy((char *)&f60 + part->offset, text + at, take);
        at += take;
    }
    *out_f60 = f60;
    return ERR_OK;
}

enum err_code iso_f60_build(const struct iso_f60 *f60, char out_text[ISO_F60_DIGITS_MAX + 1], struct err *e)
{
    char text[ISO_F60_DIGITS_MAX + 1];
    size_t at = 0;
    for (size_t i = 0; i < F60_PART_COUNT; i++) {
        const struct part *part = &f60_parts[i];
        const char *value = (const char *)f60 + part->offset;
        const size_t len = strnlen(value, part->digits + 1);
        if (len == 0 && i >= 2)
            break;
        if ((len < part->digits && !part->any_length) || len > part->digits || !digits_only(value, len))
            return err_set(e, ERR_INPUT, "field 60: %s needs %zu digits", part->name, part->digits);
        memcpy(text + at, value, len);
        at += len;
    }
    text[at] = '\0';
    memcpy(out_text, text, at + 1);
    return ERR_OK;
}

enum err_code iso_f53_parse(const char *text, struct iso_f53 *out_f53, struct err *e)
{
    if (strlen(text) != F53_DIGITS || !digits_only(text, F53_DIGITS))
        return err_set(e, ERR_INPUT, "field 53 is not %d digits", F53_DIGITS);
    if (text[0] > '2')
        return err_set(e, ERR_INPUT, "field 53: PIN digit %c, needs 0, 1 or 2", text[0]);
    if (strchr("0346", text[1]) == NULL)
        return err_set(e, ERR_INPUT, "field 53: algorithm digit %c, needs 0, 3, 4 or 6", text[1]);
    if (text[2] > '1')
        return err_set(e, ERR_INPUT, "field 53: track digit %c, needs 0 or 1", text[2]);
    *out_f53 = (struct iso_f53){.pin = (enum iso_pin_kind)(text[0] - '0'),
                                .cipher = (enum iso_cipher)(text[1] - '0'),
                                .track_enciphered = text[2] == '1'};
    return ERR_OK;
}

void iso_f53_build(const struct iso_f53 *f53, char out_text[17])
{
    snprintf(out_text, F53_DIGITS + 1, "%u%u%u0000000000000", (unsigned)f53->pin % 10,
             (unsigned)f53->cipher % 10, f53->track_enciphered ? 1U : 0U);
}

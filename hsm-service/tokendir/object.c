/* SoftHSM 2's object files: 8-byte big-endian numbers. Source: SoftHSMv2 src/lib/object_store/ObjectFile.cpp
 * and OSAttributes.h, version 2.6.1. */
#include "hsm-service/tokendir/tokendir.h"

#include <string.h>

#define NUMBER_BYTES 8
#define LABEL_BYTES  32

enum kind { KIND_BOOL = 1, KIND_NUMBER = 2, KIND_BYTES = 3, KIND_ATTRIBUTES = 4, KIND_MECHANISMS = 5 };
enum type { TYPE_LABEL = 0x80005349, TYPE_SERIAL = 0x8000534A, TYPE_USER_PIN = 0x8000534D };

struct reader {
    const uint8_t *at;
    size_t left;
};

static bool take_number(struct reader *r, uint64_t *out_number)
{
    uint64_t number = 0;
    if (r->left < NUMBER_BYTES)
        return false;
    for (size_t i = 0; i < NUMBER_BYTES; i++)
        number = number << 8 | r->at[i];
    r->at += NUMBER_BYTES;
    r->left -= NUMBER_BYTES;
    *out_number = number;
    return true;
}

static bool skip(struct reader *r, uint64_t len)
{
    if (len > r->left)
        return false;
    r->at += len;
    r->left -= (size_t)len;
    return true;
}

/* Past a value; of bytes, where they are. */
static bool take_value(struct reader *r, uint64_t kind, struct reader *out_bytes)
{
    uint64_t len = 0;
    *out_bytes = (struct reader){0};
    switch (kind) {
    case KIND_BOOL:
        return skip(r, 1);
    case KIND_NUMBER:
        return skip(r, NUMBER_BYTES);
    case KIND_BYTES:
    case KIND_ATTRIBUTES: /* its length is in bytes */
        if (!take_number(r, &len))
            return false;
        *out_bytes = (struct reader){r->at, (size_t)len};
        return skip(r, len);
    case KIND_MECHANISMS:
        return take_number(r, &len) && len <= r->left / NUMBER_BYTES && skip(r, len * NUMBER_BYTES);
    default:
        return false;
    }
}

struct seen {
    struct reader label;
    bool serial, user_pin;
};

static bool walk(const uint8_t *bytes, size_t len, struct seen *out_seen)
{
    struct reader r = {bytes, len}, value;
    uint64_t generation, type, kind;
    *out_seen = (struct seen){0};
    if (!take_number(&r, &generation) || r.left == 0)
        return false;
    while (r.left > 0) {
        if (!take_number(&r, &type) || !take_number(&r, &kind) || !take_value(&r, kind, &value))
            return false;
        if (type == TYPE_LABEL)
            out_seen->label = value;
        out_seen->serial |= type == TYPE_SERIAL && value.left > 0;
        out_seen->user_pin |= type == TYPE_USER_PIN && value.left > 0;
    }
    return true;
}

bool tokendir_object_is_whole(const uint8_t *bytes, size_t len)
{
    struct seen seen;
    return walk(bytes, len, &seen);
}

bool tokendir_is_token(const uint8_t *bytes, size_t len, const char *label)
{
    struct seen seen;
    uint8_t padded[LABEL_BYTES];
    const size_t label_len = strlen(label);
    if (label_len > LABEL_BYTES || !walk(bytes, len, &seen) || !seen.serial || !seen.user_pin ||
        seen.label.left != LABEL_BYTES)
        return false;
    memset(padded, ' ', sizeof padded);
    memcpy(padded, label, label_len);
    for (size_t i = 0; i < LABEL_BYTES; i++)
        if (seen.label.at[i] != padded[i])
            return false;
    return true;
}

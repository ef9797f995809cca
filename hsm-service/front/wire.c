#include "hsm-service/front/wire.h"

static bool take_varint(struct wire_bytes *b, uint64_t *out_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && b->len > 0; shift += 7) {
        const uint8_t byte = *b->data++;
        b->len--;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *out_value = value;
            return true;
        }
    }
    return false;
}

static bool take_bytes(struct wire_bytes *b, uint64_t len, struct wire_bytes *out_bytes)
{
    if (len > b->len)
        return false;
    *out_bytes = (struct wire_bytes){b->data, (size_t)len};
    b->data += len;
    b->len -= (size_t)len;
    return true;
}

bool wire_take(struct wire_bytes *b, struct wire_field *out_field)
{
    uint64_t tag = 0, len = 0;
    struct wire_field f = {0};
    if (!take_varint(b, &tag))
        return false;
    f.number = tag >> 3;
    switch (tag & 7) {
    case 0:
        if (!take_varint(b, &f.value))
            return false;
        break;
    case 1:
        if (!take_bytes(b, 8, &f.bytes))
            return false;
        break;
    case 2:
        if (!take_varint(b, &len) || !take_bytes(b, len, &f.bytes))
            return false;
        break;
    case 5:
        if (!take_bytes(b, 4, &f.bytes))
            return false;
        break;
    default:
        return false;
    }
    *out_field = f;
    return true;
}

struct wire_field wire_find(struct wire_bytes message, uint64_t number)
{
    struct wire_field f, found = {0};
    while (wire_take(&message, &f))
        if (f.number == number)
            found = f;
    return found;
}

size_t wire_count(struct wire_bytes message, uint64_t number)
{
    struct wire_field f;
    size_t n = 0;
    while (wire_take(&message, &f))
        n += f.number == number;
    return n;
}

struct wire_field wire_nth(struct wire_bytes message, uint64_t number, size_t index)
{
    struct wire_field f;
    while (wire_take(&message, &f))
        if (f.number == number && index-- == 0)
            return f;
    return (struct wire_field){0};
}

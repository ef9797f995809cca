#include "rpc/wire.h"

/* A varint of 64 bits takes ten bytes; the last of them holds one bit. */
#define LAST_SHIFT 63

static enum wire_fault read_varint(struct wire_bytes *b, uint64_t *out_value)
{
    uint64_t value = 0;
    size_t at = 0;
    for (unsigned shift = 0; shift <= LAST_SHIFT; shift += 7) {
        if (at == b->len)
            return WIRE_CUT;
        const uint8_t byte = b->data[at++];
        if (shift == LAST_SHIFT && byte > 1)
            return WIRE_LONG;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte >= 0x80)
            continue;
        if (byte == 0 && shift > 0)
            return WIRE_LONG;
        b->data += at;
        b->len -= at;
        *out_value = value;
        return WIRE_WELL;
    }
    return WIRE_LONG;
}

static enum wire_fault read_bytes(struct wire_bytes *b, uint64_t len, struct wire_bytes *out_bytes)
{
    if (len > b->len)
        return WIRE_CUT;
    *out_bytes = (struct wire_bytes){b->data, (size_t)len};
    b->data += len;
    b->len -= (size_t)len;
    return WIRE_WELL;
}

static enum wire_fault read_value(struct wire_bytes *b, struct wire_field *f)
{
    uint64_t len = 0;
    switch (f->type) {
    case WIRE_VARINT:
        return read_varint(b, &f->value);
    case WIRE_64:
        return read_bytes(b, 8, &f->bytes);
    case WIRE_32:
        return read_bytes(b, 4, &f->bytes);
    case WIRE_BYTES: {
        const enum wire_fault fault = read_varint(b, &len);
        return fault != WIRE_WELL ? fault : read_bytes(b, len, &f->bytes);
    }
    }
    return WIRE_GROUP;
}

static enum wire_fault read_field(struct wire_bytes *b, struct wire_field *out_field)
{
    struct wire_bytes rest = *b;
    struct wire_field f = {0};
    uint64_t tag = 0;
    enum wire_fault fault = read_varint(&rest, &tag);
    if (fault != WIRE_WELL)
        return fault;
    f.number = tag >> 3;
    f.type = (enum wire_type)(tag & 7);
    if (f.number == 0 || f.number > WIRE_NUMBER_MAX)
        return WIRE_NUMBER;
    fault = read_value(&rest, &f);
    if (fault != WIRE_WELL)
        return fault;
    *b = rest;
    *out_field = f;
    return WIRE_WELL;
}

bool wire_take(struct wire_bytes *b, struct wire_field *out_field)
{
    return b->len > 0 && read_field(b, out_field) == WIRE_WELL;
}

bool wire_take_varint(struct wire_bytes *b, uint64_t *out_value)
{
    return read_varint(b, out_value) == WIRE_WELL;
}

enum wire_fault wire_fault(struct wire_bytes b)
{
    struct wire_field f;
    return b.len > 0 ? read_field(&b, &f) : WIRE_WELL;
}

enum wire_fault wire_fault_varint(struct wire_bytes b)
{
    uint64_t value;
    return read_varint(&b, &value);
}

struct wire_field wire_find(struct wire_bytes message, uint64_t number)
{
    struct wire_field f;
    while (wire_take(&message, &f))
        if (f.number == number)
            return f;
    return (struct wire_field){0};
}

size_t wire_count(struct wire_bytes message, uint64_t number)
{
    struct wire_field f;
    size_t n = 0;
    while (wire_take(&message, &f))
        n += f.number == number;
    return n;
}

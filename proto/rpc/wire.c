#include "rpc/wire.h"

/* A varint of 64 bits takes ten bytes; the last of them holds one bit. */
#define SHIFT_MAX 63

/* What is left to read, and the fault that was met. */
struct reader {
    const uint8_t *at, *end;
    enum wire_fault fault;
};

static bool fail(struct reader *r, enum wire_fault fault)
{
    r->fault = fault;
    return false;
}

static bool read_long_varint(struct reader *r, uint64_t *out_value)
{
    uint64_t value = 0;
    const uint8_t *at = r->at;
    for (unsigned shift = 0; shift <= SHIFT_MAX; shift += 7) {
        if (at == r->end)
            return fail(r, WIRE_CUT);
        const uint8_t byte = *at++;
        if (shift == SHIFT_MAX && byte > 1)
            return fail(r, WIRE_LONG);
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte >= 0x80)
            continue;
        if (byte == 0 && shift > 0)
            return fail(r, WIRE_LONG);
        r->at = at;
        *out_value = value;
        return true;
    }
    return fail(r, WIRE_LONG);
}

/* Most varints have one byte. */
static inline bool read_varint(struct reader *r, uint64_t *out_value)
{
    if (r->at < r->end && *r->at < 0x80) {
        *out_value = *r->at++;
        return true;
    }
    return read_long_varint(r, out_value);
}

static inline bool read_bytes(struct reader *r, uint64_t len, struct wire_bytes *out_bytes)
{
    if (len > (uint64_t)(r->end - r->at))
        return fail(r, WIRE_CUT);
    *out_bytes = (struct wire_bytes){r->at, (size_t)len};
    r->at += len;
    return true;
}

static inline bool read_value(struct reader *r, struct wire_field *f)
{
    uint64_t len = 0;
    switch (f->type) {
    case WIRE_VARINT:
        return read_varint(r, &f->value);
    case WIRE_64:
        return read_bytes(r, 8, &f->bytes);
    case WIRE_32:
        return read_bytes(r, 4, &f->bytes);
    case WIRE_BYTES:
        return read_varint(r, &len) && read_bytes(r, len, &f->bytes);
    }
    return fail(r, WIRE_GROUP);
}

static inline bool read_field(struct reader *r, struct wire_field *f)
{
    uint64_t tag = 0;
    if (!read_varint(r, &tag))
        return false;
    f->number = tag >> 3;
    f->type = (enum wire_type)(tag & 7);
    if (f->number == 0 || f->number > WIRE_NUMBER_MAX)
        return fail(r, WIRE_NUMBER);
    return read_value(r, f);
}

/* No bytes may be NULL, to which C does not even allow 0 to be added. */
static inline struct reader reader_of(struct wire_bytes b)
{
    return (struct reader){.at = b.data, .end = b.len > 0 ? b.data + b.len : b.data};
}

bool wire_take(struct wire_bytes *b, struct wire_field *out_field)
{
    struct reader r = reader_of(*b);
    struct wire_field f = {0};
    if (r.at == r.end || !read_field(&r, &f))
        return false;
    *b = (struct wire_bytes){r.at, (size_t)(r.end - r.at)};
    *out_field = f;
    return true;
}

bool wire_take_varint(struct wire_bytes *b, uint64_t *out_value)
{
    struct reader r = reader_of(*b);
    if (!read_varint(&r, out_value))
        return false;
    *b = (struct wire_bytes){r.at, (size_t)(r.end - r.at)};
    return true;
}

enum wire_fault wire_fault(struct wire_bytes b)
{
    struct reader r = reader_of(b);
    struct wire_field f = {0};
    return r.at == r.end || read_field(&r, &f) ? WIRE_WELL : r.fault;
}

enum wire_fault wire_fault_varint(struct wire_bytes b)
{
    struct reader r = reader_of(b);
    uint64_t value;
    return read_varint(&r, &value) ? WIRE_WELL : r.fault;
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

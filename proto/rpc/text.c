#include "rpc/text.h"

#include <stdbool.h>
#include <string.h>

#define MAX_DEPTH         64 /* of messages in messages; ours have four */
#define MAX_VARINT_BYTES  10
#define UTF8_CONTINUATION 0x80

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct cursor {
    const uint8_t *at, *end;
};

static bool take_varint(struct cursor *c, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < MAX_VARINT_BYTES && c->at < c->end; i++) {
        const uint8_t byte = *c->at++;
        value |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

static bool skip(struct cursor *c, uint64_t count)
{
    if (count > (uint64_t)(c->end - c->at))
        return false;
    c->at += count;
    return true;
}

/* Bytes of the character at `p`, 0 when it is none. Source: Unicode 15, table 3-7. */
static size_t character(const uint8_t *p, size_t left)
{
    static const struct {
        uint8_t first, last, least, most, bytes; /* of the first byte, then of the second */
    } rows[] = {
        {0x01, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
        {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
        {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        if (p[0] < rows[r].first || p[0] > rows[r].last)
            continue;
        if (rows[r].bytes > left)
            return 0;
        if (rows[r].bytes > 1 && (p[1] < rows[r].least || p[1] > rows[r].most))
            return 0;
        for (size_t i = 2; i < rows[r].bytes; i++)
            if ((p[i] & 0xC0) != UTF8_CONTINUATION)
                return 0;
        return rows[r].bytes;
    }
    return 0;
}

static enum err_code check_string(const char *field, const uint8_t *bytes, size_t len, struct err *e)
{
    if (len > 0 && memchr(bytes, 0, len) != NULL)
        return err_set(e, ERR_INPUT, "%s holds a NUL byte", field);
    for (size_t at = 0, step; at < len; at += step) {
        step = character(bytes + at, len - at);
        if (step == 0)
            return err_set(e, ERR_INPUT, "%s is not UTF-8", field);
    }
    return ERR_OK;
}

static enum err_code check_message(const ProtobufCMessageDescriptor *descriptor, struct cursor c,
                                   unsigned depth, struct err *e);

static enum err_code check_field(const ProtobufCFieldDescriptor *field, struct cursor inside, unsigned depth,
                                 struct err *e)
{
    if (field == NULL)
        return ERR_OK;
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return check_string(field->name, inside.at, (size_t)(inside.end - inside.at), e);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return check_message(field->descriptor, inside, depth + 1, e);
    return ERR_OK;
}

/* The next field; only one of wire type 2 has something inside. False: this is no message. */
static bool take_field(struct cursor *c, uint64_t *out_number, struct cursor *out_inside)
{
    uint64_t tag = 0, count = 0;
    if (!take_varint(c, &tag))
        return false;
    *out_number = tag >> 3;
    *out_inside = (struct cursor){NULL, NULL};
    switch (tag & 7) {
    case WIRE_VARINT:
        return take_varint(c, &count);
    case WIRE_64:
        return skip(c, 8);
    case WIRE_32:
        return skip(c, 4);
    case WIRE_BYTES:
        if (!take_varint(c, &count) || count > (uint64_t)(c->end - c->at))
            return false;
        *out_inside = (struct cursor){c->at, c->at + count};
        return skip(c, count);
    default: /* groups: not of proto3 */
        return false;
    }
}

static enum err_code check_message(const ProtobufCMessageDescriptor *descriptor, struct cursor c,
                                   unsigned depth, struct err *e)
{
    if (depth > MAX_DEPTH)
        return err_set(e, ERR_LIMIT, "messages stand in messages more than %d deep", MAX_DEPTH);
    while (c.at < c.end) {
        uint64_t number = 0;
        struct cursor inside;
        if (!take_field(&c, &number, &inside))
            return ERR_OK; /* to be refused when it is unpacked */
        if (inside.at != NULL && number <= UINT32_MAX)
            TRY(check_field(protobuf_c_message_descriptor_get_field(descriptor, (unsigned)number), inside,
                            depth, e));
    }
    return ERR_OK;
}

enum err_code text_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len,
                         struct err *e)
{
    return check_message(descriptor, (struct cursor){bytes, bytes + len}, 0, e);
}

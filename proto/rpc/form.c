#include "rpc/form.h"

#include "rpc/wire.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define UTF8_CONTINUATION 0x80
#define PATH_BYTES        120
/* Members of a C struct start at multiples of 4 bytes at least. */
#define PLACE_BYTES 4
#define PLACES      (FORM_STRUCT_BYTES_MAX / PLACE_BYTES)

typedef ProtobufCFieldDescriptor Field;
typedef ProtobufCMessageDescriptor Type;

/* One message on the way from the outermost to the field at hand. */
struct level {
    const struct level *up;
    const Field *field; /* of `up`, that holds this message; NULL at the top */
    const Type *type;
    unsigned depth;
    /* Which places of the C struct are filled. The members of a oneof share one place, so that one bit finds
     * both a field and a oneof that stand twice. */
    uint64_t filled[PLACES / 64];
};

static const struct kind {
    enum wire_type wire;
    uint64_t max;      /* of a varint */
    uint64_t negative; /* where negative numbers begin, which are extended to 64 bits; 0: there are none */
} kinds[] = {
    [PROTOBUF_C_TYPE_INT32] = {WIRE_VARINT, INT32_MAX, (uint64_t)INT32_MIN},
    [PROTOBUF_C_TYPE_ENUM] = {WIRE_VARINT, INT32_MAX, (uint64_t)INT32_MIN},
    [PROTOBUF_C_TYPE_SINT32] = {WIRE_VARINT, UINT32_MAX, 0},
    [PROTOBUF_C_TYPE_UINT32] = {WIRE_VARINT, UINT32_MAX, 0},
    [PROTOBUF_C_TYPE_BOOL] = {WIRE_VARINT, 1, 0},
    [PROTOBUF_C_TYPE_INT64] = {WIRE_VARINT, UINT64_MAX, 0},
    [PROTOBUF_C_TYPE_SINT64] = {WIRE_VARINT, UINT64_MAX, 0},
    [PROTOBUF_C_TYPE_UINT64] = {WIRE_VARINT, UINT64_MAX, 0},
    [PROTOBUF_C_TYPE_SFIXED32] = {.wire = WIRE_32},
    [PROTOBUF_C_TYPE_FIXED32] = {.wire = WIRE_32},
    [PROTOBUF_C_TYPE_FLOAT] = {.wire = WIRE_32},
    [PROTOBUF_C_TYPE_SFIXED64] = {.wire = WIRE_64},
    [PROTOBUF_C_TYPE_FIXED64] = {.wire = WIRE_64},
    [PROTOBUF_C_TYPE_DOUBLE] = {.wire = WIRE_64},
    [PROTOBUF_C_TYPE_STRING] = {.wire = WIRE_BYTES},
    [PROTOBUF_C_TYPE_BYTES] = {.wire = WIRE_BYTES},
    [PROTOBUF_C_TYPE_MESSAGE] = {.wire = WIRE_BYTES},
};

static const char *const fault_texts[] = {
    [WIRE_WELL] = "is well",
    [WIRE_CUT] = "is cut short",
    [WIRE_LONG] = "has a varint that is longer than it needs to be",
    [WIRE_NUMBER] = "has a field number outside 1 to 2^29-1",
    [WIRE_GROUP] = "is a group, which proto3 does not have",
};

/* "items.process_transaction.", or as much of its end as has room. */
static const char *path_of(const struct level *at, char buffer[PATH_BYTES])
{
    size_t from = PATH_BYTES - 1;
    buffer[from] = '\0';
    for (; at->up != NULL; at = at->up) {
        const size_t len = strlen(at->field->name);
        if (len + 1 > from)
            break;
        buffer[--from] = '.';
        from -= len;
        memcpy(buffer + from, at->field->name, len);
    }
    return buffer + from;
}

static enum err_code fail(const struct level *at, const Field *field, const char *fault, struct err *e)
{
    char path[PATH_BYTES];
    return err_set(e, ERR_INPUT, "%s%s %s", path_of(at, path), field->name, fault);
}

static const Field *find_field(const Type *type, uint64_t number)
{
    /* Most types number their fields 1, 2, 3, ..., in which order protobuf-c keeps them. */
    if (number - 1 < type->n_fields && type->fields[number - 1].id == number)
        return &type->fields[number - 1];
    return number <= WIRE_NUMBER_MAX ? protobuf_c_message_descriptor_get_field(type, (unsigned)number) : NULL;
}

/* A fault that a message of another type would have: the note says which type was expected. */
static enum err_code fail_type(const struct level *at, const char *name, const char *fault, struct err *e)
{
    char path[PATH_BYTES];
    const struct level *top = at;
    while (top->up != NULL)
        top = top->up;
    return err_set(e, ERR_INPUT, "%s%s of a %s %s", path_of(at, path), name, top->type->name, fault);
}

/* `rest` cannot be read as a field. */
static enum err_code fail_wire(const struct level *at, struct wire_bytes rest, struct err *e)
{
    const char *const fault = fault_texts[wire_fault(rest)];
    char number[32] = "field ?"; /* the tag itself cannot be read */
    uint64_t tag = 0;
    if (wire_take_varint(&rest, &tag))
        snprintf(number, sizeof number, "field %llu", (unsigned long long)(tag >> 3));
    const Field *const field = find_field(at->type, tag >> 3);
    return fail_type(at, field != NULL ? field->name : number, fault, e);
}

/* Bytes of the character at `p`, 0 when it is none. Source: Unicode 15, table 3-7. */
static size_t character(const uint8_t *p, size_t left)
{
    static const struct {
        uint8_t first, last, least, most, bytes; /* of the first byte, then of the second */
    } rows[] = {
        {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
        {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
        {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    if (p[0] < 0x80)
        return 1;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        if (p[0] < rows[r].first || p[0] > rows[r].last)
            continue;
        if (rows[r].bytes > left || p[1] < rows[r].least || p[1] > rows[r].most)
            return 0;
        for (size_t i = 2; i < rows[r].bytes; i++)
            if ((p[i] & 0xC0) != UTF8_CONTINUATION)
                return 0;
        return rows[r].bytes;
    }
    return 0;
}

static enum err_code check_string(const struct level *at, const Field *field, struct wire_bytes s,
                                  struct err *e)
{
    if (s.len > 0 && memchr(s.data, 0, s.len) != NULL)
        return fail(at, field, "holds a NUL byte", e);
    for (size_t i = 0, step; i < s.len; i += step) {
        step = character(s.data + i, s.len - i);
        if (step == 0)
            return fail(at, field, "is not UTF-8", e);
    }
    return ERR_OK;
}

static enum err_code check_number(const struct level *at, const Field *field, uint64_t value, struct err *e)
{
    const struct kind *const kind = &kinds[field->type];
    if (value <= kind->max || (kind->negative != 0 && value >= kind->negative))
        return ERR_OK;
    return fail(at, field, "holds a number that does not fit its type", e);
}

/* Repeated numbers in one piece. */
static enum err_code check_packed(const struct level *at, const Field *field, struct wire_bytes row,
                                  struct err *e)
{
    const enum wire_type wire = kinds[field->type].wire;
    if (wire != WIRE_VARINT)
        return row.len % (wire == WIRE_64 ? 8 : 4) == 0 ? ERR_OK : fail(at, field, fault_texts[WIRE_CUT], e);
    while (row.len > 0) {
        uint64_t value = 0;
        if (!wire_take_varint(&row, &value))
            return fail(at, field, fault_texts[wire_fault_varint(row)], e);
        TRY(check_number(at, field, value, e));
    }
    return ERR_OK;
}

static enum err_code fill_place(struct level *at, const Field *field, struct err *e)
{
    const unsigned place = field->offset / PLACE_BYTES;
    const uint64_t bit = UINT64_C(1) << place % 64;
    if ((at->filled[place / 64] & bit) == 0) {
        at->filled[place / 64] |= bit;
        return ERR_OK;
    }
    return fail(at, field,
                (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0
                    ? "is one member too many of its oneof; give one of them, once"
                    : "stands twice; give it once",
                e);
}

static enum err_code check_message(struct level *at, struct wire_bytes message, struct err *e);

static enum err_code check_inner(const struct level *up, const Field *field, struct wire_bytes message,
                                 struct err *e)
{
    struct level inner = {.up = up, .field = field, .type = field->descriptor, .depth = up->depth + 1};
    if (inner.depth > FORM_DEPTH_MAX)
        return err_set(e, ERR_INPUT, "messages stand in messages more than %d deep, last in %s",
                       FORM_DEPTH_MAX, field->name);
    return check_message(&inner, message, e);
}

static enum err_code check_field(struct level *at, const Field *field, const struct wire_field *f,
                                 struct err *e)
{
    const enum wire_type wire = kinds[field->type].wire;
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        TRY(fill_place(at, field, e));
    else if (f->type == WIRE_BYTES && wire != WIRE_BYTES)
        return check_packed(at, field, f->bytes, e);
    if (f->type != wire)
        return fail_type(at, field->name, "has another wire type than its own", e);
    if (wire == WIRE_VARINT)
        return check_number(at, field, f->value, e);
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return check_string(at, field, f->bytes, e);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return check_inner(at, field, f->bytes, e);
    return ERR_OK;
}

static enum err_code check_message(struct level *at, struct wire_bytes message, struct err *e)
{
    if (at->type->sizeof_message > FORM_STRUCT_BYTES_MAX)
        return err_set(e, ERR_INTERNAL, "type %s is too large to be checked", at->type->name);
    struct wire_field f;
    while (wire_take(&message, &f)) {
        const Field *const field = find_field(at->type, f.number);
        if (field != NULL)
            TRY(check_field(at, field, &f, e));
    }
    return message.len == 0 ? ERR_OK : fail_wire(at, message, e);
}

enum err_code form_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len,
                         struct err *e)
{
    struct level top = {.type = descriptor};
    return check_message(&top, (struct wire_bytes){bytes, len}, e);
}

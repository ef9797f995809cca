#include "rpc/json.h"

#include "base/base64.h"
#include "rpc/field.h"
#include "rpc/json_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct encoder {
    bool with_defaults;
    struct err *e;
};

/* Write "a.b[2].c" and return its length; a path that is too long is cut in front of its last steps. */
static size_t path_text(const struct json_path *path, char *out, size_t capacity)
{
    if (path == NULL || path->name == NULL)
        return 0;
    size_t len = path_text(path->parent, out, capacity);
    char index[24] = "";
    if (path->index >= 0)
        snprintf(index, sizeof index, "[%ld]", path->index);
    const int n = snprintf(out + len, capacity - len, "%s%s%s", len > 0 ? "." : "", path->name, index);
    len += n > 0 ? (size_t)n : 0;
    return len < capacity ? len : capacity - 1;
}

enum err_code json_fail(const struct json_path *path, struct err *e, const char *format, ...)
{
    char where[100] = "", text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const size_t len = path_text(path, where, sizeof where);
    return err_set(e, ERR_INPUT, "%s%s%s", where, len > 0 ? ": " : "", text);
}

void json_name_of(const char *field_name, char out_name[JSON_NAME_BYTES])
{
    size_t n = 0;
    bool raise = false;
    for (const char *c = field_name; *c != '\0' && n < JSON_NAME_BYTES - 1; c++) {
        if (*c == '_') {
            raise = true;
            continue;
        }
        out_name[n++] = (char)(raise ? toupper((unsigned char)*c) : *c);
        raise = false;
    }
    out_name[n] = '\0';
}

static json_t *text_of_number(const char *format, ...) __attribute__((format(printf, 1, 2)));

static json_t *text_of_number(const char *format, ...)
{
    char text[32];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return json_string(text);
}

static json_t *json_of_real(double value)
{
    if (isnan(value))
        return json_string("NaN");
    if (isinf(value))
        return json_string(value > 0 ? "Infinity" : "-Infinity");
    return json_real(value);
}

static json_t *json_of_enum(const ProtobufCEnumDescriptor *descriptor, int number)
{
    const ProtobufCEnumValue *const value = protobuf_c_enum_descriptor_get_value(descriptor, number);
    return value != NULL ? json_string(value->name) : json_integer(number);
}

static json_t *json_of_bytes(const ProtobufCBinaryData *bytes)
{
    char *const text = malloc(BASE64_TEXT_BYTES(bytes->len));
    if (text == NULL)
        return NULL;
    base64_encode(bytes->data, bytes->len, text);
    json_t *const json = json_string_nocheck(text);
    free(text);
    return json;
}

static json_t *json_of_text(const char *text)
{
    return json_string(text != NULL ? text : "");
}

static enum err_code encode_message(const struct encoder *c, const struct json_path *path,
                                    const ProtobufCMessage *message, json_t **out_json);

/* NULL: no memory, or a string that is not UTF-8. Messages are not for here. */
static json_t *json_of_scalar(const ProtobufCFieldDescriptor *field, const void *value)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_integer(*(const int32_t *)value);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer(*(const uint32_t *)value);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return text_of_number("%lld", (long long)*(const int64_t *)value);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return text_of_number("%llu", (unsigned long long)*(const uint64_t *)value);
    case PROTOBUF_C_TYPE_FLOAT:
        return json_of_real((double)*(const float *)value);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_of_real(*(const double *)value);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)value);
    case PROTOBUF_C_TYPE_ENUM:
        return json_of_enum(field->descriptor, *(const int *)value);
    case PROTOBUF_C_TYPE_STRING:
        return json_of_text(*(char *const *)value);
    case PROTOBUF_C_TYPE_BYTES:
        return json_of_bytes(value);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    return NULL;
}

static enum err_code encode_value(const struct encoder *c, const struct json_path *path,
                                  const ProtobufCFieldDescriptor *field, const void *value, json_t **out_json)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return encode_message(c, path, *(ProtobufCMessage *const *)value, out_json);
    json_t *const json = json_of_scalar(field, value);
    if (json == NULL)
        return json_fail(path, c->e, "text that is not UTF-8");
    *out_json = json;
    return ERR_OK;
}

static enum err_code encode_list(const struct encoder *c, struct json_path *path,
                                 const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                                 json_t *list)
{
    const size_t count = rpc_field_count(message, field);
    for (size_t i = 0; i < count; i++) {
        json_t *item = NULL;
        path->index = (long)i;
        TRY(encode_value(c, path, field, rpc_field_at(message, field, i), &item));
        if (json_array_append_new(list, item) != 0)
            return err_set(c->e, ERR_INTERNAL, "no memory for JSON");
    }
    return ERR_OK;
}

static bool is_left_out(const struct encoder *c, const ProtobufCMessage *message,
                        const ProtobufCFieldDescriptor *field)
{
    if (rpc_field_count(message, field) != 0)
        return false;
    return !c->with_defaults || field->type == PROTOBUF_C_TYPE_MESSAGE || rpc_field_in_oneof(field) ||
           field->label == PROTOBUF_C_LABEL_OPTIONAL;
}

static enum err_code encode_field(const struct encoder *c, const struct json_path *parent,
                                  const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                                  json_t *object)
{
    const bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    const bool empty_list = repeated && c->with_defaults && rpc_field_count(message, field) == 0;
    if (!empty_list && is_left_out(c, message, field))
        return ERR_OK;
    struct json_path path = {.parent = parent, .name = field->name, .index = -1, .depth = parent->depth + 1};
    char name[JSON_NAME_BYTES];
    json_name_of(field->name, name);
    json_t *value = repeated ? json_array() : NULL;
    const enum err_code code = repeated
                                   ? encode_list(c, &path, message, field, value)
                                   : encode_value(c, &path, field, rpc_field_at(message, field, 0), &value);
    if (code != ERR_OK) {
        json_decref(value);
        return code;
    }
    return json_object_set_new(object, name, value) == 0 ? ERR_OK
                                                         : err_set(c->e, ERR_INTERNAL, "no memory for JSON");
}

static enum err_code encode_message(const struct encoder *c, const struct json_path *path,
                                    const ProtobufCMessage *message, json_t **out_json)
{
    if (path->depth > RPC_JSON_MAX_DEPTH)
        return json_fail(path, c->e, "more than %d messages within each other", RPC_JSON_MAX_DEPTH);
    json_t *const object = json_object();
    if (object == NULL)
        return err_set(c->e, ERR_INTERNAL, "no memory for JSON");
    const ProtobufCMessageDescriptor *const d = message->descriptor;
    for (unsigned i = 0; i < d->n_fields; i++) {
        const enum err_code code = encode_field(c, path, message, &d->fields[i], object);
        if (code != ERR_OK) {
            json_decref(object);
            return code;
        }
    }
    *out_json = object;
    return ERR_OK;
}

enum err_code rpc_json_from_message(const ProtobufCMessage *message, bool with_defaults, json_t **out_json,
                                    struct err *e)
{
    const struct encoder c = {.with_defaults = with_defaults, .e = e};
    const struct json_path root = {.index = -1};
    return encode_message(&c, &root, message, out_json);
}

#include "base/base64.h"
#include "base/nearest.h"
#include "rpc/field.h"
#include "rpc/json_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static enum err_code decode_message(const struct json_path *path, const json_t *json,
                                    const ProtobufCMessageDescriptor *descriptor,
                                    ProtobufCMessage **out_message, struct err *e);

/* A whole number as a JSON integer, or as text, as 64-bit numbers are written. */
static enum err_code take_signed(const struct json_path *path, const json_t *json, int64_t least,
                                 int64_t most, int64_t *out, struct err *e)
{
    long long number = json_integer_value(json);
    if (json_is_string(json)) {
        const char *const text = json_string_value(json);
        char *end = NULL;
        errno = 0;
        number = strtoll(text, &end, 10);
        if (strspn(text, "-0123456789") != strlen(text) || text[0] == '\0' || *end != '\0' || errno != 0)
            return json_fail(path, e, "'%.30s' is not a whole number in range", text);
    } else if (!json_is_integer(json)) {
        return json_fail(path, e, "must be a whole number");
    }
    if (number < least || number > most)
        return json_fail(path, e, "%lld is out of range", number);
    *out = number;
    return ERR_OK;
}

static enum err_code take_unsigned(const struct json_path *path, const json_t *json, uint64_t most,
                                   uint64_t *out, struct err *e)
{
    unsigned long long number = 0;
    if (json_is_string(json)) {
        const char *const text = json_string_value(json);
        char *end = NULL;
        errno = 0;
        number = strtoull(text, &end, 10);
        if (strspn(text, "0123456789") != strlen(text) || text[0] == '\0' || errno != 0)
            return json_fail(path, e, "'%.30s' is not a whole number of 0 or more", text);
    } else if (json_is_integer(json) && json_integer_value(json) >= 0) {
        number = (unsigned long long)json_integer_value(json);
    } else {
        return json_fail(path, e, "must be a whole number of 0 or more");
    }
    if (number > most)
        return json_fail(path, e, "%llu is out of range", number);
    *out = number;
    return ERR_OK;
}

static enum err_code take_real(const struct json_path *path, const json_t *json, double *out, struct err *e)
{
    if (json_is_number(json)) {
        *out = json_number_value(json);
        return ERR_OK;
    }
    const char *const text = json_is_string(json) ? json_string_value(json) : "";
    char *end = NULL;
    const double value = strcmp(text, "Infinity") == 0    ? (double)INFINITY
                         : strcmp(text, "-Infinity") == 0 ? -(double)INFINITY
                         : strcmp(text, "NaN") == 0       ? (double)NAN
                                                          : strtod(text, &end);
    if (text[0] == '\0' || (end != NULL && (*end != '\0' || strspn(text, "+-.eE0123456789") != strlen(text))))
        return json_fail(path, e, "must be a number");
    *out = value;
    return ERR_OK;
}

static enum err_code take_enum(const struct json_path *path, const json_t *json,
                               const ProtobufCEnumDescriptor *descriptor, int *out, struct err *e)
{
    if (!json_is_string(json)) {
        int64_t number;
        TRY(take_signed(path, json, INT32_MIN, INT32_MAX, &number, e));
        *out = (int)number;
        return ERR_OK;
    }
    const char *const text = json_string_value(json);
    const ProtobufCEnumValue *const value = protobuf_c_enum_descriptor_get_value_by_name(descriptor, text);
    if (value != NULL) {
        *out = value->value;
        return ERR_OK;
    }
    struct nearest near = {.word = text};
    for (unsigned i = 0; i < descriptor->n_values; i++)
        nearest_offer(&near, descriptor->values[i].name);
    const char *const meant = nearest_found(&near);
    return json_fail(path, e, "'%.40s' is no %s%s%s%s", text, descriptor->short_name,
                     meant != NULL ? "; did you mean '" : "", meant != NULL ? meant : "",
                     meant != NULL ? "'?" : "");
}

static enum err_code take_text(const struct json_path *path, const json_t *json, char **out, struct err *e)
{
    if (!json_is_string(json))
        return json_fail(path, e, "must be text");
    const char *const text = json_string_value(json);
    if (strlen(text) != json_string_length(json))
        return json_fail(path, e, "text with a NUL character");
    char *const copy = strdup(text);
    if (copy == NULL)
        return err_set(e, ERR_INTERNAL, "no memory for text");
    *out = copy;
    return ERR_OK;
}

static enum err_code take_bytes(const struct json_path *path, const json_t *json, ProtobufCBinaryData *out,
                                struct err *e)
{
    if (!json_is_string(json))
        return json_fail(path, e, "must be base64 text");
    const size_t text_len = json_string_length(json);
    uint8_t *const bytes = malloc(BASE64_BYTES(text_len) + 1);
    if (bytes == NULL)
        return err_set(e, ERR_INTERNAL, "no memory for bytes");
    struct err why = {0};
    size_t len = 0;
    if (base64_decode(json_string_value(json), text_len, bytes, &len, &why) != ERR_OK) {
        free(bytes);
        return json_fail(path, e, "%s", why.note);
    }
    *out = (ProtobufCBinaryData){.len = len, .data = bytes};
    return ERR_OK;
}

static enum err_code take_signed32(const struct json_path *path, const json_t *json, int32_t *out,
                                   struct err *e)
{
    int64_t number;
    TRY(take_signed(path, json, INT32_MIN, INT32_MAX, &number, e));
    *out = (int32_t)number;
    return ERR_OK;
}

static enum err_code take_unsigned32(const struct json_path *path, const json_t *json, uint32_t *out,
                                     struct err *e)
{
    uint64_t number;
    TRY(take_unsigned(path, json, UINT32_MAX, &number, e));
    *out = (uint32_t)number;
    return ERR_OK;
}

static enum err_code take_float(const struct json_path *path, const json_t *json, float *out, struct err *e)
{
    double number;
    TRY(take_real(path, json, &number, e));
    if (isfinite(number) && fabs(number) > (double)__FLT_MAX__)
        return json_fail(path, e, "out of a float's range");
    *out = (float)number;
    return ERR_OK;
}

static enum err_code take_bool(const struct json_path *path, const json_t *json, protobuf_c_boolean *out,
                               struct err *e)
{
    if (!json_is_boolean(json))
        return json_fail(path, e, "must be true or false");
    *out = json_is_true(json);
    return ERR_OK;
}

/* `slot` is where a value of the field's type stands; it is written on success only. */
static enum err_code take_value(const struct json_path *path, const json_t *json,
                                const ProtobufCFieldDescriptor *field, void *slot, struct err *e)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return take_signed32(path, json, slot, e);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return take_unsigned32(path, json, slot, e);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return take_signed(path, json, INT64_MIN, INT64_MAX, slot, e);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return take_unsigned(path, json, UINT64_MAX, slot, e);
    case PROTOBUF_C_TYPE_FLOAT:
        return take_float(path, json, slot, e);
    case PROTOBUF_C_TYPE_DOUBLE:
        return take_real(path, json, slot, e);
    case PROTOBUF_C_TYPE_BOOL:
        return take_bool(path, json, slot, e);
    case PROTOBUF_C_TYPE_ENUM:
        return take_enum(path, json, field->descriptor, slot, e);
    case PROTOBUF_C_TYPE_STRING:
        return take_text(path, json, slot, e);
    case PROTOBUF_C_TYPE_BYTES:
        return take_bytes(path, json, slot, e);
    case PROTOBUF_C_TYPE_MESSAGE:
        return decode_message(path, json, field->descriptor, slot, e);
    }
    return err_set(e, ERR_INTERNAL, "field of type %d", (int)field->type);
}

static enum err_code take_list(struct json_path *path, const json_t *json,
                               const ProtobufCFieldDescriptor *field, ProtobufCMessage *message,
                               struct err *e)
{
    if (!json_is_array(json))
        return json_fail(path, e, "must be a list");
    const size_t count = json_array_size(json);
    if (count > RPC_JSON_MAX_ITEMS)
        return json_fail(path, e, "%zu items; at most %d are read", count, RPC_JSON_MAX_ITEMS);
    if (count == 0)
        return ERR_OK;
    const size_t value_bytes = rpc_field_value_bytes(field->type);
    char *const values = calloc(count, value_bytes);
    if (values == NULL)
        return err_set(e, ERR_INTERNAL, "no memory for %zu items", count);
    *(void **)((char *)message + field->offset) = values;
    size_t *const done = rpc_field_quantifier(message, field);
    for (size_t i = 0; i < count; i++) {
        path->index = (long)i;
        TRY(take_value(path, json_array_get(json, i), field, values + i * value_bytes, e));
        (*done)++; /* one by one: a message freed half-way frees what is there */
    }
    return ERR_OK;
}

static enum err_code take_singular(const struct json_path *path, const json_t *json,
                                   const ProtobufCFieldDescriptor *field, ProtobufCMessage *message,
                                   struct err *e)
{
    void *const slot = (char *)message + field->offset;
    if (!rpc_field_in_oneof(field)) {
        TRY(take_value(path, json, field, slot, e));
        if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->type != PROTOBUF_C_TYPE_STRING &&
            field->type != PROTOBUF_C_TYPE_MESSAGE)
            *(protobuf_c_boolean *)rpc_field_quantifier(message, field) = 1;
        return ERR_OK;
    }
    uint32_t *const oneof = rpc_field_quantifier(message, field);
    if (*oneof != 0)
        return json_fail(path, e, "another choice of the same oneof is given too");
    TRY(take_value(path, json, field, slot, e));
    *oneof = field->id;
    return ERR_OK;
}

/* By the name in the .proto or its lowerCamelCase form. */
static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *descriptor, const char *key)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        char name[JSON_NAME_BYTES];
        json_name_of(descriptor->fields[i].name, name);
        if (strcmp(key, name) == 0 || strcmp(key, descriptor->fields[i].name) == 0)
            return &descriptor->fields[i];
    }
    return NULL;
}

static enum err_code refuse_field(const struct json_path *path, const ProtobufCMessageDescriptor *descriptor,
                                  const char *key, struct err *e)
{
    struct nearest near = {.word = key};
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        char name[JSON_NAME_BYTES];
        json_name_of(descriptor->fields[i].name, name);
        nearest_offer(&near, name);
        nearest_offer(&near, descriptor->fields[i].name);
    }
    const char *const meant = nearest_found(&near);
    return json_fail(path, e, "%s has no field '%.40s'%s%s%s", descriptor->short_name, key,
                     meant != NULL ? "; did you mean '" : "", meant != NULL ? meant : "",
                     meant != NULL ? "'?" : "");
}

static enum err_code take_fields(const struct json_path *parent, const json_t *json,
                                 ProtobufCMessage *message, struct err *e)
{
    const ProtobufCMessageDescriptor *const descriptor = message->descriptor;
    bool seen[RPC_JSON_MAX_FIELDS] = {false};
    if (descriptor->n_fields > RPC_JSON_MAX_FIELDS)
        return err_set(e, ERR_UNSUPPORTED, "%s has %u fields", descriptor->name, descriptor->n_fields);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value)
    {
        const ProtobufCFieldDescriptor *const field = field_of(descriptor, key);
        if (field == NULL)
            return refuse_field(parent, descriptor, key, e);
        struct json_path path = {
            .parent = parent, .name = field->name, .index = -1, .depth = parent->depth + 1};
        bool *const twice = &seen[field - descriptor->fields];
        if (*twice)
            return json_fail(&path, e, "given under both of its names");
        *twice = true;
        if (json_is_null(value))
            continue; /* null stands for the default */
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            TRY(take_list(&path, value, field, message, e));
        else
            TRY(take_singular(&path, value, field, message, e));
    }
    return ERR_OK;
}

static enum err_code decode_message(const struct json_path *path, const json_t *json,
                                    const ProtobufCMessageDescriptor *descriptor,
                                    ProtobufCMessage **out_message, struct err *e)
{
    if (path->depth > RPC_JSON_MAX_DEPTH)
        return json_fail(path, e, "more than %d messages within each other", RPC_JSON_MAX_DEPTH);
    if (!json_is_object(json))
        return json_fail(path, e, "must be an object: {...}");
    ProtobufCMessage *const message = calloc(1, descriptor->sizeof_message);
    if (message == NULL)
        return err_set(e, ERR_INTERNAL, "no memory for a %s", descriptor->name);
    protobuf_c_message_init(descriptor, message);
    const enum err_code code = take_fields(path, json, message, e);
    if (code != ERR_OK)
        protobuf_c_message_free_unpacked(message, NULL);
    else
        *out_message = message;
    return code;
}

enum err_code rpc_json_to_message(const json_t *json, const ProtobufCMessageDescriptor *descriptor,
                                  ProtobufCMessage **out_message, struct err *e)
{
    const struct json_path root = {.index = -1};
    return decode_message(&root, json, descriptor, out_message, e);
}

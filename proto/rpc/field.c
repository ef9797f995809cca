#include "rpc/field.h"

static void *at(const ProtobufCMessage *message, unsigned offset)
{
    return (char *)message + offset;
}

size_t rpc_field_value_bytes(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    }
    return 0;
}

bool rpc_field_in_oneof(const ProtobufCFieldDescriptor *field)
{
    return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

void *rpc_field_quantifier(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return at(message, field->quantifier_offset);
}

static bool is_zero(const void *value, ProtobufCType type)
{
    if (type == PROTOBUF_C_TYPE_STRING) {
        const char *const text = *(char *const *)value;
        return text == NULL || text[0] == '\0';
    }
    if (type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *)value)->len == 0;
    const unsigned char *const bytes = value;
    for (size_t i = 0; i < rpc_field_value_bytes(type); i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

static bool is_pointer(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE;
}

static bool is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const void *const value = at(message, field->offset);
    if (rpc_field_in_oneof(field) && *(uint32_t *)rpc_field_quantifier(message, field) != field->id)
        return false;
    if (is_pointer(field) && *(void *const *)value == NULL)
        return false;
    if (rpc_field_in_oneof(field) || field->label == PROTOBUF_C_LABEL_REQUIRED)
        return true;
    if (field->label == PROTOBUF_C_LABEL_NONE)
        return !is_zero(value, field->type);
    if (is_pointer(field))
        return *(void *const *)value != field->default_value;
    return *(protobuf_c_boolean *)rpc_field_quantifier(message, field) != 0;
}

size_t rpc_field_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *(size_t *)rpc_field_quantifier(message, field);
    return is_set(message, field) ? 1 : 0;
}

const void *rpc_field_at(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, size_t index)
{
    const void *const value = at(message, field->offset);
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return value;
    return *(char *const *)value + index * rpc_field_value_bytes(field->type);
}

/* One reading of a message: where the form check passes, protobuf-c unpacks, and every field that it reads
 * has the value that the walker finds in the packed bytes. The first byte says which type the others are. */
#include "rpc/field.h"
#include "rpc/form.h"
#include "rpc/wire.h"

#include "posward/business/v1/business.pb-c.h"
#include "posward/hsm/v1/hsm.pb-c.h"
#include "posward/hsm/v1/keys.pb-c.h"
#include "posward/posp/v1/posp.pb-c.h"
#include "posward/posv/v1/posv.pb-c.h"

#include <kinds.pb-c.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(claim)                                                                                         \
    do {                                                                                                     \
        if (!(claim))                                                                                        \
            __builtin_trap();                                                                                \
    } while (0)

static const ProtobufCMessageDescriptor *const types[] = {
    &posward__kinds__v1__all__descriptor,
    &posward__hsm__v1__process_batch_request__descriptor,
    &posward__hsm__v1__process_batch_response__descriptor,
    &posward__hsm__v1__process_transaction_request__descriptor,
    &posward__hsm__v1__translate_pin_request__descriptor,
    &posward__hsm__v1__propose_request__descriptor,
    &posward__hsm__v1__key_order__descriptor,
    &posward__hsm__v1__report_key_use_request__descriptor,
    &posward__posv__v1__list_devices_response__descriptor,
    &posward__posp__v1__list_transactions_response__descriptor,
    &posward__business__v1__authorize_request__descriptor,
};

static int64_t unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1 ^ (0 - (value & 1)));
}

static void compare(const ProtobufCMessageDescriptor *type, struct wire_bytes bytes,
                    const ProtobufCMessage *message);

static void compare_bytes(const ProtobufCFieldDescriptor *field, struct wire_bytes b, const void *value)
{
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        const char *const text = *(char *const *)value;
        CHECK(strlen(text) == b.len && memcmp(text, b.data, b.len) == 0);
    } else if (field->type == PROTOBUF_C_TYPE_BYTES) {
        const ProtobufCBinaryData *const raw = value;
        CHECK(raw->len == b.len && (b.len == 0 || memcmp(raw->data, b.data, b.len) == 0));
    } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        compare(field->descriptor, b, *(ProtobufCMessage *const *)value);
    } else { /* fixed numbers: little-endian, as this machine */
        CHECK(b.len == rpc_field_value_bytes(field->type) && memcmp(value, b.data, b.len) == 0);
    }
}

static void compare_number(const ProtobufCFieldDescriptor *field, uint64_t number, const void *value)
{
    const bool zigzag = field->type == PROTOBUF_C_TYPE_SINT32 || field->type == PROTOBUF_C_TYPE_SINT64;
    const int64_t wanted = zigzag ? unzigzag(number) : (int64_t)number;
    if (field->type == PROTOBUF_C_TYPE_UINT32)
        CHECK(*(const uint32_t *)value == number);
    else if (rpc_field_value_bytes(field->type) == 4)
        CHECK(*(const int32_t *)value == wanted);
    else
        CHECK(*(const int64_t *)value == wanted);
}

static void compare_value(const ProtobufCFieldDescriptor *field, const struct wire_field *f,
                          const void *value)
{
    if (f->type == WIRE_VARINT)
        compare_number(field, f->value, value);
    else
        compare_bytes(field, f->bytes, value);
}

static bool is_row(const ProtobufCFieldDescriptor *field, const struct wire_field *f)
{
    return f->type == WIRE_BYTES && field->type != PROTOBUF_C_TYPE_STRING &&
           field->type != PROTOBUF_C_TYPE_BYTES && field->type != PROTOBUF_C_TYPE_MESSAGE;
}

/* Packed numbers, from `index` on; the index behind them. */
static size_t compare_row(const ProtobufCFieldDescriptor *field, struct wire_bytes row,
                          const ProtobufCMessage *message, size_t index)
{
    const bool eight = field->type == PROTOBUF_C_TYPE_FIXED64 || field->type == PROTOBUF_C_TYPE_SFIXED64 ||
                       field->type == PROTOBUF_C_TYPE_DOUBLE;
    const bool four = field->type == PROTOBUF_C_TYPE_FIXED32 || field->type == PROTOBUF_C_TYPE_SFIXED32 ||
                      field->type == PROTOBUF_C_TYPE_FLOAT;
    for (; row.len > 0; index++) {
        CHECK(index < rpc_field_count(message, field));
        const void *const value = rpc_field_at(message, field, index);
        uint64_t number = 0;
        if (four || eight) {
            const size_t len = eight ? 8 : 4;
            CHECK(row.len >= len && memcmp(row.data, value, len) == 0);
            row = (struct wire_bytes){row.data + len, row.len - len};
        } else {
            CHECK(wire_take_varint(&row, &number));
            compare_number(field, number, value);
        }
    }
    return index;
}

static void compare_repeated(const ProtobufCFieldDescriptor *field, struct wire_bytes bytes,
                             const ProtobufCMessage *message)
{
    const size_t count = rpc_field_count(message, field);
    size_t index = 0;
    for (struct wire_field f; wire_take(&bytes, &f);) {
        if (f.number != field->id)
            continue;
        if (is_row(field, &f)) {
            index = compare_row(field, f.bytes, message, index);
            continue;
        }
        CHECK(index < count);
        compare_value(field, &f, rpc_field_at(message, field, index++));
    }
    CHECK(index == count);
}

/* protobuf-c packs no -0.0, which is a value of its own here. */
static bool is_unset(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    const void *const value = rpc_field_at(message, field, 0);
    if (field->type == PROTOBUF_C_TYPE_FLOAT)
        return *(const float *)value == 0.0F;
    if (field->type == PROTOBUF_C_TYPE_DOUBLE)
        return *(const double *)value == 0.0;
    return rpc_field_count(message, field) == 0;
}

static void compare_field(const ProtobufCFieldDescriptor *field, struct wire_bytes bytes,
                          const ProtobufCMessage *message)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        compare_repeated(field, bytes, message);
        return;
    }
    const struct wire_field f = wire_find(bytes, field->id);
    CHECK(wire_count(bytes, field->id) <= 1);
    if (rpc_field_in_oneof(field))
        CHECK((*(uint32_t *)rpc_field_quantifier(message, field) == field->id) == (f.number != 0));
    if (f.number == 0)
        CHECK(is_unset(field, message));
    else
        compare_value(field, &f, rpc_field_at(message, field, 0));
}

static void compare(const ProtobufCMessageDescriptor *type, struct wire_bytes bytes,
                    const ProtobufCMessage *message)
{
    CHECK(message->descriptor == type);
    for (unsigned i = 0; i < type->n_fields; i++)
        compare_field(&type->fields[i], bytes, message);
    size_t unknown = 0;
    for (struct wire_field f; wire_take(&bytes, &f);)
        unknown += protobuf_c_message_descriptor_get_field(type, (unsigned)f.number) == NULL;
    CHECK(bytes.len == 0 && unknown == message->n_unknown_fields);
}

/* What protobuf-c makes of the message is in form, and reads the same. */
static void compare_packed(const ProtobufCMessageDescriptor *type, const ProtobufCMessage *message)
{
    const size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *const bytes = malloc(len + 1);
    struct err e = {0};
    CHECK(bytes != NULL && protobuf_c_message_pack(message, bytes) == len);
    CHECK(form_check(type, bytes, len, &e) == ERR_OK);
    compare(type, (struct wire_bytes){bytes, len}, message);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *const type = types[data[0] % (sizeof types / sizeof types[0])];
    const struct wire_bytes bytes = {data + 1, size - 1};
    struct err e = {0};
    const enum err_code code = form_check(type, bytes.data, bytes.len, &e);
    if (code != ERR_OK) {
        CHECK(code == ERR_INPUT && e.code == code && strlen(e.note) > 0);
        return 0;
    }
    ProtobufCMessage *const message = protobuf_c_message_unpack(type, NULL, bytes.len, bytes.data);
    CHECK(message != NULL);
    compare(type, bytes, message);
    compare_packed(type, message);
    protobuf_c_message_free_unpacked(message, NULL);
    return 0;
}

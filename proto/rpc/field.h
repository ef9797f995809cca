/* Reading the fields of any protobuf-c message by descriptor, whatever their label. Borrowed views; any
 * thread. */
#ifndef POSWARD_RPC_FIELD_H
#define POSWARD_RPC_FIELD_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

/* Values that are set: of a repeated field all, of another 0 or 1. A proto3 field at its default is not set.
 */
size_t rpc_field_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
/* The value at `index` (0 unless repeated; also when the count is 0 and the field is singular), as it stands
 * in the message: int32_t, uint64_t, char *, ProtobufCBinaryData, ProtobufCMessage *, ... by field->type. */
const void *rpc_field_at(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                         size_t index);
/* Bytes of one value in memory. */
size_t rpc_field_value_bytes(ProtobufCType type);
/* A member of a oneof that has a case of its own. */
bool rpc_field_in_oneof(const ProtobufCFieldDescriptor *field);
/* Where field->quantifier_offset points: the count, the has_ flag or the oneof's case. */
void *rpc_field_quantifier(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

#endif

/* The strings of a packed message, before protobuf-c makes C strings of them. Private to rpc. */
#ifndef POSWARD_RPC_TEXT_H
#define POSWARD_RPC_TEXT_H

#include "base/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

/* Every string field, at any depth, is UTF-8 without NUL: protobuf-c looks at neither, and what stands behind
 * a NUL would be gone unseen, so that "T0000001\0x" passed for T0000001. ERR_INPUT names the field. Any
 * thread. Source: protobuf language guide, proto3, scalar value types: "a string must always contain UTF-8".
 */
enum err_code text_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len,
                         struct err *e) MUST_CHECK;

#endif

/* The form of a packed message, checked once before anything reads it: whatever reads it later - protobuf-c,
 * or rpc/wire.h where it lies - then reads the same. Protobuf itself allows more than one reading: the last
 * of a field that stands twice counts, sub-messages merge, bits that do not fit are dropped. */
#ifndef POSWARD_RPC_FORM_H
#define POSWARD_RPC_FORM_H

#include "base/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

/* Messages in messages; ours have a handful. */
#define FORM_DEPTH_MAX 64

/* At every depth of the message, by descriptor: ERR_INPUT, with a note that names the field and its fault,
 * for
 *  - a field that is not repeated and stands twice; a second member of a oneof;
 *  - a wire type that is not the field's (repeated numbers may be packed or not, as in proto3);
 *  - a number that does not fit its field: int32 and enums beyond 32 bits with sign, uint32 and sint32 beyond
 *    32 bits, a bool that is not 0 or 1. The value of an enum need not be one that is known;
 *  - a varint longer than it needs to be (of a tag, a length or a value), a group, field number 0 or over
 *    2^29-1, bytes that end early;
 *  - a string that is not UTF-8 or holds NUL: protobuf-c looks at neither, and what stands behind a NUL would
 *    be gone unseen, so that "T0000001\0x" passed for T0000001;
 *  - more than FORM_DEPTH_MAX messages in messages.
 * Fields that the descriptor does not have are passed by (a newer peer), as often as they stand, once they
 * are well-formed; what is inside them is not looked at, as nobody here reads it. A message that passes
 * unpacks, memory aside. ERR_INTERNAL: a type of more than FORM_STRUCT_BYTES_MAX. Any thread. Sources:
 * protobuf.dev/programming-guides/encoding; proto3 language guide, scalar value types: "a string must always
 * contain UTF-8 encoded text". */
enum err_code form_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len,
                         struct err *e) MUST_CHECK;

/* The largest C struct of a message type that can be checked. */
#define FORM_STRUCT_BYTES_MAX 2048

#endif

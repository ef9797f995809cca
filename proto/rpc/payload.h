/* protobuf-c messages <-> gRPC byte buffers. Private to rpc. */
#ifndef POSWARD_RPC_PAYLOAD_H
#define POSWARD_RPC_PAYLOAD_H

#include "base/err.h"

#include <grpc/byte_buffer.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

/* Largest message when the options name none. */
#define RPC_DEFAULT_MESSAGE_BYTES ((size_t)1024 * 1024)
/* A message may unpack to this many times the size limit: a sub-message of 2 bytes takes over 50 in memory.
 */
#define RPC_UNPACK_FACTOR 16

/* The packed message, to be unref'd by the caller. */
grpc_slice payload_pack(const ProtobufCMessage *message);

/* The bytes of a received payload in one piece. */
struct payload_view {
    grpc_slice slice;
    const uint8_t *bytes;
    size_t len;
};
enum err_code payload_view_init(struct payload_view *view, grpc_byte_buffer *payload,
                                struct err *e) MUST_CHECK;
void payload_view_drop(struct payload_view *view);

/* Unpack with a bound on the memory taken. ERR_INPUT when the bytes are no message of that type in the form
 * of rpc/form.h; ERR_LIMIT too large or blown up. Freed with protobuf_c_message_free_unpacked(message, NULL).
 */
enum err_code payload_unpack(grpc_byte_buffer *payload, const ProtobufCMessageDescriptor *descriptor,
                             size_t max_bytes, ProtobufCMessage **out_message, struct err *e) MUST_CHECK;

#endif

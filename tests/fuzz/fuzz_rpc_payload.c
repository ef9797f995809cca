/* Bytes of a peer into messages: whatever they are, unpacking is bounded, and what unpacks packs again. */
#include "rpc/payload.h"

#include "posward/hsm/v1/hsm.pb-c.h"

#include <echo.pb-c.h>
#include <grpc/grpc.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_BYTES 4096

static void unpack_and_pack(grpc_byte_buffer *payload, const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    if (payload_unpack(payload, descriptor, MAX_BYTES, &message, &e) != ERR_OK) {
        if (e.code != ERR_INPUT && e.code != ERR_LIMIT)
            __builtin_trap();
        return;
    }
    grpc_slice_unref(payload_pack(message));
    protobuf_c_message_free_unpacked(message, NULL);
}

/* The first byte says where the payload is cut into two slices, as frames on the wire would. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const size_t cut = data[0] < size - 1 ? data[0] : size - 1;
    grpc_slice slices[] = {
        grpc_slice_from_copied_buffer((const char *)data + 1, cut),
        grpc_slice_from_copied_buffer((const char *)data + 1 + cut, size - 1 - cut),
    };
    grpc_byte_buffer *payload = grpc_raw_byte_buffer_create(slices, 2);
    unpack_and_pack(payload, &posward__hsm__v1__process_batch_request__descriptor);
    unpack_and_pack(payload, &posward__test__v1__echo_request__descriptor);
    grpc_byte_buffer_destroy(payload);
    grpc_slice_unref(slices[0]);
    grpc_slice_unref(slices[1]);
    return 0;
}

#include "rpc/payload.h"

#include "rpc/form.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <stdlib.h>

struct budget {
    size_t left;
    bool spent;
};

static void *budget_alloc(void *context, size_t size)
{
    struct budget *budget = context;
    if (size > budget->left) {
        budget->spent = true;
        return NULL;
    }
    budget->left -= size;
    return malloc(size);
}

static void budget_free(void *context, void *block)
{
    (void)context;
    free(block);
}

grpc_slice payload_pack(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    return slice;
}

enum err_code payload_view_init(struct payload_view *view, grpc_byte_buffer *payload, struct err *e)
{
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, payload))
        return err_set(e, ERR_INPUT, "payload cannot be read");
    /* For a payload of one slice, which is the rule, this is a reference and no copy. */
    view->slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    view->bytes = GRPC_SLICE_START_PTR(view->slice);
    view->len = GRPC_SLICE_LENGTH(view->slice);
    return ERR_OK;
}

void payload_view_drop(struct payload_view *view)
{
    if (view->bytes != NULL)
        grpc_slice_unref(view->slice);
    view->bytes = NULL;
}

enum err_code payload_unpack(grpc_byte_buffer *payload, const ProtobufCMessageDescriptor *descriptor,
                             size_t max_bytes, ProtobufCMessage **out_message, struct err *e)
{
    if (payload == NULL)
        return err_set(e, ERR_INPUT, "no message of type %s was sent", descriptor->name);
    if (grpc_byte_buffer_length(payload) > max_bytes)
        return err_set(e, ERR_LIMIT, "message of %zu bytes is over the limit of %zu",
                       grpc_byte_buffer_length(payload), max_bytes);
    struct payload_view view = {0};
    TRY(payload_view_init(&view, payload, e));
    const enum err_code code = form_check(descriptor, view.bytes, view.len, e);
    if (code != ERR_OK) {
        payload_view_drop(&view);
        return code;
    }
    struct budget budget = {.left = max_bytes * RPC_UNPACK_FACTOR};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &allocator, view.len, view.bytes);
    const size_t len = view.len;
    payload_view_drop(&view);
    if (message == NULL && budget.spent)
        return err_set(e, ERR_LIMIT, "message of %zu bytes takes more memory than is allowed", len);
    if (message == NULL)
        return err_set(e, ERR_INPUT, "the %zu bytes sent are not a message of type %s", len,
                       descriptor->name);
    *out_message = message;
    return ERR_OK;
}

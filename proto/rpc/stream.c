#include "rpc/channel_state.h"

#include "base/clock.h"
#include "base/wait.h"

#include <errno.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct rpc_stream;

/* One operation of a stream; at most one of each kind is under way. */
struct operation {
    struct rpc_reply reply; /* first: the tag */
    struct rpc_stream *stream;
    bool busy, ok;
};

struct rpc_stream {
    struct rpc_channel *channel;
    struct rpc_link *link;
    int64_t begun_ms;
    grpc_call *core;
    const ProtobufCMessageDescriptor *output;
    struct operation send, receive, status;

    pthread_mutex_t lock; /* `busy` and `ok` of the operations */
    pthread_cond_t changed;

    grpc_byte_buffer *sent, *payload;
    bool head_sent, sending_over, message_waits;
    grpc_metadata_array head, trailer;
    grpc_status_code code;
    grpc_slice details;
    grpc_slice traceparent;
    bool traced;
};

static void on_operation(struct rpc_reply *reply, bool ok)
{
    struct operation *operation = (struct operation *)reply;
    struct rpc_stream *stream = operation->stream;
    pthread_mutex_lock(&stream->lock);
    operation->busy = false;
    operation->ok = ok;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
}

static void start(struct operation *operation, const grpc_op *ops, size_t count)
{
    operation->busy = true;
    grpc_call *core = operation->stream->core;
    handoff_give(&operation->reply.handoff);
    if (grpc_call_start_batch(core, ops, count, &operation->reply, NULL) != GRPC_CALL_OK)
        abort(); /* a misuse of core's interface */
}

/* Wait for an operation's end; false when `timeout_ms` (negative: none) ran out first. */
static bool finish(struct operation *operation, int64_t timeout_ms)
{
    struct rpc_stream *stream = operation->stream;
    const struct timespec end = wait_end(timeout_ms);
    pthread_mutex_lock(&stream->lock);
    for (bool in_time = true; operation->busy && in_time;)
        in_time = wait_until(&stream->changed, &stream->lock, timeout_ms < 0 ? NULL : &end);
    const bool over = !operation->busy;
    pthread_mutex_unlock(&stream->lock);
    return over;
}

/* Core answers each of these with the status: the error is there, not in the operation. */
static void start_status(struct rpc_stream *stream)
{
    const grpc_op ops[] = {
        {.op = GRPC_OP_RECV_INITIAL_METADATA,
         .data.recv_initial_metadata.recv_initial_metadata = &stream->head},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &stream->trailer,
                                        .status = &stream->code,
                                        .status_details = &stream->details}},
    };
    start(&stream->status, ops, 2);
}

static size_t head_op(struct rpc_stream *stream, grpc_op *out_op, grpc_metadata *trace)
{
    *trace =
        (grpc_metadata){.key = grpc_slice_from_static_string("traceparent"), .value = stream->traceparent};
    *out_op = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA,
                        .data.send_initial_metadata = {.count = stream->traced ? 1 : 0, .metadata = trace}};
    return 1;
}

static grpc_op message_op(struct rpc_stream *stream, const ProtobufCMessage *message)
{
    grpc_slice packed = payload_pack(message);
    grpc_byte_buffer_destroy(stream->sent);
    stream->sent = grpc_raw_byte_buffer_create(&packed, 1);
    grpc_slice_unref(packed);
    return (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = stream->sent};
}

static void start_sending(struct rpc_stream *stream, const ProtobufCMessage *request)
{
    grpc_op ops[3];
    grpc_metadata trace;
    size_t count = head_op(stream, ops, &trace);
    if (request != NULL) {
        ops[count++] = message_op(stream, request);
        ops[count++] = (grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
        stream->sending_over = true;
    }
    start(&stream->send, ops, count);
}

static enum err_code stream_new(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                                const char *method, const struct rpc_call_options *options,
                                struct rpc_stream **out_stream, struct err *e)
{
    char path[RPC_CLIENT_PATH_BYTES];
    const ProtobufCMethodDescriptor *descriptor = NULL;
    TRY(rpc_method_path(service, method, path, &descriptor, e));
    TRY(rpc_traceparent_check(options->traceparent, e));
    TRY(rpc_channel_enter(channel, e));
    struct rpc_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        rpc_channel_leave(channel);
        return err_set(e, ERR_LIMIT, "out of memory");
    }
    stream->channel = channel;
    stream->output = descriptor->output;
    pthread_mutex_init(&stream->lock, NULL);
    wait_cond_init(&stream->changed);
    stream->send = stream->receive = stream->status =
        (struct operation){.reply.run = on_operation, .stream = stream};
    grpc_metadata_array_init(&stream->head);
    grpc_metadata_array_init(&stream->trailer);
    stream->details = grpc_empty_slice();
    stream->traced = rpc_trace_of(options->traceparent, &stream->traceparent);
    stream->begun_ms = clock_monotonic_ms();
    stream->core = rpc_channel_call(channel, path, rpc_deadline_in(options->timeout_ms), &stream->link);
    *out_stream = stream;
    return ERR_OK;
}

enum err_code rpc_stream_open(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                              const char *method, const ProtobufCMessage *request,
                              const struct rpc_call_options *options, struct rpc_stream **out_stream,
                              struct err *e)
{
    static const struct rpc_call_options plain = {0};
    struct rpc_stream *stream = NULL;
    TRY(stream_new(channel, service, method, options != NULL ? options : &plain, &stream, e));
    start_status(stream);
    start_sending(stream, request);
    *out_stream = stream;
    return ERR_OK;
}

/* After the last message: how the call ended. */
static enum err_code ended(struct rpc_stream *stream, struct err *e)
{
    (void)finish(&stream->status, -1);
    rpc_links_ended(&stream->channel->links, stream->link, stream->begun_ms, stream->code);
    return rpc_status_error(stream->code, stream->details, e);
}

enum err_code rpc_stream_next(struct rpc_stream *stream, int64_t timeout_ms, ProtobufCMessage **out_message,
                              struct err *e)
{
    if (!stream->message_waits) {
        const grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &stream->payload};
        stream->message_waits = true;
        start(&stream->receive, &op, 1);
    }
    if (!finish(&stream->receive, timeout_ms < 0 ? 0 : timeout_ms))
        return err_set(e, ERR_TIMEOUT, "no message within %lld ms", (long long)timeout_ms);
    stream->message_waits = false;
    if (stream->payload == NULL) {
        TRY(ended(stream, e));
        *out_message = NULL;
        return ERR_OK;
    }
    rpc_link_heard(stream->link);
    const enum err_code code =
        payload_unpack(stream->payload, stream->output, stream->channel->max_message_bytes, out_message, e);
    grpc_byte_buffer_destroy(stream->payload);
    stream->payload = NULL;
    if (code == ERR_OK)
        return ERR_OK;
    rpc_stream_cancel(stream);
    return err_set(e, ERR_INTERNAL, "a message of the stream is not of type %s", stream->output->name);
}

/* Wait for the send before, which frees its buffers; then send. */
static enum err_code send_op(struct rpc_stream *stream, const ProtobufCMessage *message, struct err *e)
{
    if (stream->sending_over)
        return err_set(e, ERR_STATE, "sending on the stream is over");
    (void)finish(&stream->send, -1);
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    if (message != NULL)
        op = message_op(stream, message);
    stream->sending_over = message == NULL;
    start(&stream->send, &op, 1);
    (void)finish(&stream->send, -1);
    if (stream->send.ok)
        return ERR_OK;
    return err_set(e, ERR_CANCELLED, "the stream has ended; rpc_stream_next tells how");
}

enum err_code rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *message, struct err *e)
{
    return send_op(stream, message, e);
}

enum err_code rpc_stream_send_end(struct rpc_stream *stream, struct err *e)
{
    return send_op(stream, NULL, e);
}

void rpc_stream_cancel(struct rpc_stream *stream)
{
    (void)grpc_call_cancel(stream->core, NULL);
}

void rpc_stream_free(struct rpc_stream *stream)
{
    if (stream == NULL)
        return;
    struct rpc_channel *channel = stream->channel;
    rpc_stream_cancel(stream);
    (void)finish(&stream->send, -1);
    (void)finish(&stream->receive, -1);
    (void)finish(&stream->status, -1);
    grpc_metadata_array_destroy(&stream->head);
    grpc_metadata_array_destroy(&stream->trailer);
    grpc_slice_unref(stream->details);
    grpc_slice_unref(stream->traceparent);
    grpc_byte_buffer_destroy(stream->sent);
    grpc_byte_buffer_destroy(stream->payload);
    grpc_call_unref(stream->core);
    rpc_link_leave(stream->link);
    pthread_cond_destroy(&stream->changed);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
    rpc_channel_leave(channel);
}

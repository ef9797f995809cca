#include "rpc/channel_state.h"

#include "base/clock.h"

#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_FIRST_MS 50
#define RETRY_MOST_MS  1000

/* One request, over perhaps several attempts. */
struct unary {
    struct rpc_reply reply; /* first: the tag */
    struct rpc_timer timer;
    struct rpc_channel *channel;
    char path[RPC_CLIENT_PATH_BYTES];
    const ProtobufCMessageDescriptor *output;
    grpc_slice request;
    gpr_timespec deadline;
    grpc_slice traceparent;
    bool traced, idempotent;
    int64_t backoff_ms;

    struct rpc_link *link; /* of this attempt, with what it received */
    int64_t begun_ms;
    grpc_call *core;
    grpc_byte_buffer *sent, *payload;
    grpc_metadata_array head, trailer;
    grpc_status_code status;
    grpc_slice details;

    void (*over)(struct unary *call); /* the last attempt has ended; channel thread */
    rpc_done_fn done;
    void *context;
    pthread_mutex_t lock; /* blocking calls */
    pthread_cond_t ended;
    bool has_ended;
};

static void drop_attempt(struct unary *call)
{
    if (call->core == NULL)
        return;
    grpc_metadata_array_destroy(&call->head);
    grpc_metadata_array_destroy(&call->trailer);
    grpc_slice_unref(call->details);
    grpc_byte_buffer_destroy(call->sent);
    grpc_byte_buffer_destroy(call->payload);
    grpc_call_unref(call->core);
    rpc_link_leave(call->link);
    call->core = NULL;
    call->payload = NULL;
}

static void unary_free(struct unary *call)
{
    struct rpc_channel *channel = call->channel;
    drop_attempt(call);
    grpc_slice_unref(call->request);
    grpc_slice_unref(call->traceparent);
    pthread_cond_destroy(&call->ended);
    pthread_mutex_destroy(&call->lock);
    free(call);
    rpc_channel_leave(channel);
}

static void attempt(struct unary *call)
{
    call->begun_ms = clock_monotonic_ms();
    call->core = rpc_channel_call(call->channel, call->path, call->deadline, &call->link);
    grpc_metadata_array_init(&call->head);
    grpc_metadata_array_init(&call->trailer);
    call->details = grpc_empty_slice();
    call->sent = grpc_raw_byte_buffer_create(&call->request, 1);
    grpc_metadata trace = {.key = grpc_slice_from_static_string("traceparent"), .value = call->traceparent};
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA,
         .data.send_initial_metadata = {.count = call->traced ? 1 : 0, .metadata = &trace}},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = call->sent},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA,
         .data.recv_initial_metadata.recv_initial_metadata = &call->head},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->payload},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &call->trailer,
                                        .status = &call->status,
                                        .status_details = &call->details}},
    };
    grpc_call *core = call->core; /* once started, `call` may be gone */
    handoff_give(&call->reply.handoff);
    if (grpc_call_start_batch(core, ops, 6, &call->reply, NULL) != GRPC_CALL_OK)
        abort(); /* a misuse of core's interface */
}

static int64_t left_ms(const struct unary *call)
{
    const gpr_timespec left = gpr_time_sub(call->deadline, gpr_now(GPR_CLOCK_MONOTONIC));
    return left.tv_sec * 1000 + left.tv_nsec / 1000000;
}

static bool worth_retrying(struct unary *call)
{
    const bool passing = call->status == GRPC_STATUS_UNAVAILABLE || call->status == GRPC_STATUS_CANCELLED;
    return passing && call->idempotent && left_ms(call) > call->backoff_ms &&
           !rpc_channel_closing(call->channel);
}

static void on_retry(struct rpc_timer *timer)
{
    struct unary *call = (struct unary *)((char *)timer - offsetof(struct unary, timer));
    /* The peer may be back: connect now, not when core's own back-off is over. */
    struct rpc_link *const link = rpc_links_enter(&call->channel->links);
    grpc_channel_reset_connect_backoff(rpc_link_core(link));
    rpc_link_leave(link);
    attempt(call);
}

static void on_reply(struct rpc_reply *reply, bool ok)
{
    (void)ok; /* the status tells */
    struct unary *call = (struct unary *)reply;
    rpc_links_ended(&call->channel->links, call->link, call->begun_ms, call->status);
    if (!worth_retrying(call)) {
        call->over(call);
        return;
    }
    drop_attempt(call);
    rpc_channel_after(call->channel, &call->timer, call->backoff_ms);
    call->backoff_ms = call->backoff_ms * 2 < RETRY_MOST_MS ? call->backoff_ms * 2 : RETRY_MOST_MS;
}

/* What the last attempt brought. */
static enum err_code outcome(struct unary *call, ProtobufCMessage **out_response, struct err *e)
{
    TRY(rpc_status_error(call->status, call->details, e));
    if (payload_unpack(call->payload, call->output, call->channel->max_message_bytes, out_response, e) ==
        ERR_OK)
        return ERR_OK;
    return err_set(e, ERR_INTERNAL, "the answer of %.100s is not of type %.60s", call->path,
                   call->output->name);
}

static enum err_code unary_new(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                               const char *method, const struct rpc_call_options *options,
                               struct unary **out_call, struct err *e)
{
    static const struct rpc_call_options plain = {0};
    options = options != NULL ? options : &plain;
    struct unary *call = calloc(1, sizeof *call);
    if (call == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    const ProtobufCMethodDescriptor *descriptor = NULL;
    enum err_code code = rpc_method_path(service, method, call->path, &descriptor, e);
    if (code == ERR_OK)
        code = rpc_traceparent_check(options->traceparent, e);
    if (code == ERR_OK)
        code = rpc_channel_enter(channel, e);
    if (code != ERR_OK) {
        free(call);
        return code;
    }
    call->reply.run = on_reply;
    call->timer.run = on_retry;
    call->channel = channel;
    call->output = descriptor->output;
    call->deadline = rpc_deadline_in(options->timeout_ms > 0 ? options->timeout_ms : RPC_DEFAULT_TIMEOUT_MS);
    call->traced = rpc_trace_of(options->traceparent, &call->traceparent);
    call->idempotent = options->idempotent;
    call->backoff_ms = RETRY_FIRST_MS;
    call->request = grpc_empty_slice();
    pthread_mutex_init(&call->lock, NULL);
    pthread_cond_init(&call->ended, NULL);
    *out_call = call;
    return ERR_OK;
}

static void wake_caller(struct unary *call)
{
    pthread_mutex_lock(&call->lock);
    call->has_ended = true;
    pthread_cond_signal(&call->ended);
    pthread_mutex_unlock(&call->lock);
}

enum err_code rpc_unary(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                        const char *method, const ProtobufCMessage *request,
                        const struct rpc_call_options *options, ProtobufCMessage **out_response,
                        struct err *e)
{
    struct unary *call = NULL;
    TRY(unary_new(channel, service, method, options, &call, e));
    call->over = wake_caller;
    call->request = payload_pack(request);
    attempt(call);
    pthread_mutex_lock(&call->lock);
    while (!call->has_ended)
        pthread_cond_wait(&call->ended, &call->lock);
    pthread_mutex_unlock(&call->lock);
    const enum err_code code = outcome(call, out_response, e);
    unary_free(call);
    return code;
}

static void tell_done(struct unary *call)
{
    ProtobufCMessage *response = NULL;
    struct err e = {0};
    const enum err_code code = outcome(call, &response, &e);
    call->done(call->context, response, code == ERR_OK ? NULL : &e);
    if (response != NULL)
        protobuf_c_message_free_unpacked(response, NULL);
    unary_free(call);
}

enum err_code rpc_unary_start(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                              const char *method, const ProtobufCMessage *request,
                              const struct rpc_call_options *options, rpc_done_fn done, void *context,
                              struct err *e)
{
    struct unary *call = NULL;
    TRY(unary_new(channel, service, method, options, &call, e));
    call->over = tell_done;
    call->done = done;
    call->context = context;
    call->request = payload_pack(request);
    attempt(call);
    return ERR_OK;
}

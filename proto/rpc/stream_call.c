#include "rpc/server_state.h"

#include <pthread.h>

static void on_stream_received(struct rpc_call *call, bool ok)
{
    (void)ok; /* no payload then: the half-close, or the end */
    if (call->payload != NULL)
        rpc_connections_explain(call->server, call, grpc_byte_buffer_length(call->payload));
    pthread_mutex_lock(&call->lock);
    call->receiving = false;
    pthread_cond_broadcast(&call->changed);
    pthread_mutex_unlock(&call->lock);
    rpc_call_unref(call);
}

/* The next message of the client into call->payload; NULL there at its half-close or end. */
static void receive(struct rpc_call *call)
{
    grpc_byte_buffer_destroy(call->payload);
    call->payload = NULL;
    call->receiving = true;
    const grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->payload};
    rpc_call_batch(call, &op, 1, &call->received);
    pthread_mutex_lock(&call->lock);
    while (call->receiving)
        pthread_cond_wait(&call->changed, &call->lock);
    pthread_mutex_unlock(&call->lock);
}

/* Give one message to the handler; false when the call is over. */
static bool handle(struct rpc_call *call)
{
    const struct rpc_method *method = call->method;
    ProtobufCMessage *request = NULL;
    struct err e = {0};
    if (payload_unpack(call->payload, method->input, call->server->options.max_message_bytes, &request, &e) !=
        ERR_OK) {
        rpc_call_fail(call, &e);
        return false;
    }
    method->service->invoke(method->service, method->index, request, rpc_answer, call);
    protobuf_c_message_free_unpacked(request, NULL);
    return !atomic_load(&call->answered);
}

static void serve_one_request(struct rpc_call *call)
{
    if (!rpc_call_refuse_stale(call))
        (void)handle(call);
}

static void serve_many_requests(struct rpc_call *call)
{
    const struct rpc_method *method = call->method;
    for (; call->payload != NULL; receive(call))
        if (!handle(call))
            return;
    if (!atomic_load(&call->cancelled))
        method->service->invoke(method->service, method->index, NULL, rpc_answer, call);
}

static void *stream_main(void *argument)
{
    struct rpc_call *call = argument;
    struct rpc_server *server = call->server;
    (void)trace_enter(call->trace); /* the thread has no other work */
    if (call->method->client_streams)
        serve_many_requests(call);
    else
        serve_one_request(call);
    /* A handler that returned without an ending must not leave its client waiting. */
    if (!atomic_load(&call->answered)) {
        struct err e = {0};
        err_set(&e, atomic_load(&call->cancelled) ? ERR_CANCELLED : ERR_INTERNAL, "%s ended without a status",
                call->method->path);
        rpc_call_fail(call, &e);
    }
    rpc_call_unref(call);
    pthread_mutex_lock(&server->lock);
    server->stream_threads--;
    pthread_cond_broadcast(&server->quiet);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

enum err_code rpc_stream_call_start(struct rpc_call *call, struct err *e)
{
    struct rpc_server *server = call->server;
    call->received.run = on_stream_received;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, RPC_STREAM_STACK_BYTES);
    rpc_call_ref(call); /* the thread's */
    pthread_mutex_lock(&server->lock);
    server->stream_threads++;
    pthread_mutex_unlock(&server->lock);
    pthread_t thread;
    const int rc = pthread_create(&thread, &attributes, stream_main, call);
    pthread_attr_destroy(&attributes);
    if (rc == 0)
        return ERR_OK;
    pthread_mutex_lock(&server->lock);
    server->stream_threads--;
    pthread_mutex_unlock(&server->lock);
    rpc_call_unref(call);
    return err_native(e, ERR_LIMIT, rc, "no thread for the stream; try again later");
}

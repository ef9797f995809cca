#include "base/clock.h"
#include "rpc/form.h"
#include "rpc/server_state.h"

#include <grpc/support/alloc.h>
#include <stdlib.h>
#include <string.h>

static void on_accepted(struct rpc_call *call, bool ok);
static void on_closed(struct rpc_call *call, bool ok);
static void on_received(struct rpc_call *call, bool ok);

static void call_error_is_fatal(grpc_call_error error)
{
    /* Only a misuse of core's interface ends here; going on would wait for an event that never comes. */
    if (error != GRPC_CALL_OK)
        abort();
}

enum err_code rpc_accept_post(struct rpc_server *server, struct err *e)
{
    struct rpc_call *call = rpc_call_new(server);
    if (call == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    call->accepted = (struct rpc_event){.run = on_accepted, .call = call};
    call->closed = (struct rpc_event){.run = on_closed, .call = call};
    call->received = (struct rpc_event){.run = on_received, .call = call};
    call->sent = (struct rpc_event){.run = rpc_on_sent, .call = call};
    call->ended = (struct rpc_event){.run = rpc_on_ended, .call = call};
    pthread_mutex_lock(&server->lock);
    server->posted++;
    pthread_mutex_unlock(&server->lock);
    handoff_give(&call->accepted.handoff);
    call_error_is_fatal(grpc_server_request_call(server->core, &call->core, &call->details, &call->metadata,
                                                 server->queue, server->queue, &call->accepted));
    return ERR_OK;
}

void *rpc_io_main(void *argument)
{
    struct rpc_server *server = argument;
    for (;;) {
        const grpc_event event =
            grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        struct rpc_event *what = event.tag;
        if (what != NULL) {
            handoff_take(&what->handoff);
            what->run(what->call, event.success != 0);
            continue;
        }
        /* The one tag without an event: grpc_server_shutdown_and_notify is done. */
        pthread_mutex_lock(&server->lock);
        server->core_down = true;
        pthread_cond_broadcast(&server->quiet);
        pthread_mutex_unlock(&server->lock);
    }
}

static void read_traceparent(struct rpc_call *call)
{
    for (size_t i = 0; i < call->metadata.count; i++) {
        const grpc_metadata *item = &call->metadata.metadata[i];
        if (grpc_slice_str_cmp(item->key, "traceparent") != 0)
            continue;
        call->trace = trace_parse(GRPC_SLICE_START_PTR(item->value), GRPC_SLICE_LENGTH(item->value));
        return;
    }
}

/* The handshake asked, perhaps under a configuration that was changed since. */
static enum err_code check_welcome(struct rpc_call *call, struct err *e)
{
    const struct rpc_server_options *const o = &call->server->options;
    if (o->may_connect == NULL || o->tls.ca_path == NULL || call->proxied ||
        o->may_connect(o->connect_context, call->identity))
        return ERR_OK;
    rpc_connections_refuse(call->server, call);
    return err_set(e, ERR_DENIED, "this identity has no role here any more; the connection will be closed");
}

static enum err_code decide(struct rpc_call *call, const char *path, struct err *e)
{
    struct rpc_server *server = call->server;
    const struct rpc_server_options *const o = &server->options;
    call->method = rpc_server_method(server, path);
    if (call->method == NULL)
        return err_set(e, ERR_UNSUPPORTED, "unknown method %.150s", path);
    if (atomic_load(&server->draining) && !call->method->open)
        return err_set(e, ERR_UNAVAILABLE, "the server is going down; try another or again");
    /* Before it is asked: whoever changes what `authorise` says finds this call, or is seen by it. */
    atomic_store(&call->known, true);
    TRY(check_welcome(call, e));
    if (o->authorise != NULL && !call->method->open)
        TRY(o->authorise(o->authorise_context, &call->peer, path, e));
    if (rpc_connections_open(server, call))
        rpc_watch_now(server);
    return rpc_slots_take(&server->slots, &call->slot, RPC_SLOT_WAITING, call->identity, e);
}

static void tell_refused(struct rpc_call *call, const char *path, const struct err *e)
{
    const struct rpc_server_options *const options = &call->server->options;
    if (options->refused != NULL)
        options->refused(options->authorise_context, call, path, e);
}

static enum err_code admit(struct rpc_call *call, struct err *e)
{
    char path[RPC_PATH_BYTES];
    const size_t len = GRPC_SLICE_LENGTH(call->details.method);
    if (len >= sizeof path)
        return err_set(e, ERR_UNSUPPORTED, "unknown method: a path of %zu bytes", len);
    memcpy(path, GRPC_SLICE_START_PTR(call->details.method), len);
    path[len] = '\0';
    const enum err_code code = decide(call, path, e);
    e->code = code;
    if (code != ERR_OK)
        tell_refused(call, path, e);
    return code;
}

static void start_receive(struct rpc_call *call)
{
    const grpc_op receive = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->payload};
    rpc_call_batch(call, &receive, 1, &call->received);
}

static void admit_and_go_on(struct rpc_call *call)
{
    struct err e = {0};
    const enum err_code code = admit(call, &e);
    if (code != ERR_OK) {
        e.code = code;
        rpc_call_fail(call, &e);
        return;
    }
    atomic_store(&call->request_due_ms, clock_monotonic_ms() + call->server->options.request_wait_ms);
    start_receive(call);
}

static void begin(struct rpc_call *call)
{
    const grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                           .data.recv_close_on_server.cancelled = &call->core_cancelled};
    rpc_call_batch(call, &close, 1, &call->closed);
    call->begun_us = clock_monotonic_us();
    call->deadline = gpr_convert_clock_type(call->details.deadline, GPR_CLOCK_MONOTONIC);
    read_traceparent(call);
    rpc_peer_read(call);
    const struct trace before = trace_enter(call->trace);
    admit_and_go_on(call); /* and from here on the call may be gone */
    (void)trace_enter(before);
}

/* A posted request came back, with a call or, at shutdown, with NULL. */
static void unpost(struct rpc_server *server, struct rpc_call *call)
{
    pthread_mutex_lock(&server->lock);
    server->posted--;
    if (call != NULL) {
        call->live_next = server->live;
        if (server->live != NULL)
            server->live->live_prev = call;
        server->live = call;
        server->live_count++;
    }
    pthread_cond_broadcast(&server->quiet);
    pthread_mutex_unlock(&server->lock);
}

static void on_accepted(struct rpc_call *call, bool ok)
{
    struct rpc_server *server = call->server;
    if (!ok) {
        /* Freed first: after unpost, drain may free the server. */
        rpc_call_unref(call);
        unpost(server, NULL);
        return;
    }
    unpost(server, call);
    struct err e;
    if (rpc_accept_post(server, &e) != ERR_OK)
        abort(); /* out of memory: a server that accepts no more calls must not look alive */
    begin(call);
}

static void on_closed(struct rpc_call *call, bool ok)
{
    if (!ok || call->core_cancelled)
        rpc_call_mark_cancelled(call);
    rpc_call_unref(call);
}

/* Now that it has something to do the call takes a slot: who only opens calls holds none. */
static enum err_code take_slot(struct rpc_call *call, struct err *e)
{
    const struct rpc_method *const method = call->method;
    const enum err_code code =
        rpc_slots_take(&call->server->slots, &call->slot, method->slot, call->identity, e);
    e->code = code;
    if (code != ERR_OK)
        tell_refused(call, method->path, e);
    return code;
}

static void start_stream(struct rpc_call *call)
{
    struct err e = {0};
    if (rpc_stream_call_start(call, &e) != ERR_OK)
        rpc_call_fail(call, &e);
}

static void go_on(struct rpc_call *call)
{
    const struct rpc_method *const method = call->method;
    struct err e = {0};
    if (call->payload == NULL && !method->client_streams)
        e.code = err_set(&e, ERR_INPUT, "no message of type %s was sent", method->input->name);
    else
        e.code = take_slot(call, &e);
    if (e.code != ERR_OK) {
        rpc_call_fail(call, &e);
    } else if (method->client_streams || method->server_streams) {
        start_stream(call);
    } else if (method->raw == NULL || method->raw_may_block) {
        rpc_call_ref(call); /* the queue's */
        rpc_pool_put(&call->server->pool, call);
    } else if (!rpc_call_refuse_stale(call)) {
        rpc_run_raw(call);
    }
}

static void on_received(struct rpc_call *call, bool ok)
{
    (void)ok; /* then there is no payload, and that is answered */
    atomic_store(&call->request_due_ms, 0);
    if (call->payload != NULL)
        rpc_connections_explain(call->server, call, grpc_byte_buffer_length(call->payload));
    const struct trace before = trace_enter(call->trace);
    go_on(call);
    (void)trace_enter(before);
    rpc_call_unref(call);
}

#include "rpc/server_state.h"

#include "base/wait.h"

#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdlib.h>
#include <time.h>

struct rpc_call *rpc_call_new(struct rpc_server *server)
{
    struct rpc_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->server = server;
    atomic_store(&call->refs, 1); /* the answer that will be due */
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    call->note = grpc_empty_slice();
    call->pushback.value = grpc_empty_slice();
    call->deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    pthread_mutex_init(&call->lock, NULL);
    wait_cond_init(&call->changed);
    return call;
}

static void unlink_live(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    pthread_mutex_lock(&server->lock);
    if (call->live_prev != NULL)
        call->live_prev->live_next = call->live_next;
    else
        server->live = call->live_next;
    if (call->live_next != NULL)
        call->live_next->live_prev = call->live_prev;
    pthread_mutex_unlock(&server->lock);
}

static void call_free(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    const bool was_live = call->core != NULL;
    if (was_live)
        unlink_live(call);
    grpc_byte_buffer_destroy(call->payload);
    grpc_byte_buffer_destroy(call->outgoing);
    grpc_slice_unref(call->note);
    grpc_slice_unref(call->pushback.value);
    grpc_metadata_array_destroy(&call->metadata);
    grpc_call_details_destroy(&call->details);
    gpr_free(call->address);
    free(call->identity);
    pthread_cond_destroy(&call->changed);
    pthread_mutex_destroy(&call->lock);
    if (was_live)
        grpc_call_unref(call->core);
    free(call);
    if (!was_live)
        return;
    /* Last: after it, drain may free the server. */
    pthread_mutex_lock(&server->lock);
    server->live_count--;
    pthread_cond_broadcast(&server->quiet);
    pthread_mutex_unlock(&server->lock);
}

void rpc_call_ref(struct rpc_call *call)
{
    atomic_fetch_add(&call->refs, 1);
}

void rpc_call_unref(struct rpc_call *call)
{
    if (atomic_fetch_sub(&call->refs, 1) == 1)
        call_free(call);
}

void rpc_call_mark_cancelled(struct rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    atomic_store(&call->cancelled, true);
    pthread_cond_broadcast(&call->changed);
    pthread_mutex_unlock(&call->lock);
}

void rpc_call_batch(struct rpc_call *call, const grpc_op *ops, size_t count, struct rpc_event *event)
{
    rpc_call_ref(call);
    grpc_call *core = call->core;
    handoff_give(&event->handoff);
    /* Only a misuse of core's interface fails; going on would wait for an event that never comes. */
    if (grpc_call_start_batch(core, ops, count, event, NULL) != GRPC_CALL_OK)
        abort();
}

const struct rpc_peer *rpc_call_peer(const struct rpc_call *call)
{
    return &call->peer;
}

int64_t rpc_call_left_ms(const struct rpc_call *call)
{
    const gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (gpr_time_cmp(call->deadline, never) == 0)
        return INT64_MAX;
    const gpr_timespec left = gpr_time_sub(call->deadline, gpr_now(GPR_CLOCK_MONOTONIC));
    const int64_t ms = left.tv_sec * 1000 + left.tv_nsec / 1000000;
    return ms > 0 ? ms : 0;
}

bool rpc_call_cancelled(const struct rpc_call *call)
{
    if (atomic_load(&call->cancelled))
        return true;
    /* A draining server lets a unary call finish and asks a stream to end. */
    return call->method != NULL && (call->method->server_streams || call->method->client_streams) &&
           atomic_load(&call->server->draining);
}

const char *rpc_call_traceparent(const struct rpc_call *call)
{
    return call->trace.parent;
}

bool rpc_call_wait(struct rpc_call *call, int64_t timeout_ms)
{
    const struct timespec end = wait_end(timeout_ms);
    pthread_mutex_lock(&call->lock);
    for (bool in_time = true; in_time && !call->woken && !rpc_call_cancelled(call);)
        in_time = wait_until(&call->changed, &call->lock, &end);
    call->woken = false;
    pthread_mutex_unlock(&call->lock);
    return !rpc_call_cancelled(call);
}

void rpc_server_wake(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    for (struct rpc_call *call = server->live; call != NULL; call = call->live_next) {
        pthread_mutex_lock(&call->lock);
        call->woken = true;
        pthread_cond_broadcast(&call->changed);
        pthread_mutex_unlock(&call->lock);
    }
    pthread_mutex_unlock(&server->lock);
}

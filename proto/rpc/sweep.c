#include "base/clock.h"
#include "base/wait.h"
#include "rpc/core_log.h"
#include "rpc/server_state.h"
#include "rpc/status.h"

#include <time.h>

/* A client that opens calls and never sends their requests would otherwise hold its slots for ever. */
static void cancel_overdue(struct rpc_server *server, int64_t now_ms)
{
    pthread_mutex_lock(&server->lock);
    for (struct rpc_call *call = server->live; call != NULL; call = call->live_next) {
        const int64_t request_due_ms = atomic_load(&call->request_due_ms);
        if (request_due_ms == 0 || now_ms < request_due_ms)
            continue;
        atomic_store(&call->request_due_ms, 0);
        (void)grpc_call_cancel_with_status(call->core, GRPC_STATUS_DEADLINE_EXCEEDED,
                                           "the request message did not come in time", NULL);
    }
    pthread_mutex_unlock(&server->lock);
}

/* Core's log does not say which listener it was, so it counts for every server of the process. */
static void notice_deafness(struct rpc_server *server)
{
    const struct rpc_server_options *const o = &server->options;
    if (core_log_accept_failures() == server->accept_failures || atomic_exchange(&server->deaf, true))
        return;
    rpc_server_set_serving(server, false);
    if (o->deaf != NULL)
        o->deaf(o->authorise_context);
}

/* False: the thread is to end. */
static bool wait_tick(struct rpc_server *server)
{
    const struct timespec end = wait_end(RPC_SWEEP_TICK_MS);
    pthread_mutex_lock(&server->lock);
    for (bool in_time = true; in_time && !server->watch_ends && !server->watch_now;)
        in_time = wait_until(&server->watch_wake, &server->lock, &end);
    server->watch_now = false;
    const bool ends = server->watch_ends;
    pthread_mutex_unlock(&server->lock);
    return !ends;
}

void rpc_watch_now(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->watch_now = true;
    pthread_cond_signal(&server->watch_wake);
    pthread_mutex_unlock(&server->lock);
}

void *rpc_watch_main(void *argument)
{
    struct rpc_server *const server = argument;
    while (wait_tick(server)) {
        cancel_overdue(server, clock_monotonic_ms());
        notice_deafness(server);
        rpc_connections_sweep(server);
        (void)rpc_certificates_state(server->certificates); /* finds files that changed */
    }
    return NULL;
}

void rpc_server_recheck(struct rpc_server *server)
{
    const struct rpc_server_options *const o = &server->options;
    if (o->authorise == NULL)
        return;
    pthread_mutex_lock(&server->lock);
    for (struct rpc_call *call = server->live; call != NULL; call = call->live_next) {
        struct err e = {0};
        if (!atomic_load(&call->known) || atomic_load(&call->answered) || atomic_load(&call->cancelled))
            continue;
        const struct rpc_method *const method = call->method;
        if (method->open || !(method->client_streams || method->server_streams))
            continue;
        e.code = o->authorise(o->authorise_context, &call->peer, method->path, &e);
        if (e.code == ERR_OK)
            continue;
        if (o->refused != NULL)
            o->refused(o->authorise_context, call, method->path, &e);
        (void)grpc_call_cancel_with_status(call->core, (grpc_status_code)rpc_status_of(e.code), e.note, NULL);
    }
    pthread_mutex_unlock(&server->lock);
}

#include "base/clock.h"
#include "base/wait.h"
#include "rpc/server_state.h"

#include <stdlib.h>
#include <time.h>

#define FLUSH_MS 200 /* for connections to close once the last call has ended */

static bool no_calls(const struct rpc_server *server)
{
    return server->live_count == 0 && server->stream_threads == 0;
}

static bool closed(const struct rpc_server *server)
{
    return server->core_down && server->posted == 0;
}

/* Wait until `condition` holds, at most `timeout_ms` (negative: for ever). */
static void wait_for(struct rpc_server *server, bool (*condition)(const struct rpc_server *),
                     int64_t timeout_ms)
{
    const struct timespec end = wait_end(timeout_ms);
    pthread_mutex_lock(&server->lock);
    for (bool in_time = true; in_time && !condition(server);)
        in_time = wait_until(&server->quiet, &server->lock, timeout_ms < 0 ? NULL : &end);
    pthread_mutex_unlock(&server->lock);
}

static void stop_watch(struct rpc_server *server)
{
    if (!server->watched)
        return;
    server->watched = false;
    pthread_mutex_lock(&server->lock);
    server->watch_ends = true;
    pthread_cond_signal(&server->watch_wake);
    pthread_mutex_unlock(&server->lock);
    pthread_join(server->watch_thread, NULL);
}

static void stop_threads(struct rpc_server *server)
{
    stop_watch(server);
    rpc_pool_stop(&server->pool);
    grpc_completion_queue_shutdown(server->queue);
    for (size_t i = 0; i < server->io_thread_count; i++)
        pthread_join(server->io_threads[i], NULL);
    if (server->io_thread_count == 0) /* start failed before there were any */
        (void)rpc_io_main(server);
    server->io_thread_count = 0;
}

void rpc_server_drain(struct rpc_server *server, int64_t lame_duck_ms, int64_t grace_ms)
{
    if (!server->started || server->drained)
        return;
    server->drained = true;
    rpc_server_set_serving(server, false);
    clock_sleep_ms(lame_duck_ms);
    atomic_store(&server->draining, true);
    grpc_server_shutdown_and_notify(server->core, server->queue, NULL);
    rpc_server_wake(server);
    wait_for(server, no_calls, grace_ms);
    wait_for(server, closed, FLUSH_MS);
    grpc_server_cancel_all_calls(server->core);
    wait_for(server, no_calls, -1);
    wait_for(server, closed, -1);
    stop_threads(server);
}

void rpc_server_free(struct rpc_server *server)
{
    if (server == NULL)
        return;
    rpc_server_drain(server, 0, 0);
    if (server->core != NULL) {
        if (!server->started) {
            grpc_server_shutdown_and_notify(server->core, server->queue, NULL);
            stop_threads(server);
        }
        grpc_server_destroy(server->core);
        grpc_completion_queue_destroy(server->queue);
        grpc_resource_quota_unref(server->quota);
    }
    rpc_certificates_free(server->certificates);
    rpc_index_drop(&server->index);
    pthread_cond_destroy(&server->quiet);
    pthread_cond_destroy(&server->watch_wake);
    pthread_mutex_destroy(&server->lock);
    rpc_slots_drop(&server->slots);
    free(server->methods);
    free(server->measures);
    rpc_connections_drop(&server->connections);
    free(server->listen);
    free(server);
    grpc_shutdown();
}

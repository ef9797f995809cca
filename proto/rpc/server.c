#include "base/wait.h"
#include "rpc/core_log.h"
#include "rpc/server_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_IN_FLIGHT          1024
#define DEFAULT_STREAMS            64
#define DEFAULT_WORKERS            4
#define DEFAULT_REQUEST_WAIT_MS    10000
#define DEFAULT_CONNECTION_STREAMS 128
#define DEFAULT_CONNECTIONS        512
#define DEFAULT_MEMORY_BYTES       ((size_t)256 << 20)

static size_t or_default(size_t value, size_t fallback)
{
    return value != 0 ? value : fallback;
}

static void set_options(struct rpc_server *server, const struct rpc_server_options *options)
{
    server->options = *options;
    server->options.max_message_bytes = or_default(options->max_message_bytes, RPC_DEFAULT_MESSAGE_BYTES);
    server->options.worker_count = or_default(options->worker_count, DEFAULT_WORKERS);
    if (options->request_wait_ms <= 0)
        server->options.request_wait_ms = DEFAULT_REQUEST_WAIT_MS;
    server->options.max_connection_streams =
        or_default(options->max_connection_streams, DEFAULT_CONNECTION_STREAMS);
    server->options.memory_bytes = or_default(options->memory_bytes, DEFAULT_MEMORY_BYTES);
    server->connections.limit = or_default(options->max_connections, DEFAULT_CONNECTIONS);
    server->connections.unexplained_max =
        (int64_t)server->options.max_message_bytes * RPC_UNEXPLAINED_MESSAGES;
    server->connections.waiting_max = (int)server->options.max_connection_streams;
    size_t *const limit = server->slots.limit;
    limit[RPC_SLOT_WAITING] = or_default(options->max_waiting, RPC_WAITING_MAX);
    limit[RPC_SLOT_UNARY] = or_default(options->max_in_flight, DEFAULT_IN_FLIGHT);
    limit[RPC_SLOT_STREAM] = or_default(options->max_streams, DEFAULT_STREAMS);
    limit[RPC_SLOT_HOUSEKEEPING] = RPC_MAX_HOUSEKEEPING;
}

/* Health and reflection; their calls are counted apart, and health is open to every peer. */
static enum err_code add_housekeeping(struct rpc_server *server, struct err *e)
{
    rpc_health_init(server);
    rpc_reflection_init(server);
    TRY(rpc_server_add(server, &server->health.service.base, e));
    for (size_t i = 0; i < server->method_count; i++)
        server->methods[i].open = true;
    TRY(rpc_server_add(server, &server->reflection.v1.base, e));
    TRY(rpc_server_add(server, &server->reflection.v1alpha.base, e));
    for (size_t i = 0; i < server->method_count; i++)
        server->methods[i].slot = RPC_SLOT_HOUSEKEEPING;
    return ERR_OK;
}

enum err_code rpc_server_new(const struct rpc_server_options *options, struct rpc_server **out_server,
                             struct err *e)
{
    struct rpc_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    core_log_to_ours();
    grpc_init();
    pthread_mutex_init(&server->lock, NULL);
    wait_cond_init(&server->quiet);
    wait_cond_init(&server->watch_wake);
    rpc_slots_init(&server->slots);
    set_options(server, options);
    atomic_store(&server->serving, true);
    server->listen = strdup(options->listen);
    server->methods = calloc(RPC_MAX_METHODS, sizeof *server->methods);
    server->measures = calloc(RPC_MAX_METHODS + 1, sizeof *server->measures);
    enum err_code code = ERR_OK;
    if (server->listen == NULL || server->methods == NULL || server->measures == NULL ||
        !rpc_connections_init(&server->connections))
        code = err_set(e, ERR_LIMIT, "out of memory");
    if (code == ERR_OK)
        code = rpc_index_init(&server->index, options->extra_descriptor_set,
                              options->extra_descriptor_set_len, e);
    if (code == ERR_OK)
        code = add_housekeeping(server, e);
    if (code == ERR_OK)
        code = rpc_tls_check_server(&options->tls, options->listen, e);
    if (code != ERR_OK) {
        rpc_server_free(server);
        return code;
    }
    server->options.listen = server->listen;
    *out_server = server;
    return ERR_OK;
}

/* Asked in the handshake. What comes through the trusted proxy is of many, who are not punished together. */
static bool may_connect(void *context, const char *identity)
{
    struct rpc_server *const server = context;
    const struct rpc_server_options *const o = &server->options;
    const bool proxy =
        identity != NULL && o->trusted_proxy != NULL && strcmp(identity, o->trusted_proxy) == 0;
    if (!proxy && rpc_connections_punished(&server->connections, identity))
        return false;
    return o->may_connect == NULL || o->may_connect(o->connect_context, identity);
}

static enum err_code bind_port(struct rpc_server *server, struct err *e)
{
    grpc_server_credentials *credentials = NULL;
    const struct rpc_connect_gate gate = {may_connect, server};
    TRY(rpc_server_credentials(&server->options.tls, server->listen, &gate, &server->certificates,
                               &credentials, e));
    rpc_core_make(server);
    server->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server->core, server->queue, NULL);
    server->port = grpc_server_add_http2_port(server->core, server->listen, credentials);
    grpc_server_credentials_release(credentials);
    if (server->port <= 0)
        return err_set(e, ERR_IO, "cannot listen on %s; is the port taken?", server->listen);
    return ERR_OK;
}

enum err_code rpc_server_start(struct rpc_server *server, struct err *e)
{
    if (server->started)
        return err_set(e, ERR_STATE, "the server was started before");
    TRY(rpc_server_sort_methods(server, e));
    TRY(bind_port(server, e));
    TRY(rpc_pool_start(&server->pool, server->options.worker_count, e));
    for (; server->io_thread_count < RPC_IO_THREADS; server->io_thread_count++)
        if (pthread_create(&server->io_threads[server->io_thread_count], NULL, rpc_io_main, server) != 0)
            return err_errno(e, "start an I/O thread");
    if (pthread_create(&server->watch_thread, NULL, rpc_watch_main, server) != 0)
        return err_errno(e, "start the thread that watches connections");
    server->watched = true;
    server->started = true;
    server->accept_failures = core_log_accept_failures();
    grpc_server_start(server->core);
    for (int i = 0; i < RPC_POSTED_CALLS; i++)
        TRY(rpc_accept_post(server, e));
    return ERR_OK;
}

struct rpc_tls_state rpc_server_tls_state(const struct rpc_server *server)
{
    return rpc_certificates_state(server->certificates);
}

int rpc_server_port(const struct rpc_server *server)
{
    return server->port;
}

struct rpc_server_counts rpc_server_counts(const struct rpc_server *server)
{
    return (struct rpc_server_counts){
        .waiting = rpc_slots_used(&server->slots, RPC_SLOT_WAITING),
        .in_flight =
            rpc_slots_used(&server->slots, RPC_SLOT_UNARY) + rpc_slots_used(&server->slots, RPC_SLOT_STREAM),
        .ok = atomic_load(&server->ok),
        .failed = atomic_load(&server->failed),
        .connections = atomic_load(&server->connections.open),
        .closed_over = atomic_load(&server->connections.over),
        .closed_floods = atomic_load(&server->connections.flooding),
        .deaf = atomic_load(&server->deaf),
    };
}

#include "posp/connection.h"

#include "base/clock.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG      256
#define TICK_MOST_MS 1000
#define STOP_TICK_MS 20
#define HOST_MAX     63

static enum err_code parse_address(const char *text, struct sockaddr_storage *out_address, struct err *e)
{
    char host[HOST_MAX + 1];
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    const long port = colon != NULL ? strtol(colon + 1, &end, 10) : -1;
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    if (port < 0 || port > 65535 || end == colon + 1 || *end != '\0' || len == 0 || len > HOST_MAX)
        return err_set(e, ERR_INPUT, "terminals.listen must be address:port, such as 127.0.0.1:7800");
    if (text[0] == '[' && text[len - 1] == ']') { /* [::1]:7800 */
        text++;
        len -= 2;
    }
    memcpy(host, text, len);
    host[len] = '\0';
    if (uv_ip4_addr(host, (int)port, (struct sockaddr_in *)out_address) == 0 ||
        uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)out_address) == 0)
        return ERR_OK;
    return err_set(e, ERR_INPUT, "terminals.listen: '%.63s' is not an IP address", host);
}

enum err_code listener_check(const char *address, struct err *e)
{
    struct sockaddr_storage parsed = {0};
    return parse_address(address, &parsed, e);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct listener *listener = server->data;
    if (status == 0)
        connection_accept(listener);
}

/* The loop ends when the last handle is closed, and with it all connections. */
static void begin_stop(struct listener *listener)
{
    listener->stop_deadline_ms = clock_monotonic_ms() + listener->stop_grace_ms;
    uv_close((uv_handle_t *)&listener->server, NULL);
    uv_timer_set_repeat(&listener->tick, STOP_TICK_MS);
    uv_timer_again(&listener->tick);
}

static void end_stop(struct listener *listener)
{
    uv_close((uv_handle_t *)&listener->wake, NULL);
    uv_close((uv_handle_t *)&listener->tick, NULL);
}

static void on_tick(uv_timer_t *timer)
{
    struct listener *listener = timer->data;
    connection_sweep(listener);
    if (listener->stop_deadline_ms != 0 && listener->connections == NULL)
        end_stop(listener);
}

/* Oldest first: answers in the order of completion. */
static struct pool_job *take_done(struct listener *listener)
{
    pthread_mutex_lock(&listener->done_lock);
    struct pool_job *job = listener->done;
    listener->done = NULL;
    pthread_mutex_unlock(&listener->done_lock);
    struct pool_job *ordered = NULL;
    while (job != NULL) {
        struct pool_job *next = job->next;
        job->next = ordered;
        ordered = job;
        job = next;
    }
    return ordered;
}

static void on_wake(uv_async_t *async)
{
    struct listener *listener = async->data;
    for (struct pool_job *job = take_done(listener), *next; job != NULL; job = next) {
        next = job->next;
        connection_finish(listener, job);
    }
    if (atomic_load(&listener->stopping) && listener->stop_deadline_ms == 0)
        begin_stop(listener);
}

static void run_loop(void *context)
{
    struct listener *listener = context;
    uv_run(&listener->loop, UV_RUN_DEFAULT);
}

static int read_port(const uv_tcp_t *tcp)
{
    struct sockaddr_storage address;
    int len = sizeof address;
    if (uv_tcp_getsockname(tcp, (struct sockaddr *)&address, &len) != 0)
        return 0;
    return address.ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)&address)->sin6_port)
                                         : ntohs(((const struct sockaddr_in *)&address)->sin_port);
}

static enum err_code bind_server(struct listener *listener, const char *text, struct err *e)
{
    struct sockaddr_storage address = {0};
    TRY(parse_address(text, &address, e));
    int status = uv_tcp_bind(&listener->server, (const struct sockaddr *)&address, 0);
    if (status == 0)
        status = uv_listen((uv_stream_t *)&listener->server, BACKLOG, on_connection);
    if (status != 0)
        return err_native(e, ERR_IO, status, "cannot listen for terminals on %.80s: %s", text,
                          uv_strerror(status));
    listener->port = read_port(&listener->server);
    return ERR_OK;
}

static enum err_code open_loop(struct listener *listener, struct err *e)
{
    const int status = uv_loop_init(&listener->loop);
    if (status != 0)
        return err_native(e, ERR_LIMIT, status, "no event loop: %s", uv_strerror(status));
    uv_tcp_init(&listener->loop, &listener->server);
    uv_async_init(&listener->loop, &listener->wake, on_wake);
    uv_timer_init(&listener->loop, &listener->tick);
    listener->server.data = listener;
    listener->wake.data = listener;
    listener->tick.data = listener;
    return ERR_OK;
}

static enum err_code start_all(struct listener *listener, struct err *e)
{
    const struct posp_config *config = listener->posp->config;
    TRY(bind_server(listener, config->terminals_listen, e));
    TRY(pool_new((unsigned)config->terminals_workers, connection_work, listener, &listener->pool, e));
    const uint64_t tick_ms =
        listener->idle_ms / 4 < TICK_MOST_MS ? (uint64_t)listener->idle_ms / 4 : TICK_MOST_MS;
    uv_timer_start(&listener->tick, on_tick, tick_ms, tick_ms);
    if (uv_thread_create(&listener->thread, run_loop, listener) != 0)
        return err_set(e, ERR_LIMIT, "cannot start the terminals' thread");
    listener->started = true;
    return ERR_OK;
}

enum err_code listener_start(struct posp *posp, struct listener **out_listener, struct err *e)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    listener->posp = posp;
    listener->max_message_bytes = (size_t)posp->config->terminals_max_message_bytes;
    listener->idle_ms = posp->config->terminals_idle_ms;
    listener->max_connections = (unsigned)posp->config->terminals_max_connections;
    pthread_mutex_init(&listener->done_lock, NULL);
    enum err_code code = open_loop(listener, e);
    if (code != ERR_OK) {
        free(listener);
        return code;
    }
    code = start_all(listener, e);
    if (code != ERR_OK) {
        listener_free(listener);
        return code;
    }
    log_event(LOG_INFO, "listening for terminals", LOG_STR("address", posp->config->terminals_listen),
              LOG_INT("port", listener->port));
    *out_listener = listener;
    return ERR_OK;
}

int listener_port(const struct listener *listener)
{
    return listener->port;
}

unsigned listener_connections(const struct listener *listener)
{
    return atomic_load(&listener->connection_count);
}

uint64_t listener_dropped(const struct listener *listener)
{
    return atomic_load(&listener->dropped);
}

void listener_stop(struct listener *listener, int64_t grace_ms)
{
    if (!listener->started)
        return;
    listener->stop_grace_ms = grace_ms;
    atomic_store(&listener->stopping, true);
    uv_async_send(&listener->wake);
    uv_thread_join(&listener->thread);
    listener->started = false;
}

void listener_free(struct listener *listener)
{
    if (listener == NULL)
        return;
    if (listener->stop_deadline_ms == 0) { /* it never ran */
        uv_close((uv_handle_t *)&listener->server, NULL);
        end_stop(listener);
        uv_run(&listener->loop, UV_RUN_DEFAULT);
    }
    pool_free(listener->pool);
    uv_loop_close(&listener->loop);
    pthread_mutex_destroy(&listener->done_lock);
    free(listener);
}

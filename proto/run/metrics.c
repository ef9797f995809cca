#include "run/metrics.h"

#include "base/clock.h"

#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define CONNECTIONS_KEPT  64   /* with one more the oldest is ended */
#define CONNECTIONS_MAX   128  /* with those that are being ended */
#define REQUEST_MS        5000 /* from the connection to the end of its one answer */
#define LOOK_MS           250  /* how late an overdue connection, or the stop, may be noticed */
#define MAX_HEADER_BYTES  8192 /* memory that one connection may take for its request */
#define MAX_ADDRESS_BYTES 256

/* libmicrohttpd's own time-out is for silence, and its limits turn away who comes last: a few clients that
 * send a byte now and then would keep everybody out. Here the oldest one goes, and no one may take longer
 * than REQUEST_MS: a scraper, which asks at once, is answered however many others do not. */
struct client {
    int fd;
    int64_t since_ms; /* connected */
    bool ended;       /* shut down; libmicrohttpd has yet to see it */
    TAILQ_ENTRY(client) link;
};
TAILQ_HEAD(clients, client);

struct metrics {
    struct MHD_Daemon *daemon;
    metrics_page_fn page;
    void *context;
    int port;
    pthread_t thread;
    atomic_bool stopping;
    struct clients clients; /* the oldest first; the thread's alone, as the next */
    unsigned kept;          /* those that are not ended */
};

/* ---- Connections ---- */

static void end_client(struct metrics *m, struct client *client)
{
    client->ended = true;
    m->kept--;
    (void)shutdown(client->fd, SHUT_RDWR);
}

static void end_oldest(struct metrics *m)
{
    struct client *client = TAILQ_FIRST(&m->clients);
    while (client->ended)
        client = TAILQ_NEXT(client, link);
    end_client(m, client);
}

static void end_overdue(struct metrics *m)
{
    const int64_t began_ms = clock_monotonic_ms() - REQUEST_MS;
    struct client *client;
    TAILQ_FOREACH (client, &m->clients, link)
        if (!client->ended && client->since_ms <= began_ms)
            end_client(m, client);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **place,
                          enum MHD_ConnectionNotificationCode what)
{
    struct metrics *const m = context;
    struct client *client = *place;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (client == NULL)
            return;
        m->kept -= !client->ended;
        TAILQ_REMOVE(&m->clients, client, link);
        free(client);
        return;
    }
    const int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    client = calloc(1, sizeof *client);
    *place = client;
    if (client == NULL) {
        (void)shutdown(fd, SHUT_RDWR);
        return;
    }
    *client = (struct client){.fd = fd, .since_ms = clock_monotonic_ms()};
    TAILQ_INSERT_TAIL(&m->clients, client, link);
    if (++m->kept > CONNECTIONS_KEPT)
        end_oldest(m);
}

static void *run(void *context)
{
    struct metrics *const m = context;
    while (!atomic_load(&m->stopping)) {
        if (MHD_run_wait(m->daemon, LOOK_MS) != MHD_YES)
            clock_sleep_ms(LOOK_MS);
        end_overdue(m);
    }
    return NULL;
}

/* ---- Answers ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, char *text, size_t len,
                              enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *const response = MHD_create_response_from_buffer(len, text, mode);
    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    const enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_page(struct metrics *m, struct MHD_Connection *connection)
{
    char *text = NULL;
    size_t len = 0;
    FILE *const out = open_memstream(&text, &len);
    if (out == NULL)
        return MHD_NO;
    m->page(m->context, out);
    if (fclose(out) != 0) {
        free(text);
        return MHD_NO;
    }
    return answer(connection, MHD_HTTP_OK, text, len, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **connection_state)
{
    (void)version;
    (void)upload;
    (void)connection_state;
    static char not_here[] = "see /metrics\n", not_so[] = "GET only\n";
    if (*upload_bytes != 0)
        return MHD_NO;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, not_so, sizeof not_so - 1,
                      MHD_RESPMEM_PERSISTENT);
    if (strcmp(url, "/metrics") != 0)
        return answer(connection, MHD_HTTP_NOT_FOUND, not_here, sizeof not_here - 1, MHD_RESPMEM_PERSISTENT);
    return answer_page(context, connection);
}

/* "host:port" or "[host]:port", numeric or a name. */
static enum err_code resolve(const char *address, struct addrinfo **out_found, struct err *e)
{
    char host[MAX_ADDRESS_BYTES];
    const char *const colon = strrchr(address, ':');
    if (colon == NULL || colon[1] == '\0' || strlen(address) >= sizeof host)
        return err_set(e, ERR_INPUT, "metrics.listen is '%.60s'; it must be HOST:PORT", address);
    const bool bracketed = address[0] == '[' && colon > address + 1 && colon[-1] == ']';
    const size_t len = (size_t)(colon - address) - (bracketed ? 2 : 0);
    memcpy(host, address + (bracketed ? 1 : 0), len);
    host[len] = '\0';
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    const int failed = getaddrinfo(len > 0 ? host : NULL, colon + 1, &hints, out_found);
    if (failed != 0)
        return err_native(e, ERR_INPUT, failed, "metrics.listen '%.60s': %s", address, gai_strerror(failed));
    return ERR_OK;
}

static enum err_code start(struct metrics *m, const char *address, const struct addrinfo *at, struct err *e)
{
    /* epoll: the daemon may have more descriptors than select knows. No address reuse, which would let two
     * daemons share a port. */
    const unsigned flags = MHD_USE_EPOLL | (at->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    m->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, m, MHD_OPTION_SOCK_ADDR, at->ai_addr,
                                 MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_NOTIFY_CONNECTION,
                                 on_connection, m, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                 (size_t)MAX_HEADER_BYTES, MHD_OPTION_END);
    if (m->daemon == NULL)
        return err_errno(e, "metrics.listen %s", address);
    const union MHD_DaemonInfo *const info = MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_BIND_PORT);
    m->port = info != NULL ? info->port : 0;
    const int failed = pthread_create(&m->thread, NULL, run, m);
    if (failed == 0)
        return ERR_OK;
    MHD_stop_daemon(m->daemon);
    return err_native(e, ERR_LIMIT, failed, "cannot start the thread of the metrics endpoint");
}

enum err_code metrics_new(const char *address, metrics_page_fn page, void *context,
                          struct metrics **out_metrics, struct err *e)
{
    struct addrinfo *at = NULL;
    TRY(resolve(address, &at, e));
    struct metrics *const m = calloc(1, sizeof *m);
    if (m == NULL) {
        freeaddrinfo(at);
        return err_set(e, ERR_INTERNAL, "no memory for the metrics endpoint");
    }
    TAILQ_INIT(&m->clients);
    m->page = page;
    m->context = context;
    const enum err_code code = start(m, address, at, e);
    freeaddrinfo(at);
    if (code != ERR_OK)
        free(m);
    else
        *out_metrics = m;
    return code;
}

int metrics_port(const struct metrics *m)
{
    return m->port;
}

void metrics_free(struct metrics *m)
{
    if (m == NULL)
        return;
    atomic_store(&m->stopping, true);
    (void)pthread_join(m->thread, NULL);
    MHD_stop_daemon(m->daemon);
    free(m);
}

#include "posp/connection.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/trace.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEER_TEXT   64
#define KEEPALIVE_S 60

struct connection {
    uv_tcp_t tcp;
    struct listener *listener;
    struct connection *next, **back;
    char peer[PEER_TEXT];
    unsigned in_flight; /* messages that are not answered, or whose answer is not taken yet */
    unsigned writing;   /* of these, answers that the terminal has not taken yet */
    bool closing, closed, paused;
    bool ended;        /* the terminal sends no more, and may still read */
    int64_t active_ms; /* when it last completed a message or took an answer */
    size_t used, capacity;
    uint8_t bytes[]; /* what has come of the next message */
};

struct message_job {
    struct pool_job base;
    struct connection *connection;
    uv_write_t write;
    struct iso_envelope envelope;
    uint8_t frame[ANSWER_BYTES + ISO_LENGTH_BYTES + ISO_ENVELOPE_BYTES];
    size_t frame_len; /* 0: no answer is possible */
    size_t len;
    uint8_t bytes[];
};

static void free_when_done(struct connection *c)
{
    if (!c->closed || c->in_flight > 0)
        return;
    if (c->next != NULL)
        c->next->back = c->back;
    *c->back = c->next;
    secret_wipe(c->bytes, c->capacity);
    free(c);
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    c->closed = true;
    atomic_fetch_sub(&c->listener->connection_count, 1);
    free_when_done(c);
}

static void close_connection(struct connection *c)
{
    if (c->closing)
        return;
    c->closing = true;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void drop_connection(struct connection *c, const char *event, const struct err *e)
{
    log_failure(LOG_WARN, event, e, LOG_STR("peer", c->peer));
    atomic_fetch_add(&c->listener->dropped, 1);
    close_connection(c);
}

static void free_job(struct message_job *job)
{
    secret_wipe(job->bytes, job->len);
    free(job);
}

static void start_job(struct connection *c, const struct iso_frame *frame)
{
    struct message_job *job = malloc(sizeof *job + frame->message_len);
    if (job == NULL) {
        const struct err e = {.code = ERR_LIMIT, .note = "out of memory"};
        drop_connection(c, "connection closed", &e);
        return;
    }
    job->connection = c;
    job->envelope = frame->envelope;
    job->frame_len = 0;
    job->len = frame->message_len;
    memcpy(job->bytes, frame->message, frame->message_len);
    c->in_flight++;
    c->active_ms = clock_monotonic_ms();
    pool_add(c->listener->pool, &job->base);
}

/* Take as many whole frames out of the buffer as may be under way. */
static void take_frames(struct connection *c)
{
    size_t at = 0;
    while (!c->closing && c->in_flight < LISTENER_PIPELINE) {
        struct iso_frame frame = {.total = 0};
        struct err e = {0};
        if (iso_frame_parse(c->bytes + at, c->used - at, c->listener->max_message_bytes, &frame, &e) !=
            ERR_OK) {
            drop_connection(c, "connection closed: not a frame", &e);
            return;
        }
        if (frame.total == 0)
            break;
        start_job(c, &frame);
        at += frame.total;
    }
    memmove(c->bytes, c->bytes + at, c->used - at);
    c->used -= at;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct connection *c = handle->data;
    *buf = uv_buf_init((char *)c->bytes + c->used, (unsigned)(c->capacity - c->used));
}

static void pump(struct connection *c);

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    (void)buf;
    struct connection *c = stream->data;
    if (count == 0)
        return;
    if (count < 0 && count != UV_EOF) { /* what is under way is still worked on */
        close_connection(c);
        return;
    }
    if (count == UV_EOF)
        c->ended = true;
    else
        c->used += (size_t)count;
    pump(c);
}

/* Read on when there is room for another message, else let the terminal wait. */
static void pump(struct connection *c)
{
    take_frames(c);
    if (c->closing)
        return;
    if (c->ended && c->in_flight == 0) {
        close_connection(c);
        return;
    }
    const bool full = c->ended || c->in_flight >= LISTENER_PIPELINE || atomic_load(&c->listener->stopping);
    if (full && !c->paused)
        uv_read_stop((uv_stream_t *)&c->tcp);
    if (!full && c->paused && uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        close_connection(c);
    c->paused = full;
}

void connection_work(void *context, struct pool_job *base)
{
    struct listener *listener = context;
    struct message_job *job = (struct message_job *)base;
    struct answer answer;
    struct err e = {0};
    const struct iso_envelope envelope = iso_envelope_answer(&job->envelope);
    const struct trace before = trace_enter(trace_new());
    enum err_code code = dispatch(listener->posp, job->bytes, job->len, &answer, &e);
    if (code == ERR_OK)
        code = iso_frame_build(&envelope, answer.bytes, answer.len, job->frame, sizeof job->frame,
                               &job->frame_len, &e);
    if (code != ERR_OK) {
        job->frame_len = 0;
        log_failure(LOG_WARN, "no answer is possible; the connection will be closed", &e);
    }
    (void)trace_enter(before);
    pthread_mutex_lock(&listener->done_lock);
    base->next = listener->done;
    listener->done = base;
    pthread_mutex_unlock(&listener->done_lock);
    uv_async_send(&listener->wake);
}

/* The message no longer counts. */
static void settle_job(struct message_job *job)
{
    struct connection *c = job->connection;
    free_job(job);
    c->in_flight--;
    if (c->closed)
        free_when_done(c);
    else if (!c->closing)
        pump(c);
}

static void on_written(uv_write_t *write, int status)
{
    struct message_job *job = write->data;
    struct connection *c = job->connection;
    c->writing--;
    c->active_ms = clock_monotonic_ms();
    if (status < 0)
        close_connection(c);
    settle_job(job);
}

void connection_finish(struct listener *listener, struct pool_job *base)
{
    struct message_job *job = (struct message_job *)base;
    struct connection *c = job->connection;
    (void)listener;
    if (job->frame_len == 0 && !c->closing) {
        atomic_fetch_add(&c->listener->dropped, 1);
        close_connection(c);
    }
    if (c->closing) {
        settle_job(job);
        return;
    }
    uv_buf_t buf = uv_buf_init((char *)job->frame, (unsigned)job->frame_len);
    job->write.data = job;
    c->writing++;
    c->active_ms = clock_monotonic_ms();
    if (uv_write(&job->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) == 0)
        return;
    c->writing--;
    close_connection(c);
    settle_job(job);
}

static void read_peer(struct connection *c)
{
    struct sockaddr_storage address;
    int len = sizeof address;
    char host[INET6_ADDRSTRLEN] = "?";
    unsigned port = 0;
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&address, &len) == 0 && address.ss_family == AF_INET) {
        uv_ip4_name((const struct sockaddr_in *)&address, host, sizeof host);
        port = ntohs(((const struct sockaddr_in *)&address)->sin_port);
    } else if (address.ss_family == AF_INET6) {
        uv_ip6_name((const struct sockaddr_in6 *)&address, host, sizeof host);
        port = ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
    }
    snprintf(c->peer, sizeof c->peer, "%s:%u", host, port);
}

static void link_connection(struct listener *listener, struct connection *c)
{
    c->next = listener->connections;
    c->back = &listener->connections;
    if (c->next != NULL)
        c->next->back = &c->next;
    listener->connections = c;
}

void connection_accept(struct listener *listener)
{
    struct connection *c = calloc(1, sizeof *c + listener->max_message_bytes);
    if (c == NULL)
        return; /* the kernel keeps it waiting */
    c->listener = listener;
    c->capacity = listener->max_message_bytes;
    c->active_ms = clock_monotonic_ms();
    c->tcp.data = c;
    if (uv_tcp_init(&listener->loop, &c->tcp) != 0) {
        free(c);
        return;
    }
    link_connection(listener, c);
    const unsigned count = atomic_fetch_add(&listener->connection_count, 1) + 1;
    if (uv_accept((uv_stream_t *)&listener->server, (uv_stream_t *)&c->tcp) != 0) {
        close_connection(c);
        return;
    }
    read_peer(c);
    if (count > listener->max_connections) {
        const struct err e = {.code = ERR_LIMIT, .note = "terminals.max_connections are open"};
        drop_connection(c, "connection refused", &e);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_tcp_keepalive(&c->tcp, 1, KEEPALIVE_S);
    if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        close_connection(c);
}

/* Waiting for a pool thread is not the terminal's fault. */
static bool is_idle(const struct connection *c, int64_t now_ms)
{
    return c->in_flight == c->writing && now_ms - c->active_ms > c->listener->idle_ms;
}

void connection_sweep(struct listener *listener)
{
    const int64_t now_ms = clock_monotonic_ms();
    const bool stopping = listener->stop_deadline_ms != 0;
    for (struct connection *c = listener->connections, *next; c != NULL; c = next) {
        next = c->next;
        if (is_idle(c, now_ms) || (stopping && (c->in_flight == 0 || now_ms > listener->stop_deadline_ms)))
            close_connection(c);
    }
}

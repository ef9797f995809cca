/* Inside the listener: one terminal's connection. All on the loop thread but connection_work. */
#ifndef POSWARD_POSP_CONNECTION_H
#define POSWARD_POSP_CONNECTION_H

#include "iso8583/frame.h"
#include "posp/dispatch.h"
#include "posp/listener.h"
#include "posp/pool.h"

#include <uv.h>

struct connection;

struct listener {
    struct posp *posp;
    struct pool *pool;
    uv_loop_t loop;
    uv_tcp_t server;
    uv_async_t wake;
    uv_timer_t tick;
    uv_thread_t thread;
    bool started;
    int port;
    size_t max_message_bytes;
    int64_t idle_ms;
    unsigned max_connections;
    struct connection *connections; /* the list's head */
    _Atomic unsigned connection_count;
    _Atomic uint64_t dropped;
    atomic_bool stopping;
    int64_t stop_grace_ms, stop_deadline_ms; /* deadline 0: the loop has not seen the stop yet */
    pthread_mutex_t done_lock;
    struct pool_job *done; /* jobs with an answer, newest first */
};

/* The server has a connection to accept; it is closed at once when there are too many. */
void connection_accept(struct listener *listener);
/* A pool thread's work: `context` is the listener, `job` a message of a connection. */
void connection_work(void *context, struct pool_job *job);
/* A job has come back: send its answer. */
void connection_finish(struct listener *listener, struct pool_job *job);
/* Close those that are idle for too long; while stopping, those that wait for nothing; after the deadline
 * all. */
void connection_sweep(struct listener *listener);

#endif

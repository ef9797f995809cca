/* The server's inside, shared by the files that make it up. Private to rpc.
 *
 *   server.c       options, methods, start, counts
 *   core_options.c what gRPC core is told to bound
 *   accept.c       new calls: path, authorisation, the request, its slot
 *   peer.c         who calls
 *   slots.c        how many calls there may be, and how many of one caller
 *   connections.c  how many connections, and whose
 *   call.c         life of a call, handler's view of it
 *   answer.c       sending: message, status
 *   pool.c         workers for unary handlers
 *   stream_call.c  a thread for each streaming call
 *   drain.c        the orderly end
 *   health.c, reflection.c  the services on every server */
#ifndef POSWARD_RPC_SERVER_STATE_H
#define POSWARD_RPC_SERVER_STATE_H

#include "base/trace.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"
#include "rpc/connections.h"
#include "rpc/credentials.h"
#include "rpc/handoff.h"
#include "rpc/index.h"
#include "rpc/measure.h"
#include "rpc/payload.h"
#include "rpc/server.h"
#include "rpc/slots.h"

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

#define RPC_IO_THREADS         2
#define RPC_POSTED_CALLS       32   /* requests for a call that core holds ready */
#define RPC_MAX_HOUSEKEEPING   256  /* health watchers and reflection streams; they take nobody's slot */
#define RPC_WAITING_MAX        1024 /* calls whose request has not come */
#define RPC_MAX_METHODS        512
#define RPC_PATH_BYTES         256  /* of a method path, with NUL; longer ones are unknown */
#define RPC_MAX_IDENTITY_BYTES 2048 /* the longest SPIFFE identity */
#define RPC_MAX_METADATA_BYTES 8192
#define RPC_STREAM_STACK_BYTES ((size_t)512 * 1024)

struct rpc_method {
    char path[RPC_PATH_BYTES];
    ProtobufCService *service; /* NULL: raw */
    const ProtobufCMessageDescriptor *input;
    unsigned index;
    bool client_streams, server_streams;
    bool open; /* no authorisation: health, which load balancers and probes ask */
    rpc_raw_fn raw;
    void *raw_context;
    bool raw_may_block;
    enum rpc_slot_kind slot;
};

typedef void (*rpc_event_fn)(struct rpc_call *call, bool ok);

/* What a completion-queue tag points at. */
struct rpc_event {
    rpc_event_fn run;
    struct rpc_call *call;
    struct handoff handoff;
};

struct rpc_call {
    struct rpc_server *server;
    grpc_call *core;
    grpc_call_details details;
    grpc_metadata_array metadata;
    const struct rpc_method *method;
    int64_t begun_us; /* monotonic */
    struct rpc_event accepted, closed, received, sent, ended;

    atomic_int
        refs; /* one per event under way, one per thread that works on it, one for the answer that is due */
    atomic_bool cancelled, answered;
    atomic_bool known;                  /* method and peer are set, and stay */
    atomic_int_fast64_t request_due_ms; /* monotonic; 0: not waiting for the first message */
    int core_cancelled;
    gpr_timespec deadline;
    struct rpc_slot slot;

    struct rpc_peer peer;
    char *address, *identity;
    bool proxied;       /* the identity is what a trusted proxy says */
    struct trace trace; /* the caller's */

    grpc_byte_buffer *payload;  /* received */
    grpc_byte_buffer *outgoing; /* being sent */
    grpc_slice note;
    grpc_metadata pushback; /* the trailer, when there is one */
    bool head_sent;

    pthread_mutex_t lock; /* the streaming fields */
    pthread_cond_t changed;
    bool sending, receiving, woken;

    struct rpc_call *queue_next;
    struct rpc_call *live_prev, *live_next;
};

struct rpc_pool {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct rpc_call *head, **tail;
    bool closed;
    pthread_t *threads;
    size_t thread_count;
};

struct rpc_health {
    Grpc__Health__V1__Health_Service service;
    struct rpc_server *server;
};
struct rpc_reflection {
    Grpc__Reflection__V1__ServerReflection_Service v1;
    Grpc__Reflection__V1alpha__ServerReflection_Service v1alpha;
};

struct rpc_server {
    struct rpc_server_options options;
    char *listen;
    struct rpc_index index;
    struct rpc_method *methods;
    size_t method_count;
    struct rpc_measure *measures; /* one a method, and one for unknown methods at the end */
    struct rpc_slots slots;
    struct rpc_connections connections;
    struct rpc_certificates *certificates;
    grpc_server *core;
    grpc_completion_queue *queue;
    grpc_resource_quota *quota;
    pthread_t io_threads[RPC_IO_THREADS], watch_thread;
    size_t io_thread_count;
    struct rpc_pool pool;
    struct rpc_health health;
    struct rpc_reflection reflection;
    int port;
    bool started, drained, watched;
    atomic_bool serving, draining;
    uint64_t accept_failures; /* of the whole process, before this server listened */
    atomic_bool deaf;         /* core accepts no more connections */
    atomic_uint_fast64_t ok, failed;

    pthread_mutex_t lock; /* what follows */
    pthread_cond_t quiet;
    pthread_cond_t
        watch_wake; /* of its own: `quiet` is told at every call, and would wake the watch as often */
    struct rpc_call *live;
    size_t posted, live_count, stream_threads;
    bool core_down, watch_ends, watch_now;
};

/* methods.c: by path, which start sorts them by. ERR_EXISTS: one was added twice. */
enum err_code rpc_server_sort_methods(struct rpc_server *server, struct err *e) MUST_CHECK;
const struct rpc_method *rpc_server_method(const struct rpc_server *server, const char *path);

/* Where a call of `method`, NULL for an unknown one, is counted. */
struct rpc_measure *rpc_server_measure(const struct rpc_server *server, const struct rpc_method *method);

/* accept.c */
enum err_code rpc_accept_post(struct rpc_server *server, struct err *e) MUST_CHECK;
void *rpc_io_main(void *server);

/* peer.c: address and identity of the caller. */
void rpc_peer_read(struct rpc_call *call);

/* sweep.c: what is looked at every tick, until watch_ends: overdue requests, connections, the listener,
 * certificates. */
#define RPC_SWEEP_TICK_MS 250
void *rpc_watch_main(void *server);
/* Do not wait for the tick. Any thread. */
void rpc_watch_now(struct rpc_server *server);

/* call.c */
struct rpc_call *rpc_call_new(struct rpc_server *server);
void rpc_call_ref(struct rpc_call *call);
void rpc_call_unref(struct rpc_call *call);
/* Mark as gone and wake whoever waits on the call. */
void rpc_call_mark_cancelled(struct rpc_call *call);
/* Start a batch that ends in `event`, which holds a reference. */
void rpc_call_batch(struct rpc_call *call, const grpc_op *ops, size_t count, struct rpc_event *event);

/* answer.c */
/* Fail a call for the reason that its deadline passed or its client left; false when it is still wanted. */
bool rpc_call_refuse_stale(struct rpc_call *call);
/* The closure given to handlers. */
void rpc_answer(const ProtobufCMessage *message, void *closure_data);
void rpc_on_sent(struct rpc_call *call, bool ok);
void rpc_on_ended(struct rpc_call *call, bool ok);

/* pool.c */
/* Hand the packed request to the raw handler, in this thread. */
void rpc_run_raw(struct rpc_call *call);
enum err_code rpc_pool_start(struct rpc_pool *pool, size_t thread_count, struct err *e) MUST_CHECK;
void rpc_pool_put(struct rpc_pool *pool, struct rpc_call *call);
/* After the last put: let the workers finish what is queued, and join them. */
void rpc_pool_stop(struct rpc_pool *pool);

/* core_options.c: the core server with its bounds, and the quota, which is the server's own. */
void rpc_core_make(struct rpc_server *server);

/* stream_call.c: the first message, if there was one, is in call->payload. */
enum err_code rpc_stream_call_start(struct rpc_call *call, struct err *e) MUST_CHECK;

/* health.c, reflection.c */
void rpc_health_init(struct rpc_server *server);
void rpc_reflection_init(struct rpc_server *server);

#endif

/* gRPC server over libgrpc's C core for any ProtobufCService.
 *
 * Order: new, add..., start, drain, free. A handler is protobuf-c's own: (service, request, closure,
 * closure_data). closure_data is the struct rpc_call; the request lives until the handler returns.
 *   Unary            call closure(&response, call) once, or rpc_call_fail; now, or later from any thread.
 *   Server streaming closure(&message, call) per message, then closure(NULL, call), or rpc_call_fail, before
 *                    the handler returns. closure blocks while the client does not read.
 *   Bidirectional    the handler runs once per message, request NULL at the client's half-close; it answers
 *                    and ends as above.
 *   Client streaming the same, with the one closure(&response, call) at the half-close.
 * Unary handlers run on the worker pool and may block; each streaming call has a thread of its own; raw
 * handlers run on an I/O thread and must not block, unless rpc_server_raw_may_block says so.
 * Served by itself on each server: grpc.health.v1.Health, grpc.reflection.v1 and v1alpha. */
#ifndef POSWARD_RPC_SERVER_H
#define POSWARD_RPC_SERVER_H

#include "rpc/tls.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

struct rpc_server;
struct rpc_call;

/* Decide on a call before its payload is read. `path` is "/package.Service/Method" of a method that is served
 * here. Any thread. Anything but ERR_OK refuses the call with that class and note. Not asked about health,
 * which load balancers and probes need; asked about reflection. */
typedef enum err_code (*rpc_authorise_fn)(void *context, const struct rpc_peer *peer, const char *path,
                                          struct err *e);

/* Told of every call that was refused before its payload was read: by authorise, a limit, or for its method.
 * Any thread. */
typedef void (*rpc_refused_fn)(void *context, const struct rpc_call *call, const char *path,
                               const struct err *e);

/* Where a trusted proxy names the caller; from others it is not read. */
#define RPC_IDENTITY_HEADER "x-posward-client-identity"

struct rpc_server_options {
    const char *listen; /* "127.0.0.1:7001"; port 0 takes a free one */
    struct rpc_tls tls;
    size_t max_message_bytes;      /* 0: 1 MiB; larger requests get RESOURCE_EXHAUSTED */
    size_t max_in_flight;          /* 0: 1024 calls; more get RESOURCE_EXHAUSTED at once */
    size_t max_streams;            /* 0: 64 server-streaming calls, counted apart */
    size_t max_waiting;            /* 0: 1024 calls whose request has not come, counted apart */
    size_t max_connections;        /* 0: 512; more are closed, see rpc/connections.h */
    size_t max_connection_streams; /* 0: 128 calls at a time on one connection; more wait at the client */
    size_t memory_bytes; /* 0: 256 MiB for the buffers of all connections; over it core drops connections */
    size_t worker_count; /* 0: 4 threads for unary handlers */
    rpc_may_connect_fn may_connect; /* NULL: everyone whose certificate verifies */
    void *connect_context;
    const char
        *trusted_proxy; /* the identity whose calls are of whom RPC_IDENTITY_HEADER names; NULL: none */
    rpc_authorise_fn authorise; /* NULL: everyone who can connect */
    void *authorise_context;
    void (*deaf)(void *context); /* once, when core accepts no more connections; gets authorise_context */
    rpc_refused_fn refused;      /* NULL: nobody; gets authorise_context */
    const uint8_t *extra_descriptor_set; /* a FileDescriptorSet besides posward's own, borrowed; NULL: none */
    size_t extra_descriptor_set_len;
    int64_t request_wait_ms; /* 0: 10000; a call whose request has not come by then is cancelled */
};

enum err_code rpc_server_new(const struct rpc_server_options *options, struct rpc_server **out_server,
                             struct err *e) MUST_CHECK;
/* Serve every method of `service`, which is borrowed until rpc_server_free. Before start.
 * Stream markers and reflection come from the embedded descriptor set (posward/descriptors.h): a service that
 * is not in it is ERR_NOT_FOUND. */
enum err_code rpc_server_add(struct rpc_server *server, ProtobufCService *service, struct err *e) MUST_CHECK;

/* Packed request in, packed response out, perhaps later and from another thread: for a service that only
 * passes messages on. `bytes` are checked for form at every depth (a request that is not in it is refused
 * before any handler, raw or not) and live until the handler returns; `call` until rpc_call_finish or
 * rpc_call_fail, one of which must come, even for a call that was cancelled. Unary methods only. */
typedef void (*rpc_raw_fn)(void *context, struct rpc_call *call, unsigned method_index, const uint8_t *bytes,
                           size_t len);
enum err_code rpc_server_add_raw(struct rpc_server *server, const ProtobufCServiceDescriptor *service,
                                 rpc_raw_fn handler, void *context, struct err *e) MUST_CHECK;
/* After add_raw, before start: this method's handler waits for a disk or a peer, so it runs on the worker
 * pool. ERR_NOT_FOUND: it was not added. */
enum err_code rpc_server_raw_may_block(struct rpc_server *server, const ProtobufCServiceDescriptor *service,
                                       const char *method, struct err *e) MUST_CHECK;

enum err_code rpc_server_start(struct rpc_server *server, struct err *e) MUST_CHECK;
/* The paths that `authorise` is asked about, one an index; NULL past the last. After the last add. */
const char *rpc_server_guarded_path(const struct rpc_server *server, size_t index);
/* The port that is listened on, after start. */
int rpc_server_port(const struct rpc_server *server);
/* Health of the server as a whole (service ""), and of each added service. SERVING from start on, unless told
 * otherwise before. Any thread. */
void rpc_server_set_serving(struct rpc_server *server, bool serving);
/* Wake every rpc_call_wait of this server: there may be news for streams. Any thread. */
void rpc_server_wake(struct rpc_server *server);
/* Ask `authorise` again about every stream, and end those that it refuses now; unary calls finish. It runs,
 * as `refused`, with a lock of the server held: neither may ask the server. Any thread. */
void rpc_server_recheck(struct rpc_server *server);
/* NOT_SERVING, `lame_duck_ms` for clients to leave, no new calls, wait up to `grace_ms` for those in flight,
 * cancel the rest, join. Streams are asked to end as soon as the lame duck is over: rpc_call_cancelled
 * becomes true, and a closure(NULL) is then UNAVAILABLE to the client. Returns when each handler has returned
 * and each raw call is finished. Once, from one thread. */
void rpc_server_drain(struct rpc_server *server, int64_t lame_duck_ms, int64_t grace_ms);
/* After drain, or without start. Accepts NULL. */
void rpc_server_free(struct rpc_server *server);

/* Calls in flight and served so far, by outcome; for metrics and status. */
struct rpc_server_counts {
    uint64_t waiting; /* calls whose request has not come */
    uint64_t in_flight, ok, failed;
    uint64_t connections;                /* at the last look */
    uint64_t closed_over, closed_floods; /* connections closed so far: over max_connections, for floods */
    bool deaf;                           /* no new connection is accepted: only a new process can */
};
struct rpc_server_counts rpc_server_counts(const struct rpc_server *server);
/* The certificate in use; after start. Any thread. */
struct rpc_tls_state rpc_server_tls_state(const struct rpc_server *server);

/* The same by method: what Prometheus asks. */
#define RPC_STATUS_COUNT   17 /* gRPC's codes, 0 to 16 */
#define RPC_LATENCY_BOUNDS 14
extern const double rpc_latency_bounds[RPC_LATENCY_BOUNDS]; /* seconds, upper ends, rising */

struct rpc_method_counts {
    const char *method;                 /* "package.Service/Method"; "unknown" for all that are not here */
    uint64_t handled[RPC_STATUS_COUNT]; /* calls that ended, by status */
    uint64_t within[RPC_LATENCY_BOUNDS + 1]; /* calls that took no longer than each bound; the last: all */
    double seconds;                          /* that they took together; a stream takes as long as it lives */
};
typedef void (*rpc_method_counts_fn)(void *context, const struct rpc_method_counts *counts);
/* Call `each` for every method, by name, and last for unknown ones. After start, until free. Any thread. */
void rpc_server_each_method(const struct rpc_server *server, rpc_method_counts_fn each, void *context);

/* The handler's side. */

/* closure_data is the call. */
static inline struct rpc_call *rpc_call_of(void *closure_data)
{
    return closure_data;
}
/* Finish with a status instead of a message; the client sees the mapped code and `e->note`, and where
 * e->retry_ms is set the trailer grpc-retry-pushback-ms (gRFC A6). Once, any thread. */
void rpc_call_fail(struct rpc_call *call, const struct err *e);
/* Finish a raw call with the packed response, which is copied. Once, any thread. */
void rpc_call_finish(struct rpc_call *call, const uint8_t *bytes, size_t len);
const struct rpc_peer *rpc_call_peer(const struct rpc_call *call);
/* Milliseconds left before the client's deadline; INT64_MAX without one; 0 when past. */
int64_t rpc_call_left_ms(const struct rpc_call *call);
/* True once the client went away or the server cancels its calls: a stream's loop ends then. For a stream
 * also true while the server drains. */
bool rpc_call_cancelled(const struct rpc_call *call);
/* For a streaming handler with nothing to send: sleep until rpc_server_wake, cancellation or `timeout_ms`.
 * False once the call is cancelled. A wake that came since the last wait is not lost. */
bool rpc_call_wait(struct rpc_call *call, int64_t timeout_ms);
/* W3C traceparent of the caller, "" without one or with one that is malformed. */
const char *rpc_call_traceparent(const struct rpc_call *call);

#endif

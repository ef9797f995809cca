/* The client's inside. Private to rpc.
 *
 * channel.c  its thread, retries by time           link.c  the connection, and the next one for new
 * certificates unary.c    one request, one answer               stream.c  server streaming and bidirectional
 * stub.c     ProtobufCService over a channel */
#ifndef POSWARD_RPC_CHANNEL_STATE_H
#define POSWARD_RPC_CHANNEL_STATE_H

#include "rpc/client.h"
#include "rpc/handoff.h"
#include "rpc/index.h"
#include "rpc/link.h"
#include "rpc/payload.h"

#include <grpc/grpc.h>
#include <pthread.h>

#define RPC_DEFAULT_TIMEOUT_MS 5000

/* What a completion-queue tag points at; runs on the channel's thread. */
struct rpc_reply {
    void (*run)(struct rpc_reply *reply, bool ok);
    struct handoff handoff;
};

/* A call that waits for its next attempt; runs on the channel's thread. */
struct rpc_timer {
    int64_t due_ms; /* monotonic */
    void (*run)(struct rpc_timer *timer);
    struct rpc_timer *next;
};

struct rpc_channel {
    struct rpc_links links;
    grpc_completion_queue *queue;
    pthread_t thread;
    size_t max_message_bytes;
    const uint8_t *extra_descriptor_set;
    size_t extra_descriptor_set_len;
    struct rpc_timer *timers; /* the channel thread's alone */

    pthread_mutex_t lock; /* what follows */
    pthread_cond_t quiet;
    size_t calls;
    bool closing;
    bool indexed;
    struct rpc_index index; /* read-only once `indexed` */
};

/* A call that is under way; rpc_channel_free waits for rpc_channel_leave. ERR_STATE while closing. */
enum err_code rpc_channel_enter(struct rpc_channel *channel, struct err *e) MUST_CHECK;
void rpc_channel_leave(struct rpc_channel *channel);
bool rpc_channel_closing(struct rpc_channel *channel);
/* Channel thread only. */
void rpc_channel_after(struct rpc_channel *channel, struct rpc_timer *timer, int64_t delay_ms);

/* A core call for "/service/method" until `deadline`. After it is unref'd: rpc_link_leave(*out_link). */
grpc_call *rpc_channel_call(struct rpc_channel *channel, const char *path, gpr_timespec deadline,
                            struct rpc_link **out_link);
/* Channel's deadline for a call that starts now; 0 is none. */
gpr_timespec rpc_deadline_in(int64_t timeout_ms);

#define RPC_CLIENT_PATH_BYTES 256
/* "/package.Service/Method" and the method. ERR_INPUT when the service has no such method. */
enum err_code rpc_method_path(const ProtobufCServiceDescriptor *service, const char *method,
                              char out_path[RPC_CLIENT_PATH_BYTES],
                              const ProtobufCMethodDescriptor **out_method, struct err *e) MUST_CHECK;

/* ERR_INPUT for text that a header cannot carry. Accepts NULL. */
enum err_code rpc_traceparent_check(const char *traceparent, struct err *e) MUST_CHECK;
/* What to send: `given`, or with NULL a child of this thread's trace. False: nothing. */
bool rpc_trace_of(const char *given, grpc_slice *out_traceparent);
/* The status of a finished call as an error; ERR_OK for OK. */
enum err_code rpc_status_error(grpc_status_code status, grpc_slice details, struct err *e) MUST_CHECK;

#endif

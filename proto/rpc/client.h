/* gRPC client over libgrpc's C core. A channel is for sharing: one or two a peer, any thread, never one a
 * request. */
#ifndef POSWARD_RPC_CLIENT_H
#define POSWARD_RPC_CLIENT_H

#include "rpc/tls.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

struct rpc_channel;
struct rpc_stream;

struct rpc_channel_options {
    const char *target; /* "127.0.0.1:7001", "ipv4:10.0.0.1:7001,10.0.0.2:7001" or "dns:///name:port" */
    struct rpc_tls tls;
    bool foreign;             /* the peer may be of another make: it is pinged rarely (keepalive.h) */
    size_t max_message_bytes; /* 0: 1 MiB */
    const uint8_t *
        extra_descriptor_set; /* for rpc_client_new of services outside posward's set; borrowed, NULL: none */
    size_t extra_descriptor_set_len;
};

/* Connects lazily and re-connects by itself with back-off (at most 2 s, so that a restarted peer is found
 * soon). A connection that died without a word is noticed in 5 s, and is not used for further calls once a
 * call reached its deadline on it; several addresses are used round robin, with health checking. */
enum err_code rpc_channel_new(const struct rpc_channel_options *options, struct rpc_channel **out_channel,
                              struct err *e) MUST_CHECK;
/* Waits for the calls under way. Accepts NULL. */
void rpc_channel_free(struct rpc_channel *channel);

struct rpc_call_options {
    int64_t timeout_ms;      /* 0: 5000. A stream: no deadline when 0 */
    const char *traceparent; /* NULL: that of this thread, if it works for one (base/trace.h); "": none */
    bool idempotent;         /* retry on UNAVAILABLE and CANCELLED within the deadline, with back-off */
};

/* One unary call, blocking. `method` is the name in the .proto. *out_response is the method's output type,
 * freed with protobuf_c_message_free_unpacked. Fails with the class mapped from the status and the server's
 * message as note. */
enum err_code rpc_unary(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                        const char *method, const ProtobufCMessage *request,
                        const struct rpc_call_options *options, ProtobufCMessage **out_response,
                        struct err *e) MUST_CHECK;

/* The same without blocking. `done` runs once on a channel thread and must not block; `response` (NULL when
 * `e` is given) is lent until it returns. An error return means that `done` never runs. */
typedef void (*rpc_done_fn)(void *context, const ProtobufCMessage *response, const struct err *e);
enum err_code rpc_unary_start(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                              const char *method, const ProtobufCMessage *request,
                              const struct rpc_call_options *options, rpc_done_fn done, void *context,
                              struct err *e) MUST_CHECK;

/* Server streaming, and bidirectional with `request` NULL: then the caller sends. */
enum err_code rpc_stream_open(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                              const char *method, const ProtobufCMessage *request,
                              const struct rpc_call_options *options, struct rpc_stream **out_stream,
                              struct err *e) MUST_CHECK;
/* The next message, to be freed by the caller; *out_message NULL at the orderly end. Waits at most
 * `timeout_ms`: ERR_TIMEOUT then, and the stream lives on. Another error ends it. One thread at a time. */
enum err_code rpc_stream_next(struct rpc_stream *stream, int64_t timeout_ms, ProtobufCMessage **out_message,
                              struct err *e) MUST_CHECK;
/* Send one message on a stream that was opened without a request, and the end of sending. One thread at a
 * time, which may be another than that of rpc_stream_next. Blocks while the peer's flow control says so. */
enum err_code rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *message,
                              struct err *e) MUST_CHECK;
enum err_code rpc_stream_send_end(struct rpc_stream *stream, struct err *e) MUST_CHECK;
/* From another thread: rpc_stream_next returns ERR_CANCELLED soon. */
void rpc_stream_cancel(struct rpc_stream *stream);
/* Cancels what is open. Accepts NULL. */
void rpc_stream_free(struct rpc_stream *stream);

/* A ProtobufCService whose methods are calls over `channel` (borrowed), for protobuf-c's generated stubs:
 * posward__hsm__v1__...__generate_mac(service, &request, closure, closure_data). Blocks until the closure
 * ran: unary once with the response, or NULL on failure; streaming per message, then NULL. Freed with
 * protobuf_c_service_destroy. One thread at a time: rpc_client_error tells of the last call on it. */
ProtobufCService *rpc_client_new(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                                 const struct rpc_call_options *options);
const struct err *rpc_client_error(const ProtobufCService *client);

#endif

#include "base/clock.h"
#include "base/log.h"
#include "rpc/server_state.h"
#include "rpc/status.h"

#include <grpc/slice.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One status, perhaps with the one message of a unary answer in front. */
struct ending {
    grpc_slice *message; /* NULL: none; taken */
    int64_t retry_ms;    /* 0: no hint */
    int status;
    const char *note;
};

static void attach_message(struct rpc_call *call, grpc_slice message)
{
    grpc_byte_buffer_destroy(call->outgoing);
    call->outgoing = grpc_raw_byte_buffer_create(&message, 1);
    grpc_slice_unref(message);
}

/* Raw calls end on a thread that works for nobody in particular. */
static void log_outcome(const struct rpc_call *call, int status, int64_t took_us)
{
    const struct trace before = trace_enter(call->trace);
    log_event(LOG_DEBUG, "call served", LOG_STR("method", call->method != NULL ? call->method->path : ""),
              LOG_STR("status", rpc_status_name(status)), LOG_INT("us", took_us));
    (void)trace_enter(before);
}

static void count_outcome(struct rpc_call *call, int status)
{
    atomic_fetch_add(status == 0 ? &call->server->ok : &call->server->failed, 1);
    const int64_t took_us = clock_monotonic_us() - call->begun_us;
    rpc_measure_add(rpc_server_measure(call->server, call->method), status, took_us);
    log_outcome(call, status, took_us);
    /* Before the client can know the answer: its next call finds the slot free. */
    rpc_slots_give_back(&call->server->slots, &call->slot);
}

/* gRFC A6: clients that retry wait so long. */
static void set_pushback(struct rpc_call *call, int64_t retry_ms)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, retry_ms < INT32_MAX ? retry_ms : INT32_MAX);
    call->pushback = (grpc_metadata){.key = grpc_slice_from_static_string("grpc-retry-pushback-ms"),
                                     .value = grpc_slice_from_copied_string(text)};
}

static void end_call(struct rpc_call *call, struct ending ending)
{
    if (atomic_exchange(&call->answered, true)) {
        if (ending.message != NULL)
            grpc_slice_unref(*ending.message);
        return;
    }
    count_outcome(call, ending.status);
    grpc_op ops[3] = {0};
    size_t count = 0;
    if (!call->head_sent)
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (ending.message != NULL) {
        attach_message(call, *ending.message);
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = call->outgoing;
    }
    call->note = grpc_slice_from_copied_string(ending.note);
    ops[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[count].data.send_status_from_server.status = (grpc_status_code)ending.status;
    ops[count].data.send_status_from_server.status_details = ending.note[0] != '\0' ? &call->note : NULL;
    if (ending.retry_ms > 0) {
        set_pushback(call, ending.retry_ms);
        ops[count].data.send_status_from_server.trailing_metadata_count = 1;
        ops[count].data.send_status_from_server.trailing_metadata = &call->pushback;
    }
    count++;
    rpc_call_batch(call, ops, count, &call->ended);
    rpc_call_unref(call); /* the answer that was due */
}

void rpc_on_ended(struct rpc_call *call, bool ok)
{
    (void)ok; /* a client that left gets no answer */
    rpc_call_unref(call);
}

void rpc_on_sent(struct rpc_call *call, bool ok)
{
    pthread_mutex_lock(&call->lock);
    call->sending = false;
    if (!ok)
        atomic_store(&call->cancelled, true);
    pthread_cond_broadcast(&call->changed);
    pthread_mutex_unlock(&call->lock);
    rpc_call_unref(call);
}

/* Returns once core has taken the message for the wire: the peer's flow control is the stream's brake. */
static void send_and_wait(struct rpc_call *call, grpc_slice message)
{
    if (atomic_load(&call->cancelled) || atomic_load(&call->answered)) {
        grpc_slice_unref(message);
        return;
    }
    attach_message(call, message);
    grpc_op ops[2] = {0};
    size_t count = 0;
    if (!call->head_sent)
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[count].op = GRPC_OP_SEND_MESSAGE;
    ops[count++].data.send_message.send_message = call->outgoing;
    call->head_sent = true;
    call->sending = true;
    rpc_call_batch(call, ops, count, &call->sent);
    pthread_mutex_lock(&call->lock);
    while (call->sending)
        pthread_cond_wait(&call->changed, &call->lock);
    pthread_mutex_unlock(&call->lock);
}

static void end_stream(struct rpc_call *call)
{
    struct err e = {0};
    if (!atomic_load(&call->cancelled) && atomic_load(&call->server->draining)) {
        /* The handler ended because it was asked to; its client should come again elsewhere. */
        err_set(&e, ERR_UNAVAILABLE, "the server is going down; try another or again");
        rpc_call_fail(call, &e);
        return;
    }
    end_call(call, (struct ending){.status = GRPC_STATUS_OK, .note = ""});
}

void rpc_answer(const ProtobufCMessage *message, void *closure_data)
{
    struct rpc_call *call = rpc_call_of(closure_data);
    if (message == NULL && call->method->server_streams) {
        end_stream(call);
        return;
    }
    if (message == NULL) {
        struct err e = {0};
        err_set(&e, ERR_INTERNAL, "%s gave no answer", call->method->path);
        rpc_call_fail(call, &e);
        return;
    }
    grpc_slice packed = payload_pack(message);
    if (call->method->server_streams)
        send_and_wait(call, packed);
    else
        end_call(call, (struct ending){.message = &packed, .status = GRPC_STATUS_OK, .note = ""});
}

void rpc_call_fail(struct rpc_call *call, const struct err *e)
{
    const enum err_code code = e->code != ERR_OK ? e->code : ERR_INTERNAL;
    end_call(call, (struct ending){.status = rpc_status_of(code), .note = e->note, .retry_ms = e->retry_ms});
}

void rpc_call_finish(struct rpc_call *call, const uint8_t *bytes, size_t len)
{
    grpc_slice message = grpc_slice_from_copied_buffer((const char *)bytes, len);
    end_call(call, (struct ending){.message = &message, .status = GRPC_STATUS_OK, .note = ""});
}

bool rpc_call_refuse_stale(struct rpc_call *call)
{
    struct err e = {0};
    if (rpc_call_left_ms(call) == 0)
        err_set(&e, ERR_TIMEOUT, "the deadline passed before the call could run");
    else if (atomic_load(&call->cancelled) && call->payload != NULL)
        err_set(&e, ERR_CANCELLED, "the client left before the call could run");
    else
        return false;
    rpc_call_fail(call, &e);
    return true;
}

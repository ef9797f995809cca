#include "rpc/channel_state.h"

#include "base/trace.h"

#include "base/clock.h"
#include "rpc/core_log.h"
#include "rpc/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void run_due_timers(struct rpc_channel *channel)
{
    const int64_t now_ms = clock_monotonic_ms();
    struct rpc_timer **place = &channel->timers;
    while (*place != NULL) {
        struct rpc_timer *timer = *place;
        if (timer->due_ms > now_ms) {
            place = &timer->next;
            continue;
        }
        *place = timer->next;
        timer->run(timer);
        place = &channel->timers; /* the run may have added one */
    }
}

static gpr_timespec next_wake(const struct rpc_channel *channel)
{
    if (channel->timers == NULL)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    int64_t due_ms = INT64_MAX;
    for (const struct rpc_timer *timer = channel->timers; timer != NULL; timer = timer->next)
        due_ms = timer->due_ms < due_ms ? timer->due_ms : due_ms;
    const int64_t left_ms = due_ms - clock_monotonic_ms();
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis(left_ms > 0 ? left_ms : 0, GPR_TIMESPAN));
}

static void *channel_main(void *argument)
{
    struct rpc_channel *channel = argument;
    for (;;) {
        const grpc_event event = grpc_completion_queue_next(channel->queue, next_wake(channel), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE) {
            struct rpc_reply *reply = event.tag;
            handoff_take(&reply->handoff);
            reply->run(reply, event.success != 0);
        }
        run_due_timers(channel);
    }
}

enum err_code rpc_channel_new(const struct rpc_channel_options *options, struct rpc_channel **out_channel,
                              struct err *e)
{
    core_log_to_ours();
    grpc_init();
    struct rpc_channel *const channel = calloc(1, sizeof *channel);
    const enum err_code code = channel != NULL ? rpc_links_init(&channel->links, options, e)
                                               : err_set(e, ERR_LIMIT, "out of memory");
    if (code != ERR_OK) {
        free(channel);
        grpc_shutdown();
        return code;
    }
    channel->max_message_bytes = channel->links.max_message_bytes;
    channel->extra_descriptor_set = options->extra_descriptor_set;
    channel->extra_descriptor_set_len = options->extra_descriptor_set_len;
    pthread_mutex_init(&channel->lock, NULL);
    pthread_cond_init(&channel->quiet, NULL);
    channel->queue = grpc_completion_queue_create_for_next(NULL);
    if (pthread_create(&channel->thread, NULL, channel_main, channel) != 0)
        abort(); /* a process that cannot have one thread more cannot serve */
    *out_channel = channel;
    return ERR_OK;
}

void rpc_channel_free(struct rpc_channel *channel)
{
    if (channel == NULL)
        return;
    pthread_mutex_lock(&channel->lock);
    channel->closing = true;
    while (channel->calls > 0)
        pthread_cond_wait(&channel->quiet, &channel->lock);
    pthread_mutex_unlock(&channel->lock);
    grpc_completion_queue_shutdown(channel->queue);
    pthread_join(channel->thread, NULL);
    grpc_completion_queue_destroy(channel->queue);
    rpc_links_drop(&channel->links);
    rpc_index_drop(&channel->index);
    pthread_cond_destroy(&channel->quiet);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
    grpc_shutdown();
}

enum err_code rpc_channel_enter(struct rpc_channel *channel, struct err *e)
{
    pthread_mutex_lock(&channel->lock);
    const bool closing = channel->closing;
    if (!closing)
        channel->calls++;
    pthread_mutex_unlock(&channel->lock);
    return closing ? err_set(e, ERR_STATE, "the channel is being closed") : ERR_OK;
}

void rpc_channel_leave(struct rpc_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    channel->calls--;
    pthread_cond_broadcast(&channel->quiet);
    pthread_mutex_unlock(&channel->lock);
}

bool rpc_channel_closing(struct rpc_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    const bool closing = channel->closing;
    pthread_mutex_unlock(&channel->lock);
    return closing;
}

void rpc_channel_after(struct rpc_channel *channel, struct rpc_timer *timer, int64_t delay_ms)
{
    timer->due_ms = clock_monotonic_ms() + delay_ms;
    timer->next = channel->timers;
    channel->timers = timer;
}

grpc_call *rpc_channel_call(struct rpc_channel *channel, const char *path, gpr_timespec deadline,
                            struct rpc_link **out_link)
{
    grpc_slice method = grpc_slice_from_copied_string(path);
    struct rpc_link *const link = rpc_links_enter(&channel->links);
    grpc_call *call = grpc_channel_create_call(rpc_link_core(link), NULL, GRPC_PROPAGATE_DEFAULTS,
                                               channel->queue, method, NULL, deadline, NULL);
    grpc_slice_unref(method);
    *out_link = link;
    return call;
}

gpr_timespec rpc_deadline_in(int64_t timeout_ms)
{
    if (timeout_ms == 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
}

enum err_code rpc_method_path(const ProtobufCServiceDescriptor *service, const char *method,
                              char out_path[RPC_CLIENT_PATH_BYTES],
                              const ProtobufCMethodDescriptor **out_method, struct err *e)
{
    const ProtobufCMethodDescriptor *found =
        protobuf_c_service_descriptor_get_method_by_name(service, method);
    if (found == NULL || strlen(service->name) + strlen(method) + 3 > RPC_CLIENT_PATH_BYTES)
        return err_set(e, ERR_INPUT, "service %s has no method %s", service->name, method);
    snprintf(out_path, RPC_CLIENT_PATH_BYTES, "/%s/%s", service->name, method);
    *out_method = found;
    return ERR_OK;
}

enum err_code rpc_status_error(grpc_status_code status, grpc_slice details, struct err *e)
{
    if (status == GRPC_STATUS_OK)
        return ERR_OK;
    const int len = (int)GRPC_SLICE_LENGTH(details);
    if (len == 0)
        return err_native(e, rpc_status_class((int)status), (long)status, "%s", rpc_status_name((int)status));
    return err_native(e, rpc_status_class((int)status), (long)status, "%.*s", len,
                      (const char *)GRPC_SLICE_START_PTR(details));
}

enum err_code rpc_traceparent_check(const char *traceparent, struct err *e)
{
    if (traceparent != NULL && !grpc_header_nonbin_value_is_legal(grpc_slice_from_static_string(traceparent)))
        return err_set(e, ERR_INPUT, "the traceparent has characters that a header cannot carry");
    return ERR_OK;
}

bool rpc_trace_of(const char *given, grpc_slice *out_traceparent)
{
    struct trace trace = {0};
    if (given == NULL) {
        trace = trace_current();
        trace = trace_child(&trace);
        given = trace.parent;
    }
    *out_traceparent = given[0] != '\0' ? grpc_slice_from_copied_string(given) : grpc_empty_slice();
    return given[0] != '\0';
}

#include "rpc/form.h"
#include "rpc/server_state.h"

#include <stdlib.h>

static struct rpc_call *take(struct rpc_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->head == NULL && !pool->closed)
        pthread_cond_wait(&pool->filled, &pool->lock);
    struct rpc_call *call = pool->head;
    if (call != NULL) {
        pool->head = call->queue_next;
        if (pool->head == NULL)
            pool->tail = &pool->head;
    }
    pthread_mutex_unlock(&pool->lock);
    return call;
}

void rpc_run_raw(struct rpc_call *call)
{
    struct payload_view view = {0};
    struct err e = {0};
    enum err_code code = ERR_OK;
    const size_t most = call->server->options.max_message_bytes;
    if (grpc_byte_buffer_length(call->payload) > most)
        code = err_set(&e, ERR_LIMIT, "message is over the limit of %zu bytes", most);
    else
        code = payload_view_init(&view, call->payload, &e);
    if (code == ERR_OK)
        code = form_check(call->method->input, view.bytes, view.len, &e);
    if (code != ERR_OK)
        rpc_call_fail(call, &e);
    else
        call->method->raw(call->method->raw_context, call, call->method->index, view.bytes, view.len);
    payload_view_drop(&view);
}

static void run(struct rpc_call *call)
{
    if (rpc_call_refuse_stale(call))
        return;
    const struct rpc_method *method = call->method;
    if (method->raw != NULL) {
        rpc_run_raw(call);
        return;
    }
    ProtobufCMessage *request = NULL;
    struct err e = {0};
    if (payload_unpack(call->payload, method->input, call->server->options.max_message_bytes, &request, &e) !=
        ERR_OK) {
        rpc_call_fail(call, &e);
        return;
    }
    method->service->invoke(method->service, method->index, request, rpc_answer, call);
    protobuf_c_message_free_unpacked(request, NULL);
}

static void *worker_main(void *argument)
{
    struct rpc_pool *pool = argument;
    for (struct rpc_call *call = take(pool); call != NULL; call = take(pool)) {
        const struct trace before = trace_enter(call->trace);
        run(call);
        (void)trace_enter(before);
        rpc_call_unref(call);
    }
    return NULL;
}

enum err_code rpc_pool_start(struct rpc_pool *pool, size_t thread_count, struct err *e)
{
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->filled, NULL);
    pool->tail = &pool->head;
    pool->threads = calloc(thread_count, sizeof *pool->threads);
    if (pool->threads == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    for (; pool->thread_count < thread_count; pool->thread_count++)
        if (pthread_create(&pool->threads[pool->thread_count], NULL, worker_main, pool) != 0)
            return err_errno(e, "start a worker thread");
    return ERR_OK;
}

/* The queue is bounded by the slots that each call in it holds (max_in_flight). */
void rpc_pool_put(struct rpc_pool *pool, struct rpc_call *call)
{
    call->queue_next = NULL;
    pthread_mutex_lock(&pool->lock);
    *pool->tail = call;
    pool->tail = &call->queue_next;
    pthread_cond_signal(&pool->filled);
    pthread_mutex_unlock(&pool->lock);
}

void rpc_pool_stop(struct rpc_pool *pool)
{
    if (pool->threads == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closed = true;
    pthread_cond_broadcast(&pool->filled);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    free(pool->threads);
    pool->threads = NULL;
    pthread_cond_destroy(&pool->filled);
    pthread_mutex_destroy(&pool->lock);
}

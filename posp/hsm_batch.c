#include "posp/hsm_batch.h"

#include "base/trace.h"
#include "rpc/status.h"

#include <pthread.h>
#include <stdlib.h>

#define ITEMS_MAX  64 /* in one message; the service takes 256 */
#define FLYING_MAX 4  /* messages under way */

struct waiting {
    Posward__Hsm__V1__BatchItem *item;
    struct trace trace; /* of the one who waits */
    Posward__Hsm__V1__BatchResult *result;
    enum err_code code;
    struct err err;
    bool done;
    struct waiting *next;
};

struct hsm_batch {
    struct rpc_channel *channel;
    int64_t timeout_ms;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct waiting *first, **last;
    int flying;
};

enum err_code hsm_batch_new(struct rpc_channel *channel, int64_t timeout_ms, struct hsm_batch **out_batch,
                            struct err *e)
{
    struct hsm_batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    batch->channel = channel;
    batch->timeout_ms = timeout_ms;
    batch->last = &batch->first;
    pthread_mutex_init(&batch->lock, NULL);
    pthread_cond_init(&batch->changed, NULL);
    *out_batch = batch;
    return ERR_OK;
}

void hsm_batch_free(struct hsm_batch *batch)
{
    if (batch == NULL)
        return;
    pthread_cond_destroy(&batch->changed);
    pthread_mutex_destroy(&batch->lock);
    free(batch);
}

static size_t take(struct hsm_batch *batch, struct waiting *out_taken[ITEMS_MAX])
{
    size_t count = 0;
    while (count < ITEMS_MAX && batch->first != NULL) {
        out_taken[count++] = batch->first;
        batch->first = batch->first->next;
    }
    if (batch->first == NULL)
        batch->last = &batch->first;
    return count;
}

static void settle(struct waiting *w, Posward__Hsm__V1__ProcessBatchResponse *response, size_t at)
{
    Posward__Hsm__V1__BatchResult *result = response->results[at];
    if (result->status == 0) {
        w->result = result;
        response->results[at] = NULL; /* the waiter frees it */
        return;
    }
    w->code = err_native(&w->err, rpc_status_class(result->status), result->status, "hsm: %s",
                         result->message != NULL ? result->message : "");
    w->err.retry_ms = result->retry_ms; /* a limit on PIN operations says so */
}

static void send_taken(struct hsm_batch *batch, struct waiting **taken, size_t count)
{
    Posward__Hsm__V1__BatchItem *items[ITEMS_MAX];
    for (size_t i = 0; i < count; i++) {
        items[i] = taken[i]->item;
        items[i]->traceparent = taken[i]->trace.parent;
    }
    Posward__Hsm__V1__ProcessBatchRequest request = POSWARD__HSM__V1__PROCESS_BATCH_REQUEST__INIT;
    request.n_items = count;
    request.items = items;
    /* The call itself counts as the first one's; the others are found by their items. */
    const struct rpc_call_options options = {
        .timeout_ms = batch->timeout_ms, .idempotent = true, .traceparent = taken[0]->trace.parent};
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    enum err_code code = rpc_unary(batch->channel, &posward__hsm__v1__data_plane__descriptor, "ProcessBatch",
                                   &request.base, &options, &message, &e);
    Posward__Hsm__V1__ProcessBatchResponse *response = (Posward__Hsm__V1__ProcessBatchResponse *)message;
    if (code == ERR_OK && response->n_results != count)
        code = err_set(&e, ERR_INTERNAL, "hsm: %zu results for %zu items", response->n_results, count);
    for (size_t i = 0; i < count; i++) {
        if (code == ERR_OK) {
            settle(taken[i], response, i);
        } else {
            taken[i]->code = code;
            taken[i]->err = e;
        }
    }
    if (message != NULL)
        protobuf_c_message_free_unpacked(message, NULL);
}

static void send_waiting(struct hsm_batch *batch)
{
    struct waiting *taken[ITEMS_MAX];
    const size_t count = take(batch, taken);
    batch->flying++;
    pthread_mutex_unlock(&batch->lock);
    send_taken(batch, taken, count);
    pthread_mutex_lock(&batch->lock);
    batch->flying--;
    for (size_t i = 0; i < count; i++)
        taken[i]->done = true;
    pthread_cond_broadcast(&batch->changed);
}

enum err_code hsm_batch_call(struct hsm_batch *batch, Posward__Hsm__V1__BatchItem *item,
                             Posward__Hsm__V1__BatchResult **out_result, struct err *e)
{
    const struct trace trace = trace_current();
    struct waiting own = {.item = item, .trace = trace_child(&trace)};
    pthread_mutex_lock(&batch->lock);
    *batch->last = &own;
    batch->last = &own.next; /* cppcheck-suppress autoVariables ; it is taken off before we return */
    while (!own.done) {
        if (batch->first != NULL && batch->flying < FLYING_MAX)
            send_waiting(batch);
        else
            pthread_cond_wait(&batch->changed, &batch->lock);
    }
    pthread_mutex_unlock(&batch->lock);
    item->traceparent = (char *)(uintptr_t)protobuf_c_empty_string; /* what it pointed at ends here */
    if (own.code != ERR_OK) {
        if (e != NULL)
            *e = own.err;
        return own.code;
    }
    *out_result = own.result;
    return ERR_OK;
}

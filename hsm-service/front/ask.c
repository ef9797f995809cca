#include "hsm-service/front/ask.h"

#include "base/clock.h"
#include "base/wait.h"
#include "hsm-service/front/state.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAKE_MS 1000 /* beyond the time allowed: the loop ends the question, and says so */
#define LATE_MS 5000 /* beyond keepers.hang_ms, for the loop to notice a keeper that hangs */

static bool send_question(struct front_keeper *k, const struct ipc_frame *frame)
{
    struct err e = {0};
    const size_t capacity = IPC_HEADER_BYTES + frame->identity_len + frame->traceparent_len + frame->body_len;
    uint8_t *const packet = malloc(capacity);
    size_t len = 0;
    const bool sent = packet != NULL && ipc_encode(frame, packet, capacity, &len, &e) == ERR_OK &&
                      ipc_send(k->fd, packet, len, false, &e) == ERR_OK;
    free(packet);
    return sent;
}

static bool ask(struct front *f, struct front_keeper *k, const struct ipc_frame *question,
                front_asked_fn done, void *context)
{
    struct front_call *const call = calloc(1, sizeof *call);
    struct ipc_frame frame = *question;
    frame.kind = IPC_REQUEST;
    frame.request_id = atomic_fetch_add(&f->next_id, 1);
    frame.deadline_ms = INT64_MAX;
    if (call == NULL || !send_question(k, &frame)) {
        free(call);
        return false;
    }
    *call = (struct front_call){.asked = done,
                                .asked_context = context,
                                .id = frame.request_id,
                                .deadline_ms = INT64_MAX,
                                .sent_ms = clock_monotonic_ms()};
    TAILQ_INSERT_TAIL(&k->calls, call, link);
    k->load++;
    return true;
}

bool front_ask(struct front *f, struct front_keeper *keeper, const struct front_question *q)
{
    const struct ipc_frame frame = {.method = q->method, .body = q->body, .body_len = q->len};
    return ask(f, keeper, &frame, q->done, q->context);
}

/* ---- Waiting ---- */

/* Held by who waits and by the question: the last of the two frees it. */
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t news;
    unsigned holders;
    bool done;
    struct front_reply reply;
    enum err_code code;
    struct err err;
};

static struct waiter *waiter_new(void)
{
    struct waiter *const w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->holders = 1;
    pthread_mutex_init(&w->lock, NULL);
    wait_cond_init(&w->news);
    return w;
}

static void waiter_let_go(struct waiter *w)
{
    pthread_mutex_lock(&w->lock);
    const bool last = --w->holders == 0;
    pthread_mutex_unlock(&w->lock);
    if (!last)
        return;
    front_reply_drop(&w->reply);
    pthread_cond_destroy(&w->news);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static void take_answer(struct waiter *w, const struct ipc_frame *frame)
{
    if (frame == NULL) {
        w->reply.lost = true;
        w->code = err_set(&w->err, ERR_UNAVAILABLE, "the keeper ended while it worked on this");
    } else if (frame->kind != IPC_RESPONSE) {
        w->code = ipc_failure(frame, &w->err);
    } else {
        w->reply.body = malloc(frame->body_len + 1); /* an empty message packs to nothing */
        w->reply.len = frame->body_len;
        if (w->reply.body != NULL)
            memcpy(w->reply.body, frame->body, frame->body_len);
        else
            w->code = err_set(&w->err, ERR_LIMIT, "no memory for a keeper's answer");
    }
}

static void wake_waiter(struct front *f, void *context, const struct ipc_frame *frame)
{
    struct waiter *const w = context;
    (void)f;
    pthread_mutex_lock(&w->lock);
    take_answer(w, frame);
    w->done = true;
    pthread_cond_signal(&w->news);
    pthread_mutex_unlock(&w->lock);
    waiter_let_go(w);
}

static enum err_code wait_for_answer(struct waiter *w, int64_t most_ms, struct front_reply *out_reply,
                                     struct err *e)
{
    const struct timespec end = wait_end(most_ms + WAKE_MS);
    pthread_mutex_lock(&w->lock);
    for (bool in_time = true; !w->done && in_time;)
        in_time = wait_until(&w->news, &w->lock, &end);
    if (!w->done) {
        w->reply.lost = true;
        w->code = err_set(&w->err, ERR_UNAVAILABLE, "no keeper answered within %lld ms", (long long)most_ms);
    }
    *out_reply = w->reply;
    w->reply = (struct front_reply){0};
    const enum err_code code = w->code;
    if (code != ERR_OK && e != NULL)
        *e = w->err;
    pthread_mutex_unlock(&w->lock);
    return code;
}

enum err_code front_ask_wait(struct front *f, const struct ipc_frame *question, struct front_reply *out_reply,
                             struct err *e)
{
    struct waiter *const w = waiter_new();
    if (w == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a question to a keeper");
    pthread_mutex_lock(&f->lock);
    struct front_keeper *const k = front_least_busy(f);
    w->holders = 2;
    const bool asked = k != NULL && ask(f, k, question, wake_waiter, w);
    if (k == NULL)
        (void)front_say_unavailable(f, e);
    pthread_mutex_unlock(&f->lock);
    enum err_code code = ERR_UNAVAILABLE;
    if (asked)
        code = wait_for_answer(w, f->config->hang_ms + LATE_MS, out_reply, e);
    else if (k != NULL)
        code = err_set(e, ERR_UNAVAILABLE, "keepers take no more at the moment; try again");
    else
        *out_reply = (struct front_reply){0};
    if (!asked)
        waiter_let_go(w);
    waiter_let_go(w);
    return code;
}

void front_reply_drop(struct front_reply *reply)
{
    free(reply->body);
    *reply = (struct front_reply){0};
}

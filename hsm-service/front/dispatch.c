#include "hsm-service/front/release.h"
#include "hsm-service/front/state.h"

#include "base/clock.h"
#include "base/secret.h"
#include "hsm-service/gate/permit.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void front_call_free(struct front_call *call)
{
    if (call == NULL)
        return;
    if (call->packet != NULL)
        secret_wipe(call->packet, call->packet_len); /* may hold track data */
    facts_drop(&call->facts);
    refusals_drop(&call->refusals);
    free(call->packet);
    free(call);
}

void front_answer_failed(struct front *f, struct front_calls *failed)
{
    struct front_call *call;
    while ((call = TAILQ_FIRST(failed)) != NULL) {
        TAILQ_REMOVE(failed, call, link);
        const struct release release = {.failed = true, .failure = call->outcome};
        if (!front_audit_answer(f->audit, call, &release) && call->rpc != NULL)
            rpc_call_fail(call->rpc, &call->outcome);
        front_call_free(call);
    }
}

static int64_t deadline_of(const struct rpc_call *rpc)
{
    const int64_t left = rpc_call_left_ms(rpc), now = clock_monotonic_ms();
    return left > INT64_MAX - now ? INT64_MAX : now + left;
}

/* With room for refused items, which are known only when the packed request has been read. */
static enum err_code pack_call(struct front_call *call, const struct ipc_frame *frame, struct err *e)
{
    const size_t capacity = IPC_HEADER_BYTES + frame->identity_len + frame->traceparent_len +
                            frame->refused_len + frame->body_len;
    call->packet = malloc(capacity);
    if (call->packet == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a call");
    TRY(ipc_encode(frame, call->packet, capacity, &call->packet_len, e));
    return ipc_decode(call->packet, call->packet_len, &call->request, e);
}

/* The one reading of the request (gate/facts.h). */
static enum err_code read_call(struct front_call *call, const struct ipc_frame *frame, struct err *e)
{
    TRY(pack_call(call, frame, e));
    return facts_read(frame->method, (struct wire_bytes){call->request.body, call->request.body_len},
                      &call->facts, e);
}

static enum err_code make_call(struct rpc_call *rpc, const struct ipc_frame *frame,
                               struct front_call **out_call, struct err *e)
{
    struct front_call *const call = calloc(1, sizeof *call);
    if (call == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a call");
    call->rpc = rpc;
    call->id = frame->request_id;
    call->deadline_ms = frame->deadline_ms;
    if (read_call(call, frame, e) != ERR_OK) {
        front_call_free(call);
        return e->code;
    }
    *out_call = call;
    return ERR_OK;
}

/* True when the call left the queue. */
static bool send_first(struct front *f, struct front_keeper *k, struct front_call *call)
{
    struct err e = {0};
    const enum err_code code = ipc_send(k->fd, call->packet, call->packet_len, false, &e);
    if (code == ERR_OK) {
        TAILQ_REMOVE(&f->waiting, call, link);
        TAILQ_INSERT_TAIL(&k->calls, call, link);
        k->load++;
        call->sent_ms = clock_monotonic_ms();
    } else if (code != ERR_LIMIT) {
        k->broken = true;
        if (code != ERR_UNAVAILABLE) /* the packet itself may be what the socket does not take */
            call->blame += FRONT_BLAME_CRASH;
    }
    return code == ERR_OK;
}

static void give_up(struct front_call *call, struct front_calls *out_failed)
{
    (void)err_set(&call->outcome, ERR_INTERNAL,
                  "keepers ended again and again while they worked on this call; it is not tried once more");
    TAILQ_INSERT_TAIL(out_failed, call, link);
}

void front_pump(struct front *f, struct front_calls *out_failed)
{
    struct front_call *call;
    while ((call = TAILQ_FIRST(&f->waiting)) != NULL) {
        if (rpc_call_cancelled(call->rpc)) {
            TAILQ_REMOVE(&f->waiting, call, link);
            (void)err_set(&call->outcome, ERR_CANCELLED, "the client went away");
            TAILQ_INSERT_TAIL(out_failed, call, link);
            continue;
        }
        if (call->blame >= FRONT_BLAME_MOST) {
            TAILQ_REMOVE(&f->waiting, call, link);
            give_up(call, out_failed);
            continue;
        }
        struct front_keeper *const k = front_least_loaded(f, call);
        if (k == NULL || (!send_first(f, k, call) && !k->broken))
            return; /* all are busy: an answer, or the next tick, comes back here */
    }
}

/* The frame of a call; `refused` is what the items of a batch are marked in. */
static struct ipc_frame frame_of(struct front *f, struct rpc_call *rpc, uint16_t method,
                                 const uint8_t refused[IPC_REFUSED_BYTES])
{
    const struct rpc_peer *const peer = rpc_call_peer(rpc);
    const char *const identity = peer != NULL && peer->identity != NULL ? peer->identity : "";
    const char *const traceparent = rpc_call_traceparent(rpc);
    struct ipc_frame frame = {.kind = IPC_REQUEST,
                              .method = method,
                              .request_id = atomic_fetch_add(&f->next_id, 1),
                              .deadline_ms = deadline_of(rpc),
                              .identity = identity,
                              .identity_len = strlen(identity),
                              .traceparent = traceparent,
                              .traceparent_len = strlen(traceparent)};
    if (frame.traceparent_len > IPC_TRACEPARENT_BYTES)
        frame.traceparent_len = 0; /* not one of version 00: a trace is no reason to refuse a call */
    if (facts_is_batch(method)) {
        frame.refused = refused;
        frame.refused_len = IPC_REFUSED_BYTES;
    }
    return frame;
}

static enum err_code ask_gate(struct front *f, struct front_call *call, struct err *e)
{
    const struct admit_caller caller = {call->request.identity, call->request.identity_len};
    TRY(permit_call(f->roles, rpc_call_peer(call->rpc)->identity, &call->facts, &call->refusals, e));
    return admit_quota(f->admit, &caller, &call->facts, e);
}

/* May it go to a keeper? Items of a batch that may not are marked in the packet. */
static enum err_code admit_call(struct front *f, struct front_call *call, struct err *e)
{
    TRY(front_audit_admit(f->audit, &call->facts, e));
    const enum err_code code = ask_gate(f, call, e);
    const struct refusals *const refused = &call->refusals;
    if (code != ERR_OK)
        front_audit_refusal(f->audit, &call->request, e);
    else if (refused->count > 0)
        front_record_items(f, call, &refused->items[0].why, refused->count);
    if (call->request.refused != NULL)
        refusals_mark(refused, call->packet + (call->request.refused - call->packet));
    return code;
}

void front_take(struct front *f, struct rpc_call *rpc, uint16_t method, const uint8_t *body, size_t len)
{
    struct err e = {0};
    static const uint8_t none[IPC_REFUSED_BYTES];
    struct front_call *call = NULL;
    struct ipc_frame frame = frame_of(f, rpc, method, none);
    frame.body = body;
    frame.body_len = len;
    enum err_code code = make_call(rpc, &frame, &call, &e);
    if (code == ERR_OK)
        code = admit_call(f, call, &e);
    if (code != ERR_OK) {
        front_call_free(call);
        rpc_call_fail(rpc, &e);
        return;
    }
    struct front_calls failed = TAILQ_HEAD_INITIALIZER(failed);
    pthread_mutex_lock(&f->lock);
    if (!f->stopping && front_pool_takes(&f->pool)) {
        TAILQ_INSERT_TAIL(&f->waiting, call, link);
        front_pump(f, &failed);
    } else {
        (void)front_say_unavailable(f, &call->outcome);
        TAILQ_INSERT_TAIL(&failed, call, link);
    }
    pthread_mutex_unlock(&f->lock);
    front_answer_failed(f, &failed);
}

struct front_call *front_answered(struct front_keeper *k, uint64_t id)
{
    struct front_call *call;
    TAILQ_FOREACH (call, &k->calls, link) {
        if (call->id != id)
            continue;
        TAILQ_REMOVE(&k->calls, call, link);
        k->load--;
        return call;
    }
    return NULL;
}

bool front_try_again(struct front *f, struct front_call *call, const struct front_keeper *k)
{
    const unsigned most = f->pool.count > FRONT_AWAY_MOST ? (unsigned)f->pool.count : FRONT_AWAY_MOST;
    if (call->rpc == NULL || call->away >= most || f->stopping || !front_pool_takes(&f->pool))
        return false;
    call->away++;
    call->last_keeper = k->number;
    call->tokens |= 1U << k->token;
    TAILQ_INSERT_HEAD(&f->waiting, call, link);
    f->retried++;
    return true;
}

void front_orphan(struct front *f, struct front_keeper *k, unsigned blame, int64_t blamed_before_ms,
                  struct front_calls *out_failed)
{
    struct front_call *call;
    /* From the last to the first, so that the queue's head keeps the order of arrival. */
    while ((call = TAILQ_LAST(&k->calls, front_calls)) != NULL) {
        TAILQ_REMOVE(&k->calls, call, link);
        k->load--;
        call->tokens |= 1U << k->token;
        call->blame += call->sent_ms < blamed_before_ms ? blame : 0;
        if (call->rpc == NULL) {
            if (call->asked != NULL)
                call->asked(f, call->asked_context, NULL);
            front_call_free(call);
        } else if (call->blame >= FRONT_BLAME_MOST) {
            give_up(call, out_failed);
        } else {
            TAILQ_INSERT_HEAD(&f->waiting, call, link);
            f->retried++;
        }
    }
}

/* Sets the outcome of a call that need not go on. */
static bool is_over(struct front_call *call, int64_t now_ms)
{
    if (call->rpc == NULL)
        return false;
    if (now_ms >= call->deadline_ms)
        (void)err_set(&call->outcome, ERR_TIMEOUT, "the deadline passed before a keeper answered");
    else if (rpc_call_cancelled(call->rpc))
        (void)err_set(&call->outcome, ERR_CANCELLED, "the client went away");
    else
        return false;
    return true;
}

/* A stand-in carries the answer; the call itself stays until its keeper answers, which keeps load and hang
 * right. */
static void answer_early(struct front_call *call, struct front_calls *out_failed)
{
    struct front_call *const stand_in = calloc(1, sizeof *stand_in);
    if (stand_in == NULL)
        return; /* the next tick tries again */
    stand_in->rpc = call->rpc;
    stand_in->outcome = call->outcome;
    call->rpc = NULL;
    TAILQ_INSERT_TAIL(out_failed, stand_in, link);
}

void front_expire(struct front *f, int64_t now_ms, struct front_calls *out_failed)
{
    struct front_call *call, *next;
    for (call = TAILQ_FIRST(&f->waiting); call != NULL; call = next) {
        next = TAILQ_NEXT(call, link);
        if (!is_over(call, now_ms))
            continue;
        TAILQ_REMOVE(&f->waiting, call, link);
        TAILQ_INSERT_TAIL(out_failed, call, link);
    }
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        if (f->keepers[i].load > 0)
            TAILQ_FOREACH (call, &f->keepers[i].calls, link)
                if (is_over(call, now_ms))
                    answer_early(call, out_failed);
}

void front_flush(struct front *f, struct front_calls *out_failed)
{
    struct front_call *call;
    while ((call = TAILQ_FIRST(&f->waiting)) != NULL) {
        TAILQ_REMOVE(&f->waiting, call, link);
        (void)front_say_unavailable(f, &call->outcome);
        TAILQ_INSERT_TAIL(out_failed, call, link);
    }
}

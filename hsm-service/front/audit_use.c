/* Records of calls that keepers answered, and answers that wait for theirs. */
#include "base/secret.h"
#include "hsm-service/front/audit_inside.h"
#include "hsm-service/front/facts.h"
#include "hsm-service/front/state.h"
#include "rpc/status.h"

#include <stdlib.h>
#include <string.h>

void front_audit_set_uses(struct front_audit *a)
{
    const struct hsm_config *const c = a->config;
    const struct {
        unsigned facts_class;
        const char *value;
    } rows[] = {{FACTS_PIN, hsm_config_use(c, c->audit_use_pin)},
                {FACTS_MAC, hsm_config_use(c, c->audit_use_mac)},
                {FACTS_DATA, hsm_config_use(c, c->audit_use_data)}};
    for (size_t i = 0; i < USE_CLASSES; i++) {
        a->uses[i].facts_class = rows[i].facts_class;
        a->uses[i].all = strcmp(rows[i].value, "all") == 0;
        a->uses[i].sampled = strcmp(rows[i].value, "sampled") == 0;
        atomic_init(&a->uses[i].uses, 0);
    }
}

struct held {
    struct rpc_call *rpc;
    bool failed;
    struct err outcome;
    size_t len;
    uint8_t body[];
};

static void let_go(void *context, bool on_disk)
{
    struct held *const held = context;
    if (!on_disk)
        (void)err_set(&held->outcome, ERR_UNAVAILABLE, NOT_WRITTEN);
    if (!on_disk || held->failed)
        rpc_call_fail(held->rpc, &held->outcome);
    else
        rpc_call_finish(held->rpc, held->body, held->len);
    secret_wipe(held->body, held->len);
    free(held);
}

static struct held *hold(struct front_call *call, const struct ipc_frame *frame, const struct err *failure)
{
    const size_t len = failure == NULL ? frame->body_len : 0;
    struct held *const held = calloc(1, sizeof *held + len);
    if (held == NULL)
        return NULL;
    *held = (struct held){.rpc = call->rpc, .failed = failure != NULL, .len = len};
    if (failure != NULL)
        held->outcome = *failure;
    else if (len > 0)
        memcpy(held->body, frame->body, len);
    return held;
}

/* Whether this use's turn has come. */
static bool is_sampled(struct front_audit *a, unsigned classes)
{
    bool due = false;
    for (size_t i = 0; i < USE_CLASSES; i++) {
        struct use_policy *const use = &a->uses[i];
        if ((use->facts_class & classes) == 0)
            continue;
        const uint64_t every = (uint64_t)a->config->audit_sample_every;
        due = use->all || (use->sampled && atomic_fetch_add(&use->uses, 1) % every == 0) || due;
    }
    return due;
}

/* An answered call, as records see it. */
struct told {
    struct ipc_frame request;
    struct wire_bytes answer;  /* empty where it failed */
    const struct err *failure; /* NULL: none */
    bool late;
};

static struct audit_caller caller_of(const struct told *t)
{
    return (struct audit_caller){t->request.identity, t->request.identity_len, t->request.traceparent,
                                 t->request.traceparent_len};
}

static struct audit_record record_of(const struct told *t, const struct facts_operation *o)
{
    struct audit_record r = facts_record(o);
    const enum err_code code = t->failure != NULL ? t->failure->code : rpc_status_class((int)o->status);
    const struct audit_caller caller = caller_of(t);
    front_audit_fill(&r, &caller);
    if (front_audit_is_refusal(code))
        r.kind = AUDIT_REFUSAL;
    snprintf(r.result, sizeof r.result, "%s", err_name(code));
    const size_t at = strlen(r.note);
    if (t->late)
        snprintf(r.note + at, sizeof r.note - at, "%sanswered too late for the caller", at > 0 ? " " : "");
    return r;
}

/* Making of keys and refusals always; of a batch's item only what the keeper refused: front/limits.h records
 * its own. */
static bool deserves_record(struct front_audit *a, const struct told *t, const struct facts_operation *o)
{
    const enum err_code code = t->failure != NULL ? t->failure->code : rpc_status_class((int)o->status);
    const bool refused =
        front_audit_is_refusal(code) && !(o->in_batch && t->failure == NULL && code == ERR_LIMIT);
    return (o->classes & FACTS_KEYS) != 0 || refused || is_sampled(a, o->classes);
}

/* A refusal of what is no operation on keys: a report, a list. */
static void post_refusal(struct front_audit *a, const struct told *t)
{
    struct audit_record r = {.kind = AUDIT_REFUSAL};
    const struct audit_caller caller = caller_of(t);
    snprintf(r.what, sizeof r.what, "%s", facts_method(t->request.method));
    snprintf(r.result, sizeof r.result, "%s", err_name(t->failure->code));
    front_audit_fill(&r, &caller);
    audit_writer_post(a->writer, &r, NULL, NULL);
}

/* `held`, when there is one, goes with the last record. */
static void post_all(struct front_audit *a, const struct told *t, struct held *held)
{
    struct audit_record next;
    struct facts_operation o;
    struct facts_walk walk =
        facts_walk(t->request.method, (struct wire_bytes){t->request.body, t->request.body_len}, t->answer);
    bool waiting = false;
    while (facts_next(&walk, &o)) {
        if (!deserves_record(a, t, &o))
            continue;
        if (waiting)
            audit_writer_post(a->writer, &next, NULL, NULL);
        next = record_of(t, &o);
        waiting = true;
    }
    if (waiting)
        audit_writer_post(a->writer, &next, held != NULL ? let_go : NULL, held);
    else if (held != NULL)
        let_go(held, false);
    else if (t->failure != NULL && front_audit_is_refusal(t->failure->code))
        post_refusal(a, t);
}

bool front_audit_answer(struct front_audit *a, struct front_call *call, const struct ipc_frame *frame)
{
    struct told t = {.late = call->rpc == NULL};
    struct err e = {0}, failure = call->outcome;
    if (a == NULL || call->packet == NULL ||
        ipc_decode(call->packet, call->packet_len, &t.request, &e) != ERR_OK)
        return false;
    if (frame != NULL && frame->kind != IPC_RESPONSE)
        (void)err_native(
            &failure, frame->error, (long)frame->native, "%.*s",
            (int)(frame->body_len < sizeof failure.note ? frame->body_len : sizeof failure.note - 1),
            (const char *)frame->body);
    const bool failed = frame == NULL || frame->kind != IPC_RESPONSE;
    t.failure = failed ? &failure : NULL;
    t.answer = failed ? (struct wire_bytes){0} : (struct wire_bytes){frame->body, frame->body_len};
    const bool makes_keys =
        facts_makes_keys(t.request.method, (struct wire_bytes){t.request.body, t.request.body_len});
    struct held *held = NULL;
    if (makes_keys && !failed && call->rpc != NULL) {
        held = hold(call, frame, NULL);
        if (held == NULL) {
            (void)err_set(&e, ERR_LIMIT, "no memory for the answer");
            rpc_call_fail(call->rpc, &e);
        }
    }
    post_all(a, &t, held);
    return makes_keys && !failed && call->rpc != NULL;
}

/* While the log cannot be written: whether the configuration promises a record that could be lost. */
static bool must_be_on_record(const struct front_audit *a, unsigned classes)
{
    bool must = (classes & FACTS_KEYS) != 0;
    for (size_t i = 0; i < USE_CLASSES; i++)
        must = must || (a->uses[i].all && (a->uses[i].facts_class & classes) != 0);
    return must;
}

enum err_code front_audit_admit(struct front_audit *a, uint16_t method, const uint8_t *body, size_t len,
                                struct err *e)
{
    struct facts_operation o;
    struct facts_walk walk = facts_walk(method, (struct wire_bytes){body, len}, (struct wire_bytes){0});
    if (a == NULL || audit_writer_healthy(a->writer))
        return ERR_OK;
    while (facts_next(&walk, &o))
        if (must_be_on_record(a, o.classes))
            return err_set(e, ERR_UNAVAILABLE, NOT_WRITTEN);
    return ERR_OK;
}

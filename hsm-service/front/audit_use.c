/* Records of calls that keepers answered, and answers that wait for theirs. */
#include "base/secret.h"
#include "hsm-service/front/audit_inside.h"
#include "hsm-service/front/release.h"
#include "hsm-service/front/state.h"
#include "hsm-service/gate/records.h"
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
    size_t len;
    uint8_t body[];
};

static void let_go(void *context, bool on_disk)
{
    struct held *const held = context;
    struct err e = {0};
    if (!on_disk) {
        (void)err_set(&e, ERR_UNAVAILABLE, NOT_WRITTEN);
        rpc_call_fail(held->rpc, &e);
    } else {
        rpc_call_finish(held->rpc, held->body, held->len);
    }
    secret_wipe(held->body, held->len);
    free(held);
}

static struct held *hold(struct front_call *call, const struct release *release)
{
    struct held *const held = calloc(1, sizeof *held + release->body.len);
    if (held == NULL)
        return NULL;
    held->rpc = call->rpc;
    held->len = release->body.len;
    if (held->len > 0)
        memcpy(held->body, release->body.data, held->len);
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
    const struct front_call *call;
    const struct err *failure; /* NULL: none */
    bool on_record;            /* the failure is, already */
};

static struct audit_caller caller_of(const struct told *t)
{
    const struct ipc_frame *const request = &t->call->request;
    return (struct audit_caller){request->identity, request->identity_len, request->traceparent,
                                 request->traceparent_len};
}

static enum err_code code_of(const struct told *t, const struct facts_outcome *outcome)
{
    return t->failure != NULL ? t->failure->code : rpc_status_class((int)outcome->status);
}

static struct audit_record record_of(const struct told *t, const struct facts_operation *o,
                                     const struct facts_outcome *outcome)
{
    struct audit_record r = records_of(o, outcome);
    const enum err_code code = code_of(t, outcome);
    const struct audit_caller caller = caller_of(t);
    front_audit_fill(&r, &caller);
    if (front_audit_is_refusal(code))
        r.kind = AUDIT_REFUSAL;
    snprintf(r.result, sizeof r.result, "%s", err_name(code));
    const size_t at = strlen(r.note);
    if (t->call->rpc == NULL)
        snprintf(r.note + at, sizeof r.note - at, "%sanswered too late for the caller", at > 0 ? " " : "");
    return r;
}

/* Making of keys, refusals and PIN blocks or blobs that do not decode always, whatever audit.use says: who
 * searches by trial shows there. Of a batch, what the gate refused is one record already (release.c). */
static bool deserves_record(struct front_audit *a, const struct told *t, const struct facts_operation *o,
                            const struct facts_outcome *outcome)
{
    const enum err_code code = code_of(t, outcome);
    if (t->on_record || (o->in_batch && refusals_have(&t->call->refusals, o->item)))
        return false;
    return (o->classes & FACTS_KEYS) != 0 || front_audit_is_refusal(code) || code == ERR_CHECK ||
           is_sampled(a, o->classes);
}

/* A refusal of what is no operation on keys: a report, a list. */
static void post_refusal(struct front_audit *a, const struct told *t)
{
    struct audit_record r = {.kind = AUDIT_REFUSAL};
    const struct audit_caller caller = caller_of(t);
    snprintf(r.what, sizeof r.what, "%s", facts_method(t->call->request.method));
    snprintf(r.result, sizeof r.result, "%s", err_name(t->failure->code));
    front_audit_fill(&r, &caller);
    audit_writer_post(a->writer, &r, NULL, NULL);
}

/* `held`, when there is one, goes with the last record. */
static void post_all(struct front_audit *a, const struct told *t, struct wire_bytes answer, struct held *held)
{
    const struct facts *const facts = &t->call->facts;
    struct facts_outcomes outcomes = facts_outcomes(facts, answer);
    struct audit_record next;
    bool waiting = false;
    for (size_t i = 0; i < facts->count; i++) {
        const struct facts_outcome outcome = facts_next_outcome(&outcomes, &facts->operations[i]);
        if (!deserves_record(a, t, &facts->operations[i], &outcome))
            continue;
        if (waiting)
            audit_writer_post(a->writer, &next, NULL, NULL);
        next = record_of(t, &facts->operations[i], &outcome);
        waiting = true;
    }
    if (waiting)
        audit_writer_post(a->writer, &next, held != NULL ? let_go : NULL, held);
    else if (held != NULL)
        let_go(held, false);
    else if (t->failure != NULL && !t->on_record && front_audit_is_refusal(t->failure->code))
        post_refusal(a, t);
}

/* What was refused made none, and its record is there already. */
static bool made_keys(const struct front_call *call)
{
    for (size_t i = 0; i < call->facts.count; i++) {
        const struct facts_operation *const o = &call->facts.operations[i];
        if ((o->classes & FACTS_KEYS) != 0 && !(o->in_batch && refusals_have(&call->refusals, o->item)))
            return true;
    }
    return false;
}

bool front_audit_answer(struct front_audit *a, struct front_call *call, const struct release *release)
{
    const struct told t = {.call = call,
                           .failure = release->failed ? &release->failure : NULL,
                           .on_record = release->told};
    struct err e = {0};
    if (a == NULL || call->packet == NULL)
        return false;
    const bool waits = made_keys(call) && !release->failed && call->rpc != NULL;
    struct held *const held = waits ? hold(call, release) : NULL;
    if (waits && held == NULL) {
        (void)err_set(&e, ERR_LIMIT, "no memory for the answer");
        rpc_call_fail(call->rpc, &e);
    }
    post_all(a, &t, release->body, held);
    return waits;
}

/* While the log cannot be written: whether the configuration promises a record that could be lost. */
static bool must_be_on_record(const struct front_audit *a, unsigned classes)
{
    bool must = (classes & FACTS_KEYS) != 0;
    for (size_t i = 0; i < USE_CLASSES; i++)
        must = must || (a->uses[i].all && (a->uses[i].facts_class & classes) != 0);
    return must;
}

enum err_code front_audit_admit(struct front_audit *a, const struct facts *facts, struct err *e)
{
    if (a == NULL || audit_writer_healthy(a->writer))
        return ERR_OK;
    for (size_t i = 0; i < facts->count; i++)
        if (must_be_on_record(a, facts->operations[i].classes))
            return err_set(e, ERR_UNAVAILABLE, NOT_WRITTEN);
    return ERR_OK;
}

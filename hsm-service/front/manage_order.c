/* What operators agreed on, carried out: an order to a keeper, then keepers that see the change.
 *
 * An order whose answer was lost - a keeper died or hung over it, or this service did - is not given again
 * before the token's keys were looked at: they tell whether it was done. */
#include "hsm-service/front/manage_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "hsm-service/front/ask.h"
#include "hsm-service/front/audit_keys.h"
#include "hsm-service/front/front.h"
#include "hsm-service/front/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS 20

#define ACTION(which) POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_##which

/* ---- Looking ---- */

void manage_view_drop(struct manage_view *v)
{
    if (v->list != NULL)
        posward__hsm__v1__list_keys_response__free_unpacked(v->list, NULL);
    control_keys_free(v->destroyed, v->destroyed_count);
    *v = (struct manage_view){0};
}

static enum err_code ask_keys(struct manage *m, ControlKeys **out_list, struct err *e)
{
    AUTO(front_reply) reply = {0};
    const struct ipc_frame question = {.method = audit_keys_method()};
    TRY(front_ask_wait(m->front, &question, &reply, e));
    *out_list = posward__hsm__v1__list_keys_response__unpack(NULL, reply.len, reply.body);
    return *out_list != NULL ? ERR_OK : err_set(e, ERR_INTERNAL, "a keeper gave a list of keys that is none");
}

enum err_code manage_look(struct manage *m, struct manage_view *out_view, struct err *e)
{
    struct manage_view v = {0};
    TRY(ask_keys(m, &v.list, e));
    if (control_destroyed(m->control, &v.destroyed, &v.destroyed_count, e) != ERR_OK) {
        manage_view_drop(&v);
        return e->code;
    }
    v.view = (struct control_view){v.list->keys, v.list->n_keys, v.destroyed, v.destroyed_count};
    *out_view = v;
    return ERR_OK;
}

/* ---- Orders ---- */

/* What does more than look. */
static bool changes_keys(const Posward__Hsm__V1__KeyOrder *order)
{
    return order->action_case != POSWARD__HSM__V1__KEY_ORDER__ACTION_COMPONENT &&
           order->action_case != POSWARD__HSM__V1__KEY_ORDER__ACTION_TRANSPORT;
}

enum err_code manage_order(struct manage *m, const Posward__Hsm__V1__KeyOrder *order,
                           ControlOutcome **out_outcome, bool *out_lost, struct err *e)
{
    *out_lost = false;
    if (changes_keys(order))
        TRY(front_pool_may_change_keys(&m->front->pool, e));
    AUTO(front_reply) reply = {0};
    const size_t len = posward__hsm__v1__key_order__get_packed_size(order);
    uint8_t *const body = malloc(len + 1);
    if (body == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a key order");
    posward__hsm__v1__key_order__pack(order, body);
    const struct ipc_frame question = {
        .method = IPC_METHOD(IPC_INTERNAL, IPC_KEY_ORDER), .body = body, .body_len = len};
    const enum err_code code = front_ask_wait(m->front, &question, &reply, e);
    free(body);
    *out_lost = code != ERR_OK && reply.lost;
    TRY(code);
    *out_outcome = posward__hsm__v1__key_outcome__unpack(NULL, reply.len, reply.body);
    return *out_outcome != NULL ? ERR_OK : err_set(e, ERR_INTERNAL, "a keeper gave an outcome that is none");
}

/* A rotation is the creation of the next version. */
struct order {
    Posward__Hsm__V1__KeyOrder message;
    Posward__Hsm__V1__CreateKey create;
    ProtobufCBinaryData components[CONTROL_COMPONENTS_MOST];
};

static void fill_order(const ControlRequest *r, struct order *o)
{
    posward__hsm__v1__key_order__init(&o->message);
    posward__hsm__v1__create_key__init(&o->create);
    switch (r->action_case) {
    case ACTION(CREATE):
        o->message.action_case = POSWARD__HSM__V1__KEY_ORDER__ACTION_CREATE;
        o->message.create = r->create;
        break;
    case ACTION(ROTATE):
        o->create.key = r->rotate->key;
        o->create.pre_active = r->rotate->pre_active;
        o->message.action_case = POSWARD__HSM__V1__KEY_ORDER__ACTION_CREATE;
        o->message.create = &o->create;
        break;
    case ACTION(IMPORT):
        o->message.action_case = POSWARD__HSM__V1__KEY_ORDER__ACTION_IMPORT;
        o->message.import = r->import;
        break;
    case ACTION(ACTIVATE):
        o->message.action_case = POSWARD__HSM__V1__KEY_ORDER__ACTION_ACTIVATE;
        o->message.activate = r->activate;
        break;
    case ACTION(DEACTIVATE):
        o->message.action_case = POSWARD__HSM__V1__KEY_ORDER__ACTION_DEACTIVATE;
        o->message.deactivate = r->deactivate;
        break;
    case ACTION(DESTROY):
        o->message.action_case = POSWARD__HSM__V1__KEY_ORDER__ACTION_DESTROY;
        o->message.destroy = r->destroy;
        break;
    case ACTION(POLICY):
    case ACTION(_NOT_SET):
    case _POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION__CASE_IS_INT_SIZE:
        break;
    }
}

enum err_code manage_check(struct manage *m, const ControlRequest *request, ControlOutcome **out_outcome,
                           struct err *e)
{
    struct order o;
    bool lost = false;
    *out_outcome = NULL;
    fill_order(request, &o);
    if (o.message.action_case == POSWARD__HSM__V1__KEY_ORDER__ACTION__NOT_SET)
        return ERR_OK;
    o.message.check_only = true;
    return manage_order(m, &o.message, out_outcome, &lost, e);
}

static enum err_code order_of(struct manage *m, const struct control_proposal *p,
                              ControlOutcome **out_outcome, bool *out_lost, struct err *e)
{
    struct order o;
    fill_order(p->request, &o);
    for (size_t i = 0; i < p->component_count; i++)
        o.components[i] =
            (ProtobufCBinaryData){p->components[i].len, (uint8_t *)(uintptr_t)p->components[i].ciphertext};
    o.message.n_components = p->component_count;
    o.message.components = o.components;
    return manage_order(m, &o.message, out_outcome, out_lost, e);
}

/* ---- Keepers that see it ---- */

/* Every keeper that takes calls was started after `mark`. */
static bool is_renewed(struct front *f, unsigned mark)
{
    bool renewed = true;
    pthread_mutex_lock(&f->lock);
    unsigned fresh = 0;
    for (size_t i = 0; i < FRONT_KEEPERS; i++) {
        const struct front_keeper *const k = &f->keepers[i];
        const bool serves = k->state == KEEPER_READY || k->state == KEEPER_RETIRING;
        renewed &= !serves || k->number > mark;
        fresh += k->state == KEEPER_READY && k->number > mark;
    }
    renewed &= fresh > 0;
    pthread_mutex_unlock(&f->lock);
    return renewed;
}

/* False: it takes longer; the change is in force when they are. */
static bool renew_keepers(struct manage *m)
{
    struct front *const f = m->front;
    pthread_mutex_lock(&f->lock);
    const unsigned mark = f->next_number;
    pthread_mutex_unlock(&f->lock);
    front_reload(f);
    const int64_t until_ms = clock_monotonic_ms() + f->config->start_ms + f->config->hang_ms;
    while (!is_renewed(f, mark)) {
        if (clock_monotonic_ms() >= until_ms || atomic_load(&m->stopping))
            return false;
        clock_sleep_ms(POLL_MS);
    }
    return true;
}

/* ---- Policy ---- */

void manage_apply_policy(struct manage *m)
{
    const struct control_policy p = control_policy_now(m->control);
    const struct limits_policy limits = {
        .rows = {[LIMITS_TERMINAL] = {p.pin[CONTROL_PIN_TERMINAL_MINUTE], p.pin[CONTROL_PIN_TERMINAL_HOUR]},
                 [LIMITS_ACCOUNT] = {p.pin[CONTROL_PIN_ACCOUNT_MINUTE], p.pin[CONTROL_PIN_ACCOUNT_HOUR]}}};
    admit_set(m->front->admit, &limits);
    atomic_store(&m->front->in_token, p.in_token);
}

/* ---- Execution ---- */

static enum err_code finish(struct manage *m, const struct control_caller *caller, struct control_proposal *p,
                            const struct control_end *end, struct err *e)
{
    struct control_proposal after = {0};
    TRY(control_finish(m->control, caller, p->id, end, &after, e));
    control_proposal_drop(p);
    *p = after;
    return ERR_OK;
}

static enum err_code execute_policy(struct manage *m, const struct control_caller *caller,
                                    struct control_proposal *p, struct err *e)
{
    const bool was_in_token = atomic_load(&m->front->in_token);
    const struct control_end end = {.detail = "in force"};
    TRY(finish(m, caller, p, &end, e));
    manage_apply_policy(m);
    if (atomic_load(&m->front->in_token) != was_in_token)
        (void)renew_keepers(m);
    return ERR_OK;
}

static enum err_code succeed(struct manage *m, const struct control_caller *caller,
                             struct control_proposal *p, const ControlOutcome *outcome, struct err *e)
{
    /* Keepers first: who reads EXECUTED may rely on it. */
    const struct control_end end = {.outcome = outcome,
                                    .detail = renew_keepers(m)
                                                  ? "in force on every keeper"
                                                  : "done; in force as soon as keepers are replaced"};
    return finish(m, caller, p, &end, e);
}

static enum err_code fail(struct manage *m, const struct control_caller *caller, struct control_proposal *p,
                          const struct err *why, struct err *e)
{
    const struct control_end end = {.failure = why, .detail = why->note};
    return finish(m, caller, p, &end, e);
}

/* What a destruction leaves to tell: the key as it was when it was proposed, now destroyed. */
static const ControlOutcome *gone(struct control_proposal *p)
{
    if (p->request->action_case == ACTION(DESTROY) && p->outcome != NULL && p->outcome->n_keys > 0)
        p->outcome->keys[0]->state = POSWARD__HSM__V1__KEY_STATE__KEY_STATE_DESTROYED;
    return p->outcome;
}

static enum err_code settle_done(struct manage *m, const struct control_caller *caller,
                                 struct control_proposal *p, const struct manage_view *v, struct err *e)
{
    ControlOutcome found = POSWARD__HSM__V1__KEY_OUTCOME__INIT;
    ControlKey *keys[] = {(ControlKey *)(uintptr_t)control_key_of(&v->view, control_request_key(p->request))};
    found.keys = keys;
    found.n_keys = 1;
    return succeed(m, caller, p, keys[0] != NULL ? &found : gone(p), e);
}

/* The answer was lost: the token's keys tell. Keepers know those of their start, so only what one says that
 * started after the order counts. *out_again: it was not done, and may be ordered once more. */
static enum err_code settle(struct manage *m, const struct control_caller *caller, struct control_proposal *p,
                            bool *out_again, struct err *e)
{
    struct manage_view v = {0};
    struct err unclear = {0};
    *out_again = false;
    if (!renew_keepers(m))
        return err_set(e, ERR_UNAVAILABLE,
                       "agreed; whether the token did it is known once a new keeper has looked");
    TRY(manage_look(m, &v, e));
    const enum control_trace trace = control_look(p->request, &v.view);
    enum err_code code = ERR_OK;
    if (trace == CONTROL_DONE) {
        code = settle_done(m, caller, p, &v, e);
    } else if (trace == CONTROL_UNCLEAR || p->attempts >= CONTROL_ATTEMPTS_MOST) {
        (void)err_set(
            &unclear, ERR_UNAVAILABLE,
            "keepers ended over it and the token does not show it; see posward key list, and propose anew");
        code = fail(m, caller, p, &unclear, e);
    } else {
        *out_again = true;
    }
    manage_view_drop(&v);
    return code;
}

static enum err_code order_once(struct manage *m, const struct control_caller *caller,
                                struct control_proposal *p, bool *out_lost, struct err *e)
{
    ControlOutcome *outcome = NULL;
    struct control_proposal counted = {0};
    struct err why = {0};
    TRY(control_attempt(m->control, p->id, "the token is at it", &counted, e));
    control_proposal_drop(p);
    *p = counted;
    const enum err_code code = order_of(m, p, &outcome, out_lost, &why);
    /* A keeper of a service that was killed may have ended the first attempt beside this one. */
    *out_lost |= p->attempts > 1 && (code == ERR_EXISTS || code == ERR_NOT_FOUND || code == ERR_STATE);
    if (code == ERR_OK) {
        const enum err_code ended = succeed(m, caller, p, outcome, e);
        posward__hsm__v1__key_outcome__free_unpacked(outcome, NULL);
        return ended;
    }
    if (*out_lost)
        log_failure(LOG_WARN, "the outcome of a key order is not known yet", &why,
                    LOG_STR("proposal", p->id));
    else if (code == ERR_UNAVAILABLE) /* nothing was done; the manage thread comes back to it */
        return err_set(e, ERR_UNAVAILABLE, "agreed, and carried out as soon as a keeper can: %.120s",
                       why.note);
    else
        return fail(m, caller, p, &why, e);
    return ERR_OK;
}

static enum err_code carry_out(struct manage *m, const struct control_caller *caller,
                               struct control_proposal *p, struct err *e)
{
    if (p->request->action_case == ACTION(POLICY))
        return execute_policy(m, caller, p, e);
    bool lost = p->attempts > 0; /* somebody was at it before */
    while (p->state == CONTROL_EXECUTING) {
        bool again = true;
        if (lost)
            TRY(settle(m, caller, p, &again, e));
        if (again && p->state == CONTROL_EXECUTING)
            TRY(order_once(m, caller, p, &lost, e));
    }
    return ERR_OK;
}

enum err_code manage_execute(struct manage *m, const struct control_caller *caller,
                             struct control_proposal *p, struct err *e)
{
    struct control_proposal now = {0};
    pthread_mutex_lock(&m->executing);
    enum err_code code = control_get(m->control, p->id, &now, e); /* as it is, once it is our turn */
    if (code == ERR_OK) {
        control_proposal_drop(p);
        *p = now;
        code = carry_out(m, caller, p, e);
    }
    pthread_mutex_unlock(&m->executing);
    return code;
}

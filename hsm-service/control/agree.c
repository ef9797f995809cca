/* The way of a proposal: proposed, approved, given components, rejected, attempted, finished. */
#include "hsm-service/control/inside.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* ---- Propose ---- */

static enum err_code make_id(char out_id[CONTROL_ID_CHARACTERS + 1], struct err *e)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint8_t random[CONTROL_ID_CHARACTERS];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return err_errno(e, "no random bytes for a proposal's id");
    for (size_t i = 0; i < sizeof random; i++)
        out_id[i] = alphabet[random[i] % 32];
    out_id[sizeof random] = '\0';
    return ERR_OK;
}

/* It is read on terminals and in the log. UTF-8 was checked when the message came in. */
static enum err_code take_reason(const char *text, const char *field, char *out_reason, struct err *e)
{
    const size_t len = strlen(text);
    if (len == 0 || len >= CONTROL_REASON_BYTES)
        return err_set(e, ERR_INPUT, "%s has 1 to %d characters", field, CONTROL_REASON_BYTES - 1);
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)text[i] < ' ' || text[i] == 0x7F)
            return err_set(e, ERR_INPUT, "%s has a character that cannot be printed", field);
    memcpy(out_reason, text, len + 1);
    return ERR_OK;
}

static enum err_code check_open(struct control_store *s, const char *label, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    struct control_proposal *list = NULL;
    size_t count = 0;
    TRY(control_take(s, SQL_OPEN_OF_KEY, &statement, e));
    sqlite_bind_text(statement, 1, label);
    TRY(control_collect(s, statement, 1, &list, &count, e));
    const enum err_code code = count == 0
                                   ? ERR_OK
                                   : err_set(e, ERR_EXISTS, "proposal %s of %.80s is open already: %.60s",
                                             list[0].id, list[0].proposed_by, list[0].summary);
    control_proposals_free(list, count);
    return code;
}

static enum err_code check_room(struct control_store *s, const char *identity, struct err *e)
{
    const struct {
        const char *who;
        int64_t most;
    } rooms[] = {{"", CONTROL_PENDING_MOST}, {identity, CONTROL_PENDING_EACH}};
    for (size_t i = 0; i < 2; i++) {
        sqlite3_stmt *statement = NULL;
        int64_t count = 0;
        TRY(control_take(s, SQL_COUNT_PENDING_OF, &statement, e));
        sqlite_bind_text(statement, 1, rooms[i].who);
        TRY(control_number(s, statement, &count, e));
        if (count >= rooms[i].most)
            return err_set(e, ERR_LIMIT, "%lld proposals%s wait already; approve or reject some",
                           (long long)count, i == 0 ? "" : " of yours");
    }
    return ERR_OK;
}

struct proposing {
    struct control *control;
    const struct control_caller *caller;
    struct control_proposal *draft;
};

static enum err_code propose_step(struct control_store *s, void *context, struct err *e)
{
    struct proposing *const x = context;
    TRY(check_open(s, x->draft->label, e));
    TRY(check_room(s, x->caller->identity, e));
    TRY(control_insert(s, x->draft, e));
    return control_record_proposal(x->control, x->caller, "propose", x->draft, e);
}

static enum err_code propose(struct control *c, const struct control_caller *caller,
                             struct control_proposal *draft, struct err *e)
{
    struct proposing x = {c, caller, draft};
    const struct control_policy policy = control_policy_now(c);
    TRY(control_check_caller(caller, e));
    TRY(take_reason(draft->request->reason, "reason", draft->reason, e));
    TRY(make_id(draft->id, e));
    snprintf(draft->proposed_by, sizeof draft->proposed_by, "%s", caller->identity);
    draft->state = CONTROL_PENDING;
    draft->proposed_ms = caller->now_ms;
    draft->expires_ms = caller->now_ms + policy.expires_s * 1000;
    draft->approvals_needed = policy.approvals;
    return control_change(c, propose_step, &x, e);
}

enum err_code control_propose(struct control *c, const struct control_caller *caller,
                              struct control_proposal *draft, struct control_proposal *out_proposal,
                              struct err *e)
{
    if (propose(c, caller, draft, e) != ERR_OK) {
        control_proposal_drop(draft);
        return e->code;
    }
    *out_proposal = *draft;
    return ERR_OK;
}

/* ---- Approve, submit, reject, finish: a step on one proposal ---- */

static enum err_code expire_one(struct control *c, struct control_proposal *p, int64_t now_ms, struct err *e)
{
    const struct control_caller service = {.now_ms = now_ms};
    p->state = CONTROL_EXPIRED;
    p->closed_ms = now_ms;
    TRY(control_update(&c->store, p, e));
    return control_record_proposal(c, &service, "expire", p, e);
}

struct acting {
    struct control *control;
    const struct control_caller *caller;
    const char *id;
    const void *what; /* would_break, component, reason, end */
    enum err_code (*act)(struct acting *x, struct err *e);
    struct control_proposal proposal;
    bool expired;
};

static enum err_code act_step(struct control_store *s, void *context, struct err *e)
{
    struct acting *const x = context;
    struct control_proposal *const p = &x->proposal;
    TRY(control_find(s, x->id, p, e));
    x->expired = p->state == CONTROL_PENDING && x->caller->now_ms >= p->expires_ms;
    if (x->expired)
        return expire_one(x->control, p, x->caller->now_ms, e);
    const uint32_t now_needed = control_policy_merged(x->control).approvals;
    if (p->state == CONTROL_PENDING && now_needed > p->approvals_needed)
        p->approvals_needed = now_needed;
    return x->act(x, e);
}

static enum err_code act(struct acting *x, struct control_proposal *out_proposal, struct err *e)
{
    enum err_code code = control_change(x->control, act_step, x, e);
    if (code == ERR_OK && x->expired)
        code = err_set(e, ERR_STATE, "proposal %s has expired; propose anew", x->id);
    if (code == ERR_OK)
        *out_proposal = x->proposal;
    else
        control_proposal_drop(&x->proposal);
    return code;
}

static enum err_code check_pending(const struct control_proposal *p, struct err *e)
{
    if (p->state != CONTROL_PENDING)
        return err_set(e, ERR_STATE, "proposal %s is %s, not pending", p->id, control_state_name(p->state));
    return ERR_OK;
}

/* It has all that it needs: it is to be carried out. */
static enum err_code advance(struct acting *x, const char *what, struct err *e)
{
    struct control_proposal *const p = &x->proposal;
    if (control_is_complete(p))
        p->state = CONTROL_EXECUTING;
    TRY(control_update(&x->control->store, p, e));
    return control_record_proposal(x->control, x->caller, what, p, e);
}

static enum err_code check_other(const struct control_proposal *p, const char *identity, struct err *e)
{
    if (strcmp(p->proposed_by, identity) == 0)
        return err_set(e, ERR_DENIED, "%.100s proposed this: another operator must approve it", identity);
    for (size_t i = 0; i < p->approval_count; i++)
        if (strcmp(p->approvals[i].identity, identity) == 0)
            return err_set(e, ERR_DENIED, "%.100s approved this already: it waits for somebody else",
                           identity);
    return ERR_OK;
}

static enum err_code approve(struct acting *x, struct err *e)
{
    struct control_proposal *const p = &x->proposal;
    struct control_approval approval = {.at_ms = x->caller->now_ms};
    TRY(check_pending(p, e));
    if (check_other(p, x->caller->identity, e) != ERR_OK) {
        struct err unrecorded = {0}; /* it is refused either way */
        (void)!control_record_attempt(x->control, x->caller, "approve", p, e, &unrecorded);
        return e->code;
    }
    if (p->approval_count >= p->approvals_needed)
        return err_set(e, ERR_STATE, "proposal %s has its %u approvals; it waits for a component", p->id,
                       p->approvals_needed);
    snprintf(approval.identity, sizeof approval.identity, "%s", x->caller->identity);
    snprintf(p->would_break, sizeof p->would_break, "%s", (const char *)x->what);
    TRY(control_insert_approval(&x->control->store, p, &approval, e));
    return advance(x, "approve", e);
}

enum err_code control_approve(struct control *c, const struct control_caller *caller, const char *id,
                              const char *would_break, struct control_proposal *out_proposal, struct err *e)
{
    struct acting x = {.control = c, .caller = caller, .id = id, .what = would_break, .act = approve};
    TRY(control_check_caller(caller, e));
    return act(&x, out_proposal, e);
}

static enum err_code submit(struct acting *x, struct err *e)
{
    struct control_proposal *const p = &x->proposal;
    struct control_component component = *(const struct control_component *)x->what;
    const unsigned wanted = control_components_wanted(p);
    TRY(check_pending(p, e));
    if (wanted == 0)
        return err_set(e, ERR_STATE, "proposal %s is no import by components", p->id);
    for (size_t i = 0; i < p->component_count; i++)
        if (strcmp(p->components[i].identity, x->caller->identity) == 0)
            return err_set(e, ERR_DENIED, "%.100s gave component %zu: each custodian gives one",
                           x->caller->identity, i + 1);
    if (p->component_count >= wanted)
        return err_set(e, ERR_STATE, "proposal %s has its %u components", p->id, wanted);
    snprintf(component.identity, sizeof component.identity, "%s", x->caller->identity);
    component.at_ms = x->caller->now_ms;
    TRY(control_insert_component(&x->control->store, p, &component, e));
    return advance(x, "component", e);
}

enum err_code control_submit(struct control *c, const struct control_caller *caller, const char *id,
                             const struct control_component *component, struct control_proposal *out_proposal,
                             struct err *e)
{
    struct acting x = {.control = c, .caller = caller, .id = id, .what = component, .act = submit};
    TRY(control_check_caller(caller, e));
    if (component->len == 0 || component->len > CONTROL_COMPONENT_BYTES)
        return err_set(e, ERR_INPUT, "component has 1 to %d bytes", CONTROL_COMPONENT_BYTES);
    return act(&x, out_proposal, e);
}

static enum err_code reject(struct acting *x, struct err *e)
{
    struct control_proposal *const p = &x->proposal;
    TRY(check_pending(p, e));
    p->state = CONTROL_REJECTED;
    p->closed_ms = x->caller->now_ms;
    snprintf(p->closed_by, sizeof p->closed_by, "%s", x->caller->identity);
    snprintf(p->detail, sizeof p->detail, "%s", (const char *)x->what);
    TRY(control_update(&x->control->store, p, e));
    return control_record_proposal(x->control, x->caller, "reject", p, e);
}

enum err_code control_reject(struct control *c, const struct control_caller *caller, const char *id,
                             const char *reason, struct control_proposal *out_proposal, struct err *e)
{
    char checked[CONTROL_REASON_BYTES] = "";
    struct acting x = {.control = c, .caller = caller, .id = id, .what = checked, .act = reject};
    TRY(control_check_caller(caller, e));
    if (reason[0] != '\0')
        TRY(take_reason(reason, "reason", checked, e));
    return act(&x, out_proposal, e);
}

static enum err_code count_attempt(struct acting *x, struct err *e)
{
    struct control_proposal *const p = &x->proposal;
    if (p->state != CONTROL_EXECUTING)
        return err_set(e, ERR_STATE, "proposal %s is %s, not executing", p->id, control_state_name(p->state));
    p->attempts++;
    snprintf(p->detail, sizeof p->detail, "%s", (const char *)x->what);
    return control_update(&x->control->store, p, e);
}

enum err_code control_attempt(struct control *c, const char *id, const char *detail,
                              struct control_proposal *out_proposal, struct err *e)
{
    const struct control_caller service = {0};
    struct acting x = {.control = c, .caller = &service, .id = id, .what = detail, .act = count_attempt};
    return act(&x, out_proposal, e);
}

static enum err_code finish(struct acting *x, struct err *e)
{
    const struct control_end *const end = x->what;
    struct control_proposal *const p = &x->proposal;
    if (p->state != CONTROL_EXECUTING)
        return err_set(e, ERR_STATE, "proposal %s is %s, not executing", p->id, control_state_name(p->state));
    return control_end_proposal(x->control, x->caller, p, end, e);
}

enum err_code control_finish(struct control *c, const struct control_caller *caller, const char *id,
                             const struct control_end *end, struct control_proposal *out_proposal,
                             struct err *e)
{
    struct acting x = {.control = c, .caller = caller, .id = id, .what = end, .act = finish};
    TRY(act(&x, out_proposal, e));
    control_adopt_policy(c, out_proposal);
    return ERR_OK;
}

/* What readers ask, and the clock. */
#include "hsm-service/control/inside.h"

#include <stdlib.h>
#include <string.h>

#define EXPIRE_A_TURN  20
#define EXECUTING_MOST CONTROL_PENDING_MOST

enum err_code control_get(struct control *c, const char *id, struct control_proposal *out_proposal,
                          struct err *e)
{
    pthread_mutex_lock(&c->lock);
    const enum err_code code = control_find(&c->store, id, out_proposal, e);
    pthread_mutex_unlock(&c->lock);
    return code;
}

/* Statements that give proposals: what stands for ?1 and ?2, and how many at most. */
struct query {
    enum control_sql which;
    const char *label; /* NULL: `number` is meant */
    int64_t number, until_ms;
    size_t capacity;
};

static enum err_code collect(struct control *c, const struct query *q,
                             struct control_proposal **out_proposals, size_t *out_count, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    TRY(control_take(&c->store, q->which, &statement, e));
    if (q->label != NULL)
        sqlite_bind_text(statement, 1, q->label);
    else
        sqlite3_bind_int64(statement, 1, q->number);
    if (q->which == SQL_PROPOSALS_IN_STATE)
        sqlite3_bind_int64(statement, 2, q->until_ms);
    sqlite3_bind_int64(statement, q->which == SQL_PROPOSALS_IN_STATE ? 3 : 2, (int64_t)q->capacity);
    return control_collect(&c->store, statement, q->capacity, out_proposals, out_count, e);
}

static enum err_code ask(struct control *c, const struct query *q, struct control_proposal **out_proposals,
                         size_t *out_count, struct err *e)
{
    pthread_mutex_lock(&c->lock);
    const enum err_code code = collect(c, q, out_proposals, out_count, e);
    pthread_mutex_unlock(&c->lock);
    return code;
}

enum err_code control_list(struct control *c, bool all, struct control_proposal **out_proposals,
                           size_t *out_count, struct err *e)
{
    const struct query q = {.which = SQL_PROPOSALS, .number = all, .capacity = CONTROL_LIST_MOST};
    return ask(c, &q, out_proposals, out_count, e);
}

enum err_code control_about(struct control *c, const char *label, size_t capacity,
                            struct control_proposal **out_proposals, size_t *out_count, struct err *e)
{
    const struct query q = {.which = SQL_PROPOSALS_OF_KEY, .label = label, .capacity = capacity};
    return ask(c, &q, out_proposals, out_count, e);
}

enum err_code control_executing(struct control *c, struct control_proposal **out_proposals, size_t *out_count,
                                struct err *e)
{
    const struct query q = {.which = SQL_PROPOSALS_IN_STATE,
                            .number = CONTROL_EXECUTING,
                            .until_ms = INT64_MAX,
                            .capacity = EXECUTING_MOST};
    return ask(c, &q, out_proposals, out_count, e);
}

/* ---- The clock ---- */

struct expiring {
    struct control *control;
    int64_t now_ms;
};

static enum err_code expire_step(struct control_store *s, void *context, struct err *e)
{
    const struct expiring *const x = context;
    const struct control_caller service = {.now_ms = x->now_ms};
    const struct query q = {.which = SQL_PROPOSALS_IN_STATE,
                            .number = CONTROL_PENDING,
                            .until_ms = x->now_ms,
                            .capacity = EXPIRE_A_TURN};
    struct control_proposal *list = NULL;
    size_t count = 0;
    TRY(collect(x->control, &q, &list, &count, e));
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        list[i].state = CONTROL_EXPIRED;
        list[i].closed_ms = x->now_ms;
        code = control_update(s, &list[i], e);
        if (code == ERR_OK)
            code = control_record_proposal(x->control, &service, "expire", &list[i], e);
    }
    control_proposals_free(list, count);
    return code;
}

enum err_code control_expire(struct control *c, int64_t now_ms, struct err *e)
{
    struct expiring x = {c, now_ms};
    return control_change(c, expire_step, &x, e);
}

/* ---- Counts ---- */

static enum err_code count_states(struct control *c, struct control_counts *out_counts, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    TRY(control_take(&c->store, SQL_COUNT_STATES, &statement, e));
    TRY(sqlite_step(&c->store.link, statement, &row, e));
    while (row) {
        const int state = sqlite3_column_int(statement, 0);
        if (state > 0 && state < CONTROL_STATE_COUNT)
            out_counts->by_state[state] = (uint64_t)sqlite3_column_int64(statement, 1);
        if (state == CONTROL_PENDING)
            out_counts->oldest_pending_ms = sqlite3_column_int64(statement, 2);
        TRY(sqlite_step(&c->store.link, statement, &row, e));
    }
    return ERR_OK;
}

enum err_code control_count(struct control *c, struct control_counts *out_counts, struct err *e)
{
    struct control_counts counts = {0};
    pthread_mutex_lock(&c->lock);
    const enum err_code code = count_states(c, &counts, e);
    pthread_mutex_unlock(&c->lock);
    if (code == ERR_OK)
        *out_counts = counts;
    return code;
}

/* ---- The policy ---- */

struct control_policy control_policy_merged(const struct control *c)
{
    return control_policy_stricter(&c->options.configured, &c->changed);
}

struct control_policy control_policy_now(struct control *c)
{
    pthread_mutex_lock(&c->lock);
    const struct control_policy policy = control_policy_merged(c);
    pthread_mutex_unlock(&c->lock);
    return policy;
}

enum err_code control_check_operators(const Posward__Hsm__V1__Policy *change, size_t operators, struct err *e)
{
    return change->approvals <= operators
               ? ERR_OK
               : err_set(e, ERR_STATE, "approvals %u, but only %zu identities have role operator",
                         change->approvals, operators);
}

enum err_code control_policy_check(struct control *c, const Posward__Hsm__V1__Policy *change, struct err *e)
{
    struct control_policy before, after;
    pthread_mutex_lock(&c->lock);
    before = c->changed;
    pthread_mutex_unlock(&c->lock);
    TRY(control_policy_read(change, &before, &after, e));
    const struct control_policy now = control_policy_stricter(&c->options.configured, &before),
                                then = control_policy_stricter(&c->options.configured, &after);
    bool differs =
        now.in_token != then.in_token || now.approvals != then.approvals || now.expires_s != then.expires_s;
    for (int i = 0; i < CONTROL_PIN_LIMITS; i++)
        differs |= now.pin[i] != then.pin[i];
    return differs
               ? ERR_OK
               : err_set(e, ERR_INPUT,
                         "the policy would stay as it is: the configuration is the outer bound, and what is "
                         "stricter applies");
}

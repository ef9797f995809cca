#include "hsm-service/gate/admit.h"

#include "base/clock.h"
#include "run/prometheus.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct admit {
    struct limits *limits;
    struct limits_policy configured;
};

/* ---- Which limits there are, and what a refusal says ---- */

static const struct window_row {
    size_t per_minute, per_hour; /* of struct hsm_config; 0: there is none */
    const char *too_many;        /* one %s: the name below */
    enum { NAME_TERMINAL, NAME_ZONE, NAME_ACCOUNT, NAME_SOURCE, NAME_CALLER } name;
} windows[LIMITS_WINDOW_COUNT] = {
    [LIMITS_TERMINAL] = {offsetof(struct hsm_config, pin_terminal_per_minute),
                         offsetof(struct hsm_config, pin_terminal_per_hour),
                         "too many PIN operations of the terminal with PSAM %s", NAME_TERMINAL},
    [LIMITS_ZONE] = {offsetof(struct hsm_config, pin_zone_per_minute),
                     offsetof(struct hsm_config, pin_zone_per_hour), "too many PIN operations from zone %s",
                     NAME_ZONE},
    [LIMITS_TERMINAL_ACCOUNTS] = {0, offsetof(struct hsm_config, pin_terminal_accounts_per_hour),
                                  "too many different accounts at the terminal with PSAM %s", NAME_TERMINAL},
    [LIMITS_ACCOUNT] = {offsetof(struct hsm_config, pin_account_per_minute),
                        offsetof(struct hsm_config, pin_account_per_hour),
                        "too many PIN operations of account (by its HMAC) %s", NAME_ACCOUNT},
    [LIMITS_FAILURE_KEY] = {0, offsetof(struct hsm_config, pin_failures_key_per_hour),
                            "too many PIN blocks of %s did not decode", NAME_SOURCE},
    [LIMITS_FAILURE_ACCOUNT] = {0, offsetof(struct hsm_config, pin_failures_account_per_hour),
                                "too many PIN blocks of account (by its HMAC) %s did not decode",
                                NAME_ACCOUNT},
    [LIMITS_FAILURE_CALLER] = {0, offsetof(struct hsm_config, pin_failures_caller_per_hour),
                               "too many PIN blocks of caller %s did not decode", NAME_CALLER},
};

static unsigned configured_count(const struct hsm_config *c, size_t offset)
{
    int64_t value = 0;
    if (offset != 0)
        memcpy(&value, (const char *)c + offset, sizeof value);
    return (unsigned)value;
}

static struct limits_policy policy_of(const struct hsm_config *c)
{
    struct limits_policy policy;
    for (size_t i = 0; i < LIMITS_WINDOW_COUNT; i++)
        policy.rows[i] = (struct limits_row){configured_count(c, windows[i].per_minute),
                                             configured_count(c, windows[i].per_hour)};
    return policy;
}

static enum err_code make_limits(struct admit *a, const struct hsm_config *c, struct err *e)
{
    struct limits_quota *const quotas = calloc(c->quotas.count + 1, sizeof *quotas);
    if (quotas == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the limits");
    const struct hsm_quota *const rows = c->quotas.items;
    for (size_t i = 0; i < c->quotas.count; i++)
        quotas[i] =
            (struct limits_quota){rows[i].identity, (unsigned)rows[i].per_second, (unsigned)rows[i].burst};
    quotas[c->quotas.count] =
        (struct limits_quota){"", (unsigned)c->caller_per_second, (unsigned)c->caller_burst};
    a->configured = policy_of(c);
    const enum err_code code = limits_new(&a->configured, quotas, c->quotas.count + 1, &a->limits, e);
    free(quotas);
    return code;
}

enum err_code admit_new(const struct hsm_config *config, struct admit **out_admit, struct err *e)
{
    struct admit *const a = calloc(1, sizeof *a);
    if (a == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the limits");
    const enum err_code code = make_limits(a, config, e);
    if (code != ERR_OK) {
        free(a);
        return code;
    }
    *out_admit = a;
    return ERR_OK;
}

void admit_free(struct admit *a)
{
    if (a == NULL)
        return;
    limits_free(a->limits);
    free(a);
}

void admit_set(struct admit *a, const struct limits_policy *policy)
{
    const struct limits_policy applies = limits_stricter(&a->configured, policy);
    limits_set(a->limits, &applies);
}

/* ---- Quotas ---- */

static long long seconds(int64_t ms)
{
    return (long long)(ms + 999) / 1000;
}

enum err_code admit_quota(struct admit *a, const struct admit_caller *caller, const struct facts *facts,
                          struct err *e)
{
    char identity[IPC_IDENTITY_BYTES + 1];
    if (!facts_is_data_plane(facts->method))
        return ERR_OK;
    snprintf(identity, sizeof identity, "%.*s", (int)caller->identity_len, caller->identity);
    const struct limits_verdict v =
        limits_caller(a->limits, identity, (unsigned)facts->items, clock_monotonic_ms());
    if (!v.refused)
        return ERR_OK;
    (void)err_set(e, ERR_LIMIT, "this caller's quota is used up: limits.quotas; try again in %lld s",
                  seconds(v.retry_ms));
    e->retry_ms = v.retry_ms;
    return ERR_LIMIT;
}

/* ---- PIN uses ---- */

/* Operations stand in the order of their items, so the one sought stands no later than at its item's number.
 */
static const struct facts_operation *operation_of(const struct facts *facts, uint16_t item)
{
    for (size_t i = item < facts->count ? item + 1U : facts->count; i > 0; i--)
        if (facts->operations[i - 1].item == item)
            return &facts->operations[i - 1];
    return NULL;
}

static struct limits_name source_zone(const struct facts_operation *o)
{
    for (size_t i = 0; i < o->key_count; i++)
        if (o->keys[i].part == FACTS_PART_PIN_SOURCE)
            return (struct limits_name){(const char *)o->keys[i].zone.data, o->keys[i].zone.len};
    return (struct limits_name){0};
}

static enum err_code refuse(struct admit *a, const struct limits_verdict *v, const struct limits_pin_use *use,
                            struct err *e)
{
    char account[9], name[LIMITS_NAME_MAX + 1];
    limits_account_name(a->limits, use->account, account);
    const struct window_row *const row = &windows[v->kind];
    const struct limits_name names[] = {
        [NAME_TERMINAL] = use->terminal,
        [NAME_ZONE] = use->zone,
        [NAME_ACCOUNT] = {account, strlen(account)},
        [NAME_SOURCE] = use->terminal.len > 0 ? use->terminal : use->zone,
        [NAME_CALLER] = use->caller,
    };
    snprintf(name, sizeof name, "%.*s", (int)names[row->name].len, names[row->name].text);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the table above */
    (void)err_set(e, ERR_LIMIT, row->too_many, name);
#pragma GCC diagnostic pop
    const size_t at = strlen(e->note);
    snprintf(e->note + at, sizeof e->note - at, "; try again in %lld s", seconds(v->retry_ms));
    e->retry_ms = v->retry_ms;
    return ERR_LIMIT;
}

static enum err_code count_use(struct admit *a, const struct admit_caller *caller,
                               const struct facts_operation *o, const struct ipc_pin_use *counted,
                               struct err *e)
{
    char terminal[FACTS_PSAM_BYTES];
    facts_terminal(o, terminal);
    static const char anonymous[] = "anonymous"; /* under tls.insecure, all of them together */
    const bool known = caller->identity_len > 0;
    const struct limits_pin_use use = {
        .terminal = {terminal, strlen(terminal)},
        .zone = source_zone(o),
        .account = {counted->account, sizeof counted->account},
        .caller = {known ? caller->identity : anonymous, known ? caller->identity_len : sizeof anonymous - 1},
        .decoded = counted->decoded,
        .failed = counted->failed};
    const struct limits_verdict v = limits_pin(a->limits, &use, clock_monotonic_ms());
    return v.refused ? refuse(a, &v, &use, e) : ERR_OK;
}

enum err_code admit_answer(struct admit *a, const struct admit_caller *caller, const struct facts *facts,
                           const struct ipc_frame *answer, struct refusals *refusals,
                           struct admit_told *out_told, struct err *e)
{
    *out_told = (struct admit_told){0};
    for (size_t i = 0; i < answer->pin_use_count; i++) {
        const struct ipc_pin_use use = ipc_pin_use_at(answer, i);
        const struct facts_operation *const o = operation_of(facts, use.item);
        struct err why = {0};
        if (o == NULL || (o->classes & FACTS_PIN) == 0)
            return err_set(e, ERR_INTERNAL, "a keeper worked on a PIN that the request does not have");
        if (count_use(a, caller, o, &use, &why) == ERR_OK)
            continue;
        if (!facts->batch) {
            *e = why;
            return why.code;
        }
        if (out_told->count++ == 0)
            out_told->first = why;
        TRY(refusals_add(refusals, use.item, &why, e));
    }
    return ERR_OK;
}

void admit_metrics(struct admit *a, struct prometheus *page)
{
    const struct limits_counts counts = limits_counts(a->limits);
    prometheus_family(page, "posward_hsm_limit_refusals_total", PROMETHEUS_COUNTER,
                      "Operations refused for being too many, by what met its limit.");
    for (int kind = 0; kind < LIMITS_KIND_COUNT; kind++) {
        const struct prometheus_label labels[] = {{"kind", limits_kind_name((enum limits_kind)kind)}, {0}};
        prometheus_count(page, labels, counts.refused[kind]);
    }
    const struct prometheus_row rows[] = {
        {"posward_hsm_limit_entries", PROMETHEUS_GAUGE, "Names that are counted and remembered.",
         counts.entries},
        {"posward_hsm_limit_forgotten_total", PROMETHEUS_COUNTER,
         "Names that made room for others while they still counted.", counts.forgotten},
    };
    prometheus_rows(page, rows, sizeof rows / sizeof rows[0]);
}

#include "hsm-service/front/limits.h"

#include "base/clock.h"
#include "hsm-service/front/audit.h"
#include "hsm-service/front/blob_head.h"
#include "hsm-service/front/facts.h"
#include "rpc/server.h"
#include "run/prometheus.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS_A_SECOND 20 /* of refusals; more are counted, and told by the next record */
#define ITEMS_MOST       (8 * IPC_REFUSED_BYTES)
#define METHOD_PREFIX    "/posward.hsm.v1.DataPlane/"

/* proto/posward/hsm/v1/hsm.proto */
enum {
    BATCH_ITEMS = 1,
    ITEM_TRANSLATE = 3,
    ITEM_TRANSACTION = 6,
    TRANSACTION_PIN = 2,
    PIN_SOURCE = 1,
    PIN_PAN = 5,
    REF_BLOB = 1,
    BATCH_RESULTS = 1,
    RESULT_TRANSACTION = 8,
    OUTCOME_MAC = 1,
    OUTCOME_PIN = 2
};

struct front_limits {
    struct limits *limits;
    struct front_audit *audit;
    struct limits_policy configured;
    pthread_mutex_t lock; /* all below */
    int64_t second;
    unsigned recorded; /* in that second */
    uint64_t unrecorded;
};

static struct limits_policy policy_of(const struct hsm_config *c)
{
    return (struct limits_policy){(unsigned)c->pin_terminal_per_minute, (unsigned)c->pin_terminal_per_hour,
                                  (unsigned)c->pin_account_per_minute, (unsigned)c->pin_account_per_hour};
}

enum err_code front_limits_new(const struct hsm_config *c, struct front_audit *audit,
                               struct front_limits **out_limits, struct err *e)
{
    struct front_limits *const l = calloc(1, sizeof *l);
    struct limits_quota *const quotas = calloc(c->quotas.count + 1, sizeof *quotas);
    if (l == NULL || quotas == NULL) {
        free(l);
        free(quotas);
        return err_set(e, ERR_LIMIT, "no memory for the limits");
    }
    l->configured = policy_of(c);
    l->audit = audit;
    const struct hsm_quota *const rows = c->quotas.items;
    for (size_t i = 0; i < c->quotas.count; i++)
        quotas[i] =
            (struct limits_quota){rows[i].identity, (unsigned)rows[i].per_second, (unsigned)rows[i].burst};
    quotas[c->quotas.count] =
        (struct limits_quota){"", (unsigned)c->caller_per_second, (unsigned)c->caller_burst};
    const enum err_code code = limits_new(&l->configured, quotas, c->quotas.count + 1, &l->limits, e);
    free(quotas);
    if (code != ERR_OK) {
        free(l);
        return code;
    }
    pthread_mutex_init(&l->lock, NULL);
    *out_limits = l;
    return ERR_OK;
}

void front_limits_free(struct front_limits *l)
{
    if (l == NULL)
        return;
    limits_free(l->limits);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void front_limits_set(struct front_limits *l, const struct limits_policy *policy)
{
    const struct limits_policy applies = limits_stricter(&l->configured, policy);
    limits_set(l->limits, &applies);
}

struct limits_policy front_limits_get(struct front_limits *l)
{
    return limits_get(l->limits);
}

/* ---- Whose PIN ---- */

struct pin_use {
    char terminal[BLOB_NUMBER_MOST + 1]; /* "" where the source is no blob, or no sound one */
    struct limits_digits account;
};

static struct pin_use use_of(struct wire_bytes translate)
{
    struct pin_use use;
    const struct wire_bytes pan = wire_find(translate, PIN_PAN).bytes;
    struct blob_head head;
    (void)blob_head_read(wire_find(wire_find(translate, PIN_SOURCE).bytes, REF_BLOB).bytes, &head);
    memcpy(use.terminal, head.terminal, sizeof use.terminal);
    use.account = (struct limits_digits){(const char *)pan.data, pan.len};
    return use;
}

/* The PIN part of a call or item; false: it has none. */
static bool pin_part(const char *method, struct wire_bytes message, struct wire_bytes *out_translate)
{
    if (strcmp(method, "TranslatePin") == 0)
        *out_translate = message;
    else if (strcmp(method, "ProcessTransaction") == 0)
        *out_translate = wire_find(message, TRANSACTION_PIN).bytes;
    else
        return false;
    return out_translate->data != NULL;
}

static bool pin_item(struct wire_bytes item, struct wire_bytes *out_translate)
{
    const struct wire_bytes translate = wire_find(item, ITEM_TRANSLATE).bytes,
                            transaction = wire_find(item, ITEM_TRANSACTION).bytes;
    return pin_part("TranslatePin", translate, out_translate) ||
           (transaction.data != NULL && pin_part("ProcessTransaction", transaction, out_translate));
}

static struct limits_verdict count_pin(struct front_limits *l, struct wire_bytes translate,
                                       struct pin_use *out_use)
{
    *out_use = use_of(translate);
    const struct limits_digits terminal = {out_use->terminal, strlen(out_use->terminal)};
    return limits_pin(l->limits, terminal, out_use->account, clock_monotonic_ms());
}

/* ---- Refusing ---- */

static long long seconds(int64_t ms)
{
    return (long long)(ms + 999) / 1000;
}

static enum err_code refuse_pin(struct front_limits *l, const struct limits_verdict *v,
                                const struct pin_use *use, struct err *e)
{
    char account[9];
    limits_account_name(l->limits, use->account, account);
    const bool terminal = v->kind == LIMITS_TERMINAL;
    (void)err_set(e, ERR_LIMIT, "too many PIN operations of %s %s; try again in %lld s",
                  terminal ? "the terminal with PSAM" : "account (by its HMAC)",
                  terminal ? use->terminal : account, seconds(v->retry_ms));
    e->retry_ms = v->retry_ms;
    return ERR_LIMIT;
}

/* How many went by unrecorded, when this one may be recorded; -1: it may not. */
static int64_t take_turn(struct front_limits *l)
{
    const int64_t second = clock_monotonic_ms() / 1000;
    int64_t missed = -1;
    pthread_mutex_lock(&l->lock);
    if (second != l->second) {
        l->second = second;
        l->recorded = 0;
    }
    if (l->recorded < RECORDS_A_SECOND) {
        l->recorded++;
        missed = (int64_t)l->unrecorded;
        l->unrecorded = 0;
    } else {
        l->unrecorded++;
    }
    pthread_mutex_unlock(&l->lock);
    return missed;
}

static void record(struct front_limits *l, const struct rpc_call *call, const char *method,
                   const struct err *why)
{
    struct err told = *why;
    char path[96];
    const int64_t missed = take_turn(l);
    if (missed < 0)
        return;
    const size_t at = strlen(told.note);
    if (missed > 0)
        snprintf(told.note + at, sizeof told.note - at, " (and %" PRId64 " refusals before it)", missed);
    snprintf(path, sizeof path, METHOD_PREFIX "%s", method);
    front_audit_refused(l->audit, call, path, &told);
}

static enum err_code admit_caller(struct front_limits *l, const struct ipc_frame *frame, unsigned operations,
                                  struct err *e)
{
    char identity[IPC_IDENTITY_BYTES + 1];
    const size_t len = frame->identity_len < sizeof identity ? frame->identity_len : sizeof identity - 1;
    memcpy(identity, frame->identity, len);
    identity[len] = '\0';
    const struct limits_verdict v = limits_caller(l->limits, identity, operations, clock_monotonic_ms());
    if (!v.refused)
        return ERR_OK;
    (void)err_set(e, ERR_LIMIT, "this caller's quota is used up: limits.quotas; try again in %lld s",
                  seconds(v.retry_ms));
    e->retry_ms = v.retry_ms;
    return ERR_LIMIT;
}

/* Marks the items that may not run. */
static void admit_items(struct front_limits *l, const struct rpc_call *call, struct ipc_frame *frame,
                        uint8_t refused[IPC_REFUSED_BYTES])
{
    struct wire_bytes batch = {frame->body, frame->body_len}, translate;
    struct wire_field f;
    size_t index = 0, count = 0;
    struct err first = {0};
    while (wire_take(&batch, &f) && index < ITEMS_MOST) {
        if (f.number != BATCH_ITEMS)
            continue;
        struct pin_use use;
        const size_t item = index++;
        if (!pin_item(f.bytes, &translate))
            continue;
        const struct limits_verdict v = count_pin(l, translate, &use);
        if (!v.refused)
            continue;
        refused[item / 8] |= (uint8_t)(1U << item % 8);
        if (count++ == 0)
            (void)refuse_pin(l, &v, &use, &first);
        if ((uint64_t)seconds(v.retry_ms) > frame->retry_s)
            frame->retry_s = (uint32_t)seconds(v.retry_ms);
    }
    if (count == 0)
        return;
    frame->refused = refused;
    frame->refused_len = IPC_REFUSED_BYTES;
    const size_t at = strlen(first.note);
    if (count > 1)
        snprintf(first.note + at, sizeof first.note - at, "; %zu items of this batch", count);
    record(l, call, "ProcessBatch", &first);
}

enum err_code front_limits_admit(struct front_limits *l, struct rpc_call *call, struct ipc_frame *frame,
                                 uint8_t out_refused[IPC_REFUSED_BYTES], struct err *e)
{
    const char *const method = facts_method(frame->method);
    const struct wire_bytes body = {frame->body, frame->body_len};
    struct wire_bytes translate;
    if (!facts_is_data_plane(frame->method))
        return ERR_OK;
    const bool batch = strcmp(method, "ProcessBatch") == 0;
    enum err_code code = admit_caller(l, frame, batch ? (unsigned)wire_count(body, BATCH_ITEMS) : 1, e);
    if (code == ERR_OK && batch) {
        memset(out_refused, 0, IPC_REFUSED_BYTES);
        admit_items(l, call, frame, out_refused);
    } else if (code == ERR_OK && pin_part(method, body, &translate)) {
        struct pin_use use;
        const struct limits_verdict v = count_pin(l, translate, &use);
        if (v.refused)
            code = refuse_pin(l, &v, &use, e);
    }
    if (code != ERR_OK)
        record(l, call, method, e);
    return code;
}

/* ---- Answers ---- */

static void undo(struct front_limits *l, struct wire_bytes transaction, struct wire_bytes outcome)
{
    struct wire_bytes translate;
    if (!pin_part("ProcessTransaction", transaction, &translate) ||
        wire_find(outcome, OUTCOME_MAC).bytes.data == NULL ||
        wire_find(outcome, OUTCOME_PIN).bytes.data != NULL)
        return;
    const struct pin_use use = use_of(translate);
    const struct limits_digits terminal = {use.terminal, strlen(use.terminal)};
    limits_pin_undone(l->limits, terminal, use.account, clock_monotonic_ms());
}

static void undo_items(struct front_limits *l, const struct ipc_frame *request, struct wire_bytes results)
{
    struct wire_bytes batch = {request->body, request->body_len};
    struct wire_field item, result;
    for (size_t index = 0; wire_take(&batch, &item);) {
        if (item.number != BATCH_ITEMS)
            continue;
        do {
            if (!wire_take(&results, &result))
                return;
        } while (result.number != BATCH_RESULTS);
        const size_t at = index++;
        const bool refused =
            request->refused != NULL && at < ITEMS_MOST && (request->refused[at / 8] >> at % 8 & 1);
        const struct wire_bytes outcome = wire_find(result.bytes, RESULT_TRANSACTION).bytes;
        if (!refused && outcome.data != NULL)
            undo(l, wire_find(item.bytes, ITEM_TRANSACTION).bytes, outcome);
    }
}

void front_limits_answer(struct front_limits *l, const uint8_t *packet, size_t packet_len,
                         const struct ipc_frame *answer)
{
    struct ipc_frame request;
    struct err e = {0};
    if (answer->kind != IPC_RESPONSE || packet == NULL ||
        ipc_decode(packet, packet_len, &request, &e) != ERR_OK || !facts_is_data_plane(request.method))
        return;
    const char *const method = facts_method(request.method);
    const struct wire_bytes outcome = {answer->body, answer->body_len};
    if (strcmp(method, "ProcessTransaction") == 0)
        undo(l, (struct wire_bytes){request.body, request.body_len}, outcome);
    else if (strcmp(method, "ProcessBatch") == 0)
        undo_items(l, &request, outcome);
}

void front_limits_metrics(struct front_limits *l, struct prometheus *page)
{
    const struct limits_counts counts = limits_counts(l->limits);
    prometheus_family(page, "posward_hsm_limit_refusals_total", PROMETHEUS_COUNTER,
                      "Operations refused for being too many, by what met its limit.");
    for (int kind = 0; kind < LIMITS_KIND_COUNT; kind++) {
        const struct prometheus_label labels[] = {{"kind", limits_kind_name((enum limits_kind)kind)}, {0}};
        prometheus_count(page, labels, counts.refused[kind]);
    }
    const struct prometheus_row rows[] = {
        {"posward_hsm_limit_entries", PROMETHEUS_GAUGE, "Terminals and accounts that are remembered.",
         counts.entries},
        {"posward_hsm_limit_forgotten_total", PROMETHEUS_COUNTER,
         "Terminals and accounts that made room for others while they still counted.", counts.forgotten},
    };
    prometheus_rows(page, rows, sizeof rows / sizeof rows[0]);
}

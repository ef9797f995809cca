#include "hsm-service/front/operations.h"

#include "rpc/status.h"
#include "run/prometheus.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define STATUSES  17 /* of gRPC */
#define CKRS_MOST 64 /* that have a line of their own; the rest is "other" */

enum { BATCH_RESULTS = 1, RESULT_STATUS = 1, RESULT_MESSAGE = 2 };

struct ckr_count {
    char name[CKR_NAME_BYTES];
    uint64_t count;
};

struct front_operations {
    pthread_mutex_t lock; /* what follows */
    uint64_t counts[FACTS_KIND_COUNT][STATUSES];
    struct ckr_count ckrs[CKRS_MOST + 1]; /* the last: other */
    size_t ckr_count;
};

enum err_code front_operations_new(struct front_operations **out_operations, struct err *e)
{
    struct front_operations *const o = calloc(1, sizeof *o);
    if (o == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the counts of operations");
    pthread_mutex_init(&o->lock, NULL);
    snprintf(o->ckrs[CKRS_MOST].name, CKR_NAME_BYTES, "other");
    *out_operations = o;
    return ERR_OK;
}

void front_operations_free(struct front_operations *o)
{
    if (o == NULL)
        return;
    pthread_mutex_destroy(&o->lock);
    free(o);
}

const char *front_operations_ckr(const char *note, size_t len, char out_name[CKR_NAME_BYTES])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    const char *const at = memmem(note, len, "CKR_", 4);
    if (at == NULL)
        return NULL;
    size_t n = 0;
    while (at + n < note + len && strchr(letters, at[n]) != NULL && at[n] != '\0')
        n++;
    if (n <= 4 || n >= CKR_NAME_BYTES)
        return NULL;
    memcpy(out_name, at, n);
    out_name[n] = '\0';
    return out_name;
}

/* Lock held. */
static void count_ckr(struct front_operations *o, const char *note, size_t len)
{
    char name[CKR_NAME_BYTES];
    if (front_operations_ckr(note, len, name) == NULL)
        return;
    size_t i = 0;
    while (i < o->ckr_count && strcmp(o->ckrs[i].name, name) != 0)
        i++;
    if (i == o->ckr_count && i < CKRS_MOST) {
        memcpy(o->ckrs[i].name, name, sizeof name);
        o->ckr_count++;
    }
    o->ckrs[i].count++;
}

/* Lock held. A call that failed as a whole is one error of the token, however many items it had. */
static void count_ckrs(struct front_operations *o, const struct facts *facts, const struct release *release)
{
    struct wire_bytes results = release->body;
    if (release->failed)
        count_ckr(o, release->failure.note, strlen(release->failure.note));
    for (struct wire_field f; facts->batch && wire_take(&results, &f);) {
        const struct wire_bytes message = wire_find(f.bytes, RESULT_MESSAGE).bytes;
        if (f.number == BATCH_RESULTS && message.data != NULL && wire_find(f.bytes, RESULT_STATUS).value != 0)
            count_ckr(o, (const char *)message.data, message.len);
    }
}

void front_operations_retry(struct front_operations *o, const struct facts *facts,
                            const struct release *release)
{
    pthread_mutex_lock(&o->lock);
    count_ckrs(o, facts, release);
    pthread_mutex_unlock(&o->lock);
}

void front_operations_answer(struct front_operations *o, const struct facts *facts,
                             const struct release *release)
{
    struct facts_outcomes outcomes = facts_outcomes(facts, release->body);
    pthread_mutex_lock(&o->lock);
    count_ckrs(o, facts, release);
    for (size_t i = 0; i < facts->count; i++) {
        const struct facts_outcome outcome = facts_next_outcome(&outcomes, &facts->operations[i]);
        const uint64_t status =
            release->failed ? (uint64_t)rpc_status_of(release->failure.code) : outcome.status;
        o->counts[facts->operations[i].kind][status < STATUSES ? status : 2]++; /* 2: UNKNOWN */
    }
    pthread_mutex_unlock(&o->lock);
}

void front_operations_metrics(struct front_operations *o, struct prometheus *page)
{
    pthread_mutex_lock(&o->lock);
    prometheus_family(page, "posward_hsm_token_operations_total", PROMETHEUS_COUNTER,
                      "Operations on the token, items of batches one by one, by kind and gRPC status.");
    for (size_t i = 0; i < FACTS_KIND_COUNT; i++)
        for (int status = 0; status < STATUSES; status++) {
            const struct prometheus_label labels[] = {
                {"operation", facts_kind_name((enum facts_kind)i)}, {"code", rpc_status_name(status)}, {0}};
            if (status == 0 || o->counts[i][status] > 0)
                prometheus_count(page, labels, o->counts[i][status]);
        }
    prometheus_family(page, "posward_hsm_token_errors_total", PROMETHEUS_COUNTER,
                      "Return values of the token that made an operation fail, retries included.");
    for (size_t i = 0; i < CKRS_MOST + 1; i++)
        if (i < o->ckr_count || i == CKRS_MOST)
            prometheus_count(page, (const struct prometheus_label[]){{"ckr", o->ckrs[i].name}, {0}},
                             o->ckrs[i].count);
    pthread_mutex_unlock(&o->lock);
}

#include "posp/reversals.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/trace.h"
#include "base/wait.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A worker is long done with an entry of this age, beyond the time that it may take to forward. */
#define ORPHAN_MS      60000
#define AWAY_UNITS_MAX 16 /* units that did not answer in this round */

struct reversals {
    struct posp *posp;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    bool woken, stopping;
};

/* Units that one round has found away: their other entries wait for the next one. */
struct round {
    char away[AWAY_UNITS_MAX][32];
    size_t away_count;
};

static bool is_away(const struct round *round, const char *unit)
{
    for (size_t i = 0; i < round->away_count; i++)
        if (strcmp(round->away[i], unit) == 0)
            return true;
    return false;
}

static enum err_code reverse_one(struct posp *posp, struct journal_entry *entry, bool *out_undone,
                                 struct err *e)
{
    Posward__Business__V1__TransactionKey key = POSWARD__BUSINESS__V1__TRANSACTION_KEY__INIT;
    key.acquirer = posp->config->acquirer_id;
    key.terminal_id = entry->terminal_id;
    key.batch_number = entry->batch;
    key.trace_number = entry->trace;
    Posward__Business__V1__ReverseRequest request = POSWARD__BUSINESS__V1__REVERSE_REQUEST__INIT;
    request.key = &key;
    request.amount = entry->amount;
    if (entry->response_code[0] == '\0') /* we died before there was an answer */
        snprintf(entry->response_code, sizeof entry->response_code, "%s", F39_NO_ANSWER);
    request.reason = entry->response_code;
    TRY(units_reverse(posp->units, entry->unit, &request, out_undone, e));
    return journal_reversed(posp->store, entry->id, e);
}

static void try_one(struct posp *posp, struct journal_entry *entry, struct round *round)
{
    struct err e = {0};
    bool undone = false;
    if (is_away(round, entry->unit))
        return;
    if (reverse_one(posp, entry, &undone, &e) == ERR_OK) {
        log_event(LOG_INFO, "transaction reversed", LOG_STR("terminal", entry->terminal_id),
                  LOG_STR("stan", entry->trace), LOG_INT("undone", undone));
        return;
    }
    log_failure(LOG_WARN, "reversal waits", &e, LOG_STR("unit", entry->unit),
                LOG_STR("terminal", entry->terminal_id), LOG_STR("stan", entry->trace));
    if (round->away_count < AWAY_UNITS_MAX)
        snprintf(round->away[round->away_count++], sizeof round->away[0], "%s", entry->unit);
}

static bool stopping(struct reversals *r)
{
    pthread_mutex_lock(&r->lock);
    const bool is = r->stopping;
    pthread_mutex_unlock(&r->lock);
    return is;
}

static void take_orphans(struct posp *posp, int64_t before_ms)
{
    struct err e = {0};
    uint64_t count = 0;
    if (journal_recover(posp->store, before_ms, &count, &e) != ERR_OK)
        log_failure(LOG_ERROR, "journal cannot be searched for open transactions", &e);
    else if (count > 0)
        log_event(LOG_WARN, "transactions of unknown outcome will be reversed", LOG_INT("count", count));
}

/* False: some unit is away, and asking again at once would only make noise. */
static bool run_round(struct reversals *r)
{
    struct round round = {.away_count = 0};
    struct journal_entry entry = {.id = 0};
    struct err e = {0};
    while (!stopping(r) && journal_next_reversal(r->posp->store, entry.id, &entry, &e) == ERR_OK) {
        const struct trace before = trace_enter(trace_new());
        try_one(r->posp, &entry, &round);
        (void)trace_enter(before);
    }
    take_orphans(r->posp, clock_wall_ms() - r->posp->config->forward_timeout_ms - ORPHAN_MS);
    return round.away_count == 0;
}

static void wait_for_work(struct reversals *r, bool may_wake)
{
    const struct timespec end = wait_end(r->posp->config->reversal_retry_ms);
    pthread_mutex_lock(&r->lock);
    for (bool in_time = true; in_time && !(r->woken && may_wake) && !r->stopping;)
        in_time = wait_until(&r->wake, &r->lock, &end);
    r->woken = false;
    pthread_mutex_unlock(&r->lock);
}

static void *reverse_loop(void *context)
{
    struct reversals *r = context;
    while (!stopping(r)) {
        const bool all_answered = run_round(r);
        wait_for_work(r, all_answered);
    }
    return NULL;
}

enum err_code reversals_start(struct posp *posp, struct reversals **out_reversals, struct err *e)
{
    struct reversals *r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    r->posp = posp;
    take_orphans(posp, INT64_MAX);
    pthread_mutex_init(&r->lock, NULL);
    wait_cond_init(&r->wake);
    if (pthread_create(&r->thread, NULL, reverse_loop, r) != 0) {
        pthread_cond_destroy(&r->wake);
        pthread_mutex_destroy(&r->lock);
        free(r);
        return err_set(e, ERR_LIMIT, "cannot start the reversals' thread");
    }
    *out_reversals = r;
    return ERR_OK;
}

void reversals_wake(struct reversals *r)
{
    if (r == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    r->woken = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

void reversals_free(struct reversals *r)
{
    if (r == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

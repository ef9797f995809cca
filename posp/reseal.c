#include "posp/reseal.h"

#include "base/clock.h"
#include "base/log.h"
#include "posp/reseal_queue.h"

#include <stdlib.h>
#include <string.h>

#define RATE_WHEN_OFF 500 /* blobs a second of the command, where the configuration has none */
#define RETRY_MS      1000
#define TRIES_MOST    30
#define USES_MOST     256
#define DEVICES_MOST  (RESEAL_ROWS_MOST / STORE_SEALED_OF_DEVICE)

struct reseal {
    struct posp *posp;
    struct reseal_queue *queue;
    pthread_t thread;
    pthread_mutex_t turn; /* held for a round: one is under way at a time */
    pthread_mutex_t lock; /* of what follows */
    struct reseal_counts totals;
    bool running; /* a command */
};

static void add_totals(struct reseal *r, const struct reseal_counts *before,
                       const struct reseal_counts *after)
{
    pthread_mutex_lock(&r->lock);
    r->totals.resealed += after->resealed - before->resealed;
    r->totals.must_sign_in += after->must_sign_in - before->must_sign_in;
    r->totals.replaced += after->replaced - before->replaced;
    r->totals.failed += after->failed - before->failed;
    pthread_mutex_unlock(&r->lock);
}

static enum err_code do_round(struct reseal *r, const struct store_sealed *rows, size_t count,
                              struct reseal_counts *counts, bool *out_stuck, struct err *e)
{
    const struct reseal_counts before = *counts;
    pthread_mutex_lock(&r->turn);
    const enum err_code code = reseal_rows(r->posp, rows, count, counts, out_stuck, e);
    pthread_mutex_unlock(&r->turn);
    if (code == ERR_OK)
        add_totals(r, &before, counts);
    return code;
}

static int64_t pause_for(uint64_t sent, uint32_t per_second)
{
    return per_second > 0 ? (int64_t)(sent * 1000 / per_second) : 0;
}

/* ---- Lazily ---- */

struct lazy {
    struct reseal_waiting devices[DEVICES_MOST];
    size_t device_count;
    struct store_sealed rows[RESEAL_ROWS_MOST];
    size_t owner[RESEAL_ROWS_MOST]; /* which device a row is of */
    size_t row_count;
};

static enum err_code read_devices(struct reseal *r, struct lazy *l, struct err *e)
{
    for (size_t i = 0; i < l->device_count; i++) {
        size_t count = 0;
        TRY(store_sealed_device(r->posp->store, l->devices[i].terminal_id, &l->rows[l->row_count], &count,
                                e));
        for (size_t k = 0; k < count; k++)
            l->owner[l->row_count++] = i;
    }
    return ERR_OK;
}

static enum err_code serve_devices(struct reseal *r, struct lazy *l, uint64_t *out_sent, struct err *e)
{
    bool stuck[RESEAL_ROWS_MOST];
    struct reseal_counts counts = {0};
    TRY(read_devices(r, l, e));
    TRY(do_round(r, l->rows, l->row_count, &counts, stuck, e));
    for (size_t i = 0; i < l->row_count; i++)
        if (stuck[i])
            reseal_queue_settle(r->queue, &l->devices[l->owner[i]]);
    *out_sent = counts.sent;
    return ERR_OK;
}

static void *lazy_loop(void *context)
{
    struct reseal *const r = context;
    const uint32_t rate = (uint32_t)r->posp->config->hsm_reseal_per_second;
    struct lazy *const l = calloc(1, sizeof *l);
    bool failed = false;
    while (l != NULL && (l->device_count = reseal_queue_take(r->queue, l->devices, DEVICES_MOST)) > 0) {
        struct err e = {0};
        uint64_t sent = 0;
        l->row_count = 0;
        const enum err_code code = serve_devices(r, l, &sent, &e);
        if (code != ERR_OK && !failed) /* one line a change of state; the next transaction advises it again */
            log_failure(LOG_WARN, "key blobs are not re-sealed now", &e);
        failed = code != ERR_OK;
        reseal_queue_sleep(r->queue, failed ? RETRY_MS : pause_for(sent, rate));
    }
    free(l);
    return NULL;
}

void reseal_advise(struct reseal *r, const char *terminal_id, int64_t generation)
{
    if (r != NULL && r->posp->config->hsm_reseal_per_second > 0)
        reseal_queue_add(r->queue, terminal_id, generation);
}

/* ---- By command ---- */

struct run {
    struct reseal *reseal;
    uint32_t per_second;
    reseal_pause_fn pause;
    void *context;
    uint64_t total;
    struct reseal_counts counts;
};

static enum err_code pause_run(struct run *run, int64_t ms, struct err *e)
{
    if (run->pause(run->context, &run->counts, run->total, ms))
        return ERR_OK;
    return err_set(e, ERR_CANCELLED, "stopped; what was re-sealed stays so, and another run skips it");
}

static bool may_pass(enum err_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_TIMEOUT || code == ERR_LIMIT;
}

static enum err_code run_rows(struct run *run, const struct store_sealed *rows, size_t count, struct err *e)
{
    const uint64_t sent = run->counts.sent;
    for (int tries = 1;; tries++) {
        struct err own = {0};
        const enum err_code code = do_round(run->reseal, rows, count, &run->counts, NULL, &own);
        if (code == ERR_OK)
            return pause_run(run, pause_for(run->counts.sent - sent, run->per_second), e);
        if (!may_pass(code) || tries >= TRIES_MOST) {
            *e = own;
            return code;
        }
        TRY(pause_run(run, own.retry_ms > RETRY_MS ? own.retry_ms : RETRY_MS, e));
    }
}

static enum err_code run_kind(struct run *run, enum store_sealed_kind kind, struct store_sealed *rows,
                              struct err *e)
{
    struct store_sealed last;
    size_t count = RESEAL_ROWS_MOST;
    for (bool first = true; count == RESEAL_ROWS_MOST; first = false) {
        TRY(store_sealed_page(run->reseal->posp->store, kind, first ? NULL : &last, RESEAL_ROWS_MOST, rows,
                              &count, e));
        if (count > 0) {
            last = rows[count - 1];
            TRY(run_rows(run, rows, count, e));
        }
    }
    return ERR_OK;
}

/* Blobs that are not under `version` of a key; 0: all. */
static enum err_code count_blobs(struct store *store, enum store_use_kind kind, uint32_t version,
                                 uint64_t *out_count, struct err *e)
{
    struct store_use uses[USES_MOST];
    size_t uses_count = 0;
    uint64_t count = 0;
    TRY(store_uses(store, kind, uses, USES_MOST, &uses_count, e));
    for (size_t i = 0; i < uses_count; i++)
        if (version == 0 || uses[i].version != version)
            count += uses[i].count;
    *out_count = count;
    return ERR_OK;
}

static enum err_code count_left(struct run *run, uint64_t *out_left, struct err *e)
{
    struct store *const store = run->reseal->posp->store;
    const struct store_seal newest = run->counts.newest;
    uint64_t storage = 0, tag = 0;
    if (newest.storage != 0) /* else there is no blob, or none that could be opened */
        TRY(count_blobs(store, STORE_USE_STORAGE, newest.storage, &storage, e));
    if (newest.tag != 0)
        TRY(count_blobs(store, STORE_USE_TAG, newest.tag, &tag, e));
    const uint64_t named = storage > tag ? storage : tag, bad = run->counts.must_sign_in + run->counts.failed;
    *out_left = newest.storage != 0 ? named : bad;
    return ERR_OK;
}

static enum err_code run_all(struct run *run, uint64_t *out_left, struct err *e)
{
    enum err_code code = ERR_OK;
    TRY(count_blobs(run->reseal->posp->store, STORE_USE_STORAGE, 0, &run->total, e));
    struct store_sealed *const rows = calloc(RESEAL_ROWS_MOST, sizeof *rows);
    if (rows == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    for (int kind = STORE_SEALED_SET; code == ERR_OK && kind <= STORE_SEALED_CARD; kind++)
        code = run_kind(run, (enum store_sealed_kind)kind, rows, e);
    free(rows);
    return code == ERR_OK ? count_left(run, out_left, e) : code;
}

static bool claim(struct reseal *r)
{
    pthread_mutex_lock(&r->lock);
    const bool ours = !r->running;
    r->running = true;
    pthread_mutex_unlock(&r->lock);
    return ours;
}

enum err_code reseal_store(struct reseal *r, uint32_t per_second, reseal_pause_fn pause, void *context,
                           struct reseal_counts *out_counts, uint64_t *out_left, struct err *e)
{
    const uint32_t configured = (uint32_t)r->posp->config->hsm_reseal_per_second;
    struct run run = {.reseal = r, .per_second = per_second, .pause = pause, .context = context};
    if (per_second == 0)
        run.per_second = configured > 0 ? configured : RATE_WHEN_OFF;
    if (!claim(r))
        return err_set(e, ERR_STATE, "the store is being re-sealed already; wait for that run, or stop it");
    const enum err_code code = run_all(&run, out_left, e);
    pthread_mutex_lock(&r->lock);
    r->running = false;
    pthread_mutex_unlock(&r->lock);
    if (code == ERR_OK)
        *out_counts = run.counts;
    return code;
}

/* ---- Life ---- */

static void drop_parts(struct reseal *r)
{
    reseal_queue_free(r->queue);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->turn);
    free(r);
}

enum err_code reseal_start(struct posp *posp, struct reseal **out_reseal, struct err *e)
{
    struct reseal *const r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    r->posp = posp;
    pthread_mutex_init(&r->turn, NULL);
    pthread_mutex_init(&r->lock, NULL);
    enum err_code code = reseal_queue_new(&r->queue, e);
    if (code == ERR_OK && pthread_create(&r->thread, NULL, lazy_loop, r) != 0)
        code = err_set(e, ERR_LIMIT, "cannot start the thread that re-seals key blobs");
    if (code != ERR_OK) {
        drop_parts(r);
        return code;
    }
    *out_reseal = r;
    return ERR_OK;
}

void reseal_free(struct reseal *r)
{
    if (r == NULL)
        return;
    reseal_queue_stop(r->queue);
    pthread_join(r->thread, NULL);
    drop_parts(r);
}

void reseal_metrics(struct reseal *r, struct prometheus *page)
{
    if (r == NULL)
        return;
    struct reseal_queue_figures queue = reseal_queue_figures(r->queue);
    pthread_mutex_lock(&r->lock);
    const struct reseal_counts totals = r->totals;
    pthread_mutex_unlock(&r->lock);
    const struct prometheus_row rows[] = {
        {"posward_posp_reseal_waiting", PROMETHEUS_GAUGE, "Terminals whose key blobs wait to be re-sealed.",
         queue.waiting},
        {"posward_posp_reseal_dropped_total", PROMETHEUS_COUNTER,
         "Terminals that found no place to wait; their next transaction asks again.", queue.dropped},
        {"posward_posp_resealed_total", PROMETHEUS_COUNTER,
         "Key blobs that were moved to the current keys since start.", totals.resealed},
        {"posward_posp_reseal_must_sign_in_total", PROMETHEUS_COUNTER,
         "Key blobs met that only the terminal's next sign-in can replace.", totals.must_sign_in},
        {"posward_posp_reseal_replaced_total", PROMETHEUS_COUNTER,
         "Key blobs that were replaced while they were being moved.", totals.replaced},
        {"posward_posp_reseal_failed_total", PROMETHEUS_COUNTER, "Key blobs that could not be moved.",
         totals.failed},
    };
    prometheus_rows(page, rows, sizeof rows / sizeof rows[0]);
}

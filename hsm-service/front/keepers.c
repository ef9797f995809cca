/* Which keepers there are: a plan that is looked at again on every tick, not a chain of events.
 *
 * Wanted are keepers.count fresh keepers of each token. One start of a token at a time, since starts that
 * overlap fail now and then. A stale keeper goes on taking calls until its successor is ready; after a
 * reload, until as many new ones as are wanted are. */
#include "hsm-service/front/keepers_inside.h"

#include "base/log.h"
#include "hsm-service/front/front.h"

struct tally {
    unsigned starting, fresh;
    struct front_keeper *free_slot, *oldest_stale;
};

static struct tally count_keepers(struct front *f, unsigned token)
{
    struct tally t = {0};
    for (size_t i = 0; i < FRONT_KEEPERS; i++) {
        struct front_keeper *const k = &f->keepers[i];
        if (k->state == KEEPER_NONE && t.free_slot == NULL)
            t.free_slot = k;
        if (k->state == KEEPER_NONE || k->token != token)
            continue;
        t.starting += k->state == KEEPER_STARTING;
        t.fresh += k->state == KEEPER_READY && !k->stale;
        if (k->state == KEEPER_READY && k->stale &&
            (t.oldest_stale == NULL || k->number < t.oldest_stale->number))
            t.oldest_stale = k;
    }
    return t;
}

static void apply_reload(struct front *f, int64_t now_ms)
{
    f->reload = false;
    f->epoch++;
    front_pool_reload(&f->pool, now_ms);
    for (size_t i = 0; i < f->pool.count; i++) {
        struct front_token *const t = &f->pool.tokens[i];
        t->halted = false;
        t->failures = 0;
        t->next_start_ms = now_ms;
    }
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        f->keepers[i].stale = f->keepers[i].state == KEEPER_STARTING || f->keepers[i].state == KEEPER_READY;
}

static void tend_token(struct front *f, unsigned token, int64_t now_ms, struct front_calls *out_failed)
{
    struct front_token *const of = &f->pool.tokens[token];
    const struct tally t = count_keepers(f, token);
    if (t.fresh < (unsigned)f->config->keeper_count && t.starting == 0 && !of->halted &&
        now_ms >= of->next_start_ms && t.free_slot != NULL && front_pool_may_start(&f->pool, token, now_ms)) {
        struct err e = {0};
        if (front_keeper_start(f, token, t.free_slot, &e) != ERR_OK) {
            log_failure(LOG_ERROR, "keeper could not start", &e, LOG_STR("of", of->is.name));
            front_keeper_not_started(f, of, &e, out_failed);
        }
    }
}

static bool old_ones_serve(const struct front *f)
{
    for (size_t i = 0; i < FRONT_KEEPERS; i++) {
        const struct front_keeper *const k = &f->keepers[i];
        if (k->state == KEEPER_READY && k->epoch == f->serving && !k->broken)
            return true;
    }
    return false;
}

/* After a reload the new keepers take over together: what one of them seals under a new key, the others, and
 * no keeper that does not know the key, are asked to open. Where they cannot all start, those that can. */
static void take_over(struct front *f)
{
    bool all = true;
    unsigned fresh = 0;
    if (f->serving == f->epoch)
        return;
    for (unsigned i = 0; i < f->pool.count; i++) {
        const struct front_token *const of = &f->pool.tokens[i];
        const unsigned of_token = count_keepers(f, i).fresh;
        fresh += of_token;
        all = all && (of_token >= (unsigned)f->config->keeper_count || of->failures > 0 || of->halted ||
                      of->kept_out);
    }
    if (fresh > 0 && (all || !old_ones_serve(f)))
        f->serving = f->epoch;
}

/* Those of earlier epochs all go once the new ones serve; within an epoch one by one. */
static void retire_stale(struct front *f)
{
    for (size_t i = 0; i < FRONT_KEEPERS; i++) {
        struct front_keeper *const k = &f->keepers[i];
        if (k->state == KEEPER_READY && k->epoch != f->epoch && k->epoch != f->serving)
            front_keeper_retire(f, k);
    }
    for (unsigned i = 0; f->serving == f->epoch && i < f->pool.count; i++) {
        struct front_keeper *const oldest = count_keepers(f, i).oldest_stale;
        if (oldest != NULL && f->pool.tokens[i].ready > (unsigned)f->config->keeper_count)
            front_keeper_retire(f, oldest);
    }
}

void front_keepers_tend(struct front *f, int64_t now_ms, struct front_calls *out_failed)
{
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        front_keeper_tend(f, &f->keepers[i], now_ms, out_failed);
    if (f->stopping)
        return;
    if (f->reload)
        apply_reload(f, now_ms);
    for (unsigned i = 0; i < f->pool.count; i++)
        tend_token(f, i, now_ms, out_failed);
    take_over(f);
    retire_stale(f);
    front_pump(f, out_failed);
}

void front_keepers_release(struct front *f)
{
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        if (f->keepers[i].state != KEEPER_NONE && f->keepers[i].state != KEEPER_ENDING)
            front_keeper_close(f, &f->keepers[i]);
}

bool front_keepers_gone(const struct front *f)
{
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        if (f->keepers[i].state != KEEPER_NONE)
            return false;
    return true;
}

void front_reload(void *front)
{
    struct front *const f = front;
    pthread_mutex_lock(&f->lock);
    f->reload = true;
    pthread_mutex_unlock(&f->lock);
    front_wake(f);
}

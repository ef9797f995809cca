/* Which keeper gets a call. */
#include "hsm-service/front/state.h"

#include <limits.h>

/* How little a keeper suits a call: where its token failed it, where it was itself. */
static unsigned reluctance(const struct front_keeper *k, const struct front_call *call)
{
    if (call == NULL)
        return 0;
    return (call->tokens >> k->token & 1) * 2 + (k->number == call->last_keeper);
}

static struct front_keeper *least_loaded(struct front *f, const struct front_call *call, unsigned window)
{
    struct front_keeper *best = NULL;
    for (size_t i = 0; i < FRONT_KEEPERS; i++) {
        struct front_keeper *const k = &f->keepers[i];
        if (k->state != KEEPER_READY || k->epoch != f->serving || k->broken || k->load >= window ||
            f->pool.tokens[k->token].breaker.state != BREAKER_CLOSED)
            continue;
        const unsigned of_k = reluctance(k, call), of_best = best != NULL ? reluctance(best, call) : 0;
        if (best == NULL || of_k < of_best || (of_k == of_best && k->load < best->load))
            best = k;
    }
    return best;
}

struct front_keeper *front_least_loaded(struct front *f, const struct front_call *call)
{
    return least_loaded(f, call, f->window);
}

struct front_keeper *front_least_busy(struct front *f)
{
    return least_loaded(f, NULL, UINT_MAX);
}

enum err_code front_say_unavailable(const struct front *f, struct err *e)
{
    if (f->stopping)
        return err_set(e, ERR_UNAVAILABLE, "the HSM service is stopping");
    return front_pool_say_away(&f->pool, e);
}

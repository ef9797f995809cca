#include "rpc/slots.h"

#include <stdlib.h>
#include <string.h>

struct rpc_slot_holder {
    struct rpc_slot_holder *next;
    char *identity; /* NULL: callers who are not known */
    size_t used[RPC_SLOT_KINDS], all;
};

static const char *const kind_names[RPC_SLOT_KINDS] = {
    [RPC_SLOT_WAITING] = "calls whose request has not come (max_waiting)",
    [RPC_SLOT_UNARY] = "calls in flight (max_in_flight)",
    [RPC_SLOT_STREAM] = "streams (max_streams)",
    [RPC_SLOT_HOUSEKEEPING] = "health and reflection calls",
};

void rpc_slots_init(struct rpc_slots *slots)
{
    /* It is held for moments only: waiting for it is not worth a switch of threads. */
    pthread_mutexattr_t adaptive;
    pthread_mutexattr_init(&adaptive);
    pthread_mutexattr_settype(&adaptive, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&slots->lock, &adaptive);
    pthread_mutexattr_destroy(&adaptive);
}

static void holder_free(struct rpc_slot_holder *holder)
{
    free(holder->identity);
    free(holder);
}

void rpc_slots_drop(struct rpc_slots *slots)
{
    for (struct rpc_slot_holder *next, *holder = slots->holders; holder != NULL; holder = next) {
        next = holder->next;
        holder_free(holder);
    }
    slots->holders = NULL;
    pthread_mutex_destroy(&slots->lock);
}

static bool is_of(const struct rpc_slot_holder *holder, const char *identity)
{
    if (holder->identity == NULL || identity == NULL)
        return holder->identity == identity;
    return strcmp(holder->identity, identity) == 0;
}

/* Lock held. */
static struct rpc_slot_holder *add_holder(struct rpc_slots *slots, const char *identity)
{
    struct rpc_slot_holder *const holder = calloc(1, sizeof *holder);
    if (holder == NULL)
        return NULL;
    holder->identity = identity != NULL ? strdup(identity) : NULL;
    if (identity != NULL && holder->identity == NULL) {
        free(holder);
        return NULL;
    }
    holder->next = slots->holders;
    slots->holders = holder;
    slots->holder_count++;
    return holder;
}

/* Lock held. Few identities call a service, so that a list is quick enough. */
static struct rpc_slot_holder *holder_of(struct rpc_slots *slots, const char *identity)
{
    for (struct rpc_slot_holder *holder = slots->holders; holder != NULL; holder = holder->next)
        if (is_of(holder, identity))
            return holder;
    return add_holder(slots, identity);
}

/* Lock held. */
static void forget_idle(struct rpc_slots *slots, struct rpc_slot_holder *holder)
{
    struct rpc_slot_holder **at = &slots->holders;
    if (holder->all > 0 || slots->holder_count <= RPC_SLOTS_HOLDERS_KEPT)
        return;
    while (*at != holder)
        at = &(*at)->next;
    *at = holder->next;
    slots->holder_count--;
    holder_free(holder);
}

/* Lock held. */
static void release(struct rpc_slots *slots, struct rpc_slot *slot)
{
    struct rpc_slot_holder *const holder = slot->holder;
    if (holder == NULL)
        return;
    slot->holder = NULL;
    slots->used[slot->kind]--;
    holder->used[slot->kind]--;
    holder->all--;
    forget_idle(slots, holder);
}

/* Lock held. */
static enum err_code check(const struct rpc_slots *slots, enum rpc_slot_kind kind,
                           const struct rpc_slot_holder *holder, struct err *e)
{
    const size_t limit = slots->limit[kind], used = slots->used[kind];
    if (used >= limit)
        return err_set(e, ERR_LIMIT, "%zu %s are the limit; try again later", limit, kind_names[kind]);
    if (holder->identity == NULL || holder->used[kind] < RPC_SLOTS_SHARE * (limit - used))
        return ERR_OK;
    return err_set(e, ERR_LIMIT,
                   "this identity holds %zu of %zu %s, which is its share of them; try again later",
                   holder->used[kind], limit, kind_names[kind]);
}

/* Lock held. */
static enum err_code take(struct rpc_slots *slots, struct rpc_slot *slot, enum rpc_slot_kind kind,
                          const char *identity, struct err *e)
{
    struct rpc_slot_holder *const holder = slot->holder != NULL ? slot->holder : holder_of(slots, identity);
    if (holder == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    const enum err_code code = check(slots, kind, holder, e);
    if (code != ERR_OK) {
        forget_idle(slots, holder);
        return code;
    }
    slots->used[kind]++;
    holder->used[kind]++;
    holder->all++;
    release(slots, slot);
    *slot = (struct rpc_slot){holder, kind};
    return ERR_OK;
}

enum err_code rpc_slots_take(struct rpc_slots *slots, struct rpc_slot *slot, enum rpc_slot_kind kind,
                             const char *identity, struct err *e)
{
    pthread_mutex_lock(&slots->lock);
    const enum err_code code = take(slots, slot, kind, identity, e);
    pthread_mutex_unlock(&slots->lock);
    return code;
}

void rpc_slots_give_back(struct rpc_slots *slots, struct rpc_slot *slot)
{
    pthread_mutex_lock(&slots->lock);
    release(slots, slot);
    pthread_mutex_unlock(&slots->lock);
}

size_t rpc_slots_used(const struct rpc_slots *slots, enum rpc_slot_kind kind)
{
    return atomic_load(&slots->used[kind]);
}

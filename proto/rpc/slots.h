/* How many calls of a kind a server takes, and how many of them one caller may hold. Private to rpc.
 *
 * The rule: a caller may hold RPC_SLOTS_SHARE times as many slots as are free. Alone it gets three quarters
 * of them, the next one three quarters of the rest; who holds more than its part gets no more until the
 * others had theirs. Callers without an identity cannot be told apart: they are one caller, which may hold
 * all. */
#ifndef POSWARD_RPC_SLOTS_H
#define POSWARD_RPC_SLOTS_H

#include "base/err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RPC_SLOTS_SHARE 3
#define RPC_SLOTS_HOLDERS_KEPT                                                                               \
    64 /* callers that hold nothing and are remembered, so that nothing is allocated */

enum rpc_slot_kind {
    RPC_SLOT_WAITING, /* admitted, and the request has not come yet */
    RPC_SLOT_UNARY,
    RPC_SLOT_STREAM,
    RPC_SLOT_HOUSEKEEPING, /* health and reflection */
    RPC_SLOT_KINDS
};

struct rpc_slot_holder;

/* What one call holds; zeroed: nothing. */
struct rpc_slot {
    struct rpc_slot_holder *holder;
    enum rpc_slot_kind kind;
};

struct rpc_slots {
    pthread_mutex_t lock; /* what follows */
    size_t limit[RPC_SLOT_KINDS];
    atomic_size_t used[RPC_SLOT_KINDS]; /* read without the lock too */
    struct rpc_slot_holder *holders;
    size_t holder_count;
};

/* `limit` is the caller's to fill, before the first take. */
void rpc_slots_init(struct rpc_slots *slots);
/* Nothing may be held any more. */
void rpc_slots_drop(struct rpc_slots *slots);
/* Hold a slot of `kind` in place of what `slot` holds; `identity` as of struct rpc_peer. On ERR_LIMIT, whose
 * note names the option and whether it is the caller's share that is spent, `slot` is unchanged. */
enum err_code rpc_slots_take(struct rpc_slots *slots, struct rpc_slot *slot, enum rpc_slot_kind kind,
                             const char *identity, struct err *e) MUST_CHECK;
/* Accepts a slot that holds nothing, and leaves it so. */
void rpc_slots_give_back(struct rpc_slots *slots, struct rpc_slot *slot);
size_t rpc_slots_used(const struct rpc_slots *slots, enum rpc_slot_kind kind);

#endif

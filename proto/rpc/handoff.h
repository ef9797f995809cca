/* Passing an object through gRPC's completion queue to another thread. Private to rpc.
 *
 * Core's queue orders both sides, but it is not built with the thread sanitizer, which would then see a race
 * on every such object: this says the same in terms that it sees. */
#ifndef POSWARD_RPC_HANDOFF_H
#define POSWARD_RPC_HANDOFF_H

#include <stdatomic.h>
#include <stdbool.h>

struct handoff {
    atomic_bool given;
};

static inline void handoff_give(struct handoff *handoff)
{
    atomic_store_explicit(&handoff->given, true, memory_order_release);
}

static inline void handoff_take(struct handoff *handoff)
{
    (void)atomic_load_explicit(&handoff->given, memory_order_acquire);
}

#endif

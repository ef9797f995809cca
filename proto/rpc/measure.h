/* What a server counts of its calls: by method and status, and how long they took. Lock-free: a call adds to
 * a few atomics of its method when it ends. Any thread. Private to rpc; readers use rpc_server_each_method.
 */
#ifndef POSWARD_RPC_MEASURE_H
#define POSWARD_RPC_MEASURE_H

#include "rpc/server.h"

#include <stdatomic.h>

struct rpc_measure {
    atomic_uint_fast64_t handled[RPC_STATUS_COUNT];
    atomic_uint_fast64_t within[RPC_LATENCY_BOUNDS + 1]; /* each call in one; the last: beyond all bounds */
    atomic_uint_fast64_t total_us;
};

/* A call that ended with `status` after `took_us`; a status out of range counts as UNKNOWN. */
void rpc_measure_add(struct rpc_measure *measure, int status, int64_t took_us);
/* Cumulated over the bounds, as Prometheus wants them. The sum of handled and the last bucket may differ by
 * calls that end meanwhile. */
struct rpc_method_counts rpc_measure_read(const struct rpc_measure *measure, const char *method);

#endif

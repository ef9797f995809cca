#include "rpc/measure.h"

#include <grpc/status.h>

const double rpc_latency_bounds[RPC_LATENCY_BOUNDS] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                       0.1,    0.25,  0.5,    1,     2.5,  5,     10};

#define US_PER_S 1e6

void rpc_measure_add(struct rpc_measure *measure, int status, int64_t took_us)
{
    const int row = status >= 0 && status < RPC_STATUS_COUNT ? status : GRPC_STATUS_UNKNOWN;
    const int64_t us = took_us > 0 ? took_us : 0;
    size_t bucket = 0;
    while (bucket < RPC_LATENCY_BOUNDS && (double)us > rpc_latency_bounds[bucket] * US_PER_S)
        bucket++;
    atomic_fetch_add_explicit(&measure->handled[row], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&measure->within[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&measure->total_us, (uint64_t)us, memory_order_relaxed);
}

struct rpc_method_counts rpc_measure_read(const struct rpc_measure *measure, const char *method)
{
    struct rpc_method_counts counts = {.method = method};
    uint64_t sum = 0;
    for (size_t i = 0; i < RPC_STATUS_COUNT; i++)
        counts.handled[i] = atomic_load_explicit(&measure->handled[i], memory_order_relaxed);
    for (size_t i = 0; i <= RPC_LATENCY_BOUNDS; i++) {
        sum += atomic_load_explicit(&measure->within[i], memory_order_relaxed);
        counts.within[i] = sum;
    }
    counts.seconds = (double)atomic_load_explicit(&measure->total_us, memory_order_relaxed) / US_PER_S;
    return counts;
}

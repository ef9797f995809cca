/* The metrics that every daemon has: the process, and its gRPC servers by method. Their names are an
 * interface: dashboards and alerts use them. */
#ifndef POSWARD_RUN_RPC_METRICS_H
#define POSWARD_RUN_RPC_METRICS_H

#include "rpc/server.h"
#include "run/prometheus.h"

/* posward_rpc_in_flight, posward_rpc_calls_total{outcome}, and by method, which is "package.Service/Method":
 * posward_rpc_server_handled_total{method,code} and posward_rpc_server_handling_seconds{method}. A method
 * that was never called is there with an OK of 0 and no histogram. A daemon with several servers has a label
 * `plane` on each, since health, reflection and unknown methods are on all of them. Any thread. */
struct rpc_metrics_source {
    const struct rpc_server *server;
    const char *plane; /* NULL: no such label */
};
void rpc_metrics_write(const struct rpc_metrics_source *sources, size_t count, struct prometheus *page);

#endif

/* The metrics that every daemon has: the process, and its gRPC server by method. Their names are an
 * interface: dashboards and alerts use them. */
#ifndef POSWARD_RUN_RPC_METRICS_H
#define POSWARD_RUN_RPC_METRICS_H

#include "rpc/server.h"
#include "run/prometheus.h"

/* posward_rpc_in_flight, posward_rpc_calls_total{outcome}, and by method, which is "package.Service/Method":
 * posward_rpc_server_handled_total{method,code} and posward_rpc_server_handling_seconds{method}. A method
 * that was never called is there with an OK of 0 and no histogram. Any thread. */
void rpc_metrics_write(const struct rpc_server *server, struct prometheus *page);

#endif

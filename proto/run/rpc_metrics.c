#include "run/rpc_metrics.h"

#include "rpc/status.h"

static void write_handled(void *context, const struct rpc_method_counts *counts)
{
    for (int status = 0; status < RPC_STATUS_COUNT; status++) {
        if (counts->handled[status] == 0 && status != 0)
            continue;
        const struct prometheus_label labels[] = {
            {"method", counts->method}, {"code", rpc_status_name(status)}, {0}};
        prometheus_count(context, labels, counts->handled[status]);
    }
}

static void write_seconds(void *context, const struct rpc_method_counts *counts)
{
    if (counts->within[RPC_LATENCY_BOUNDS] == 0)
        return;
    const struct prometheus_label labels[] = {{"method", counts->method}, {0}};
    prometheus_histogram(context, labels,
                         &(struct prometheus_histogram){.bounds = rpc_latency_bounds,
                                                        .bound_count = RPC_LATENCY_BOUNDS,
                                                        .within = counts->within,
                                                        .sum = counts->seconds});
}

void rpc_metrics_write(const struct rpc_server *server, struct prometheus *page)
{
    const struct rpc_server_counts counts = rpc_server_counts(server);
    prometheus_family(page, "posward_rpc_in_flight", PROMETHEUS_GAUGE, "gRPC calls being served.");
    prometheus_count(page, NULL, counts.in_flight);
    prometheus_family(page, "posward_rpc_calls_total", PROMETHEUS_COUNTER, "gRPC calls served, by outcome.");
    prometheus_count(page, (const struct prometheus_label[]){{"outcome", "ok"}, {0}}, counts.ok);
    prometheus_count(page, (const struct prometheus_label[]){{"outcome", "failed"}, {0}}, counts.failed);
    prometheus_family(page, "posward_rpc_server_handled_total", PROMETHEUS_COUNTER,
                      "gRPC calls served, by method and status.");
    rpc_server_each_method(server, write_handled, page);
    prometheus_family(page, "posward_rpc_server_handling_seconds", PROMETHEUS_HISTOGRAM,
                      "Time from the arrival of a gRPC call to its answer, by method.");
    rpc_server_each_method(server, write_seconds, page);
}

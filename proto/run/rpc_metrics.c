#include "run/rpc_metrics.h"

#include "rpc/status.h"

/* The last label of a series; without a plane it ends the list. */
static struct prometheus_label plane_label(const char *plane)
{
    return plane != NULL ? (struct prometheus_label){"plane", plane} : (struct prometheus_label){0};
}

struct writer {
    struct prometheus *page;
    const char *plane;
};

static void write_in_flight(const struct writer *w, const struct rpc_server *server)
{
    const struct prometheus_label labels[] = {plane_label(w->plane), {0}};
    prometheus_count(w->page, labels, rpc_server_counts(server).in_flight);
}

static void write_waiting(const struct writer *w, const struct rpc_server *server)
{
    const struct prometheus_label labels[] = {plane_label(w->plane), {0}};
    prometheus_count(w->page, labels, rpc_server_counts(server).waiting);
}

static void write_accepting(const struct writer *w, const struct rpc_server *server)
{
    const struct prometheus_label labels[] = {plane_label(w->plane), {0}};
    prometheus_count(w->page, labels, !rpc_server_counts(server).deaf);
}

static void write_connections(const struct writer *w, const struct rpc_server *server)
{
    const struct prometheus_label labels[] = {plane_label(w->plane), {0}};
    prometheus_count(w->page, labels, rpc_server_counts(server).connections);
}

static void write_closed(const struct writer *w, const struct rpc_server *server)
{
    const struct rpc_server_counts counts = rpc_server_counts(server);
    const struct {
        const char *reason;
        uint64_t count;
    } rows[] = {{"limit", counts.closed_over}, {"flood", counts.closed_floods}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct prometheus_label labels[] = {{"reason", rows[i].reason}, plane_label(w->plane), {0}};
        prometheus_count(w->page, labels, rows[i].count);
    }
}

static void write_outcomes(const struct writer *w, const struct rpc_server *server)
{
    const struct rpc_server_counts counts = rpc_server_counts(server);
    const struct {
        const char *outcome;
        uint64_t count;
    } rows[] = {{"ok", counts.ok}, {"failed", counts.failed}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct prometheus_label labels[] = {{"outcome", rows[i].outcome}, plane_label(w->plane), {0}};
        prometheus_count(w->page, labels, rows[i].count);
    }
}

static void write_handled(void *context, const struct rpc_method_counts *counts)
{
    const struct writer *const w = context;
    for (int status = 0; status < RPC_STATUS_COUNT; status++) {
        if (counts->handled[status] == 0 && status != 0)
            continue;
        const struct prometheus_label labels[] = {
            {"method", counts->method}, {"code", rpc_status_name(status)}, plane_label(w->plane), {0}};
        prometheus_count(w->page, labels, counts->handled[status]);
    }
}

static void write_seconds(void *context, const struct rpc_method_counts *counts)
{
    const struct writer *const w = context;
    if (counts->within[RPC_LATENCY_BOUNDS] == 0)
        return;
    const struct prometheus_label labels[] = {{"method", counts->method}, plane_label(w->plane), {0}};
    prometheus_histogram(w->page, labels,
                         &(struct prometheus_histogram){.bounds = rpc_latency_bounds,
                                                        .bound_count = RPC_LATENCY_BOUNDS,
                                                        .within = counts->within,
                                                        .sum = counts->seconds});
}

static void write_all_handled(const struct writer *w, const struct rpc_server *server)
{
    rpc_server_each_method(server, write_handled, (void *)(uintptr_t)w);
}

static void write_all_seconds(const struct writer *w, const struct rpc_server *server)
{
    rpc_server_each_method(server, write_seconds, (void *)(uintptr_t)w);
}

static const struct family {
    const char *name;
    enum prometheus_type type;
    const char *help;
    void (*write)(const struct writer *w, const struct rpc_server *server);
} families[] = {
    {"posward_rpc_in_flight", PROMETHEUS_GAUGE, "gRPC calls being served.", write_in_flight},
    {"posward_rpc_waiting", PROMETHEUS_GAUGE, "gRPC calls whose request has not come.", write_waiting},
    {"posward_rpc_accepting", PROMETHEUS_GAUGE,
     "Whether new connections are accepted; at 0 the process ends, to be started again.", write_accepting},
    {"posward_rpc_connections", PROMETHEUS_GAUGE, "gRPC connections.", write_connections},
    {"posward_rpc_connections_closed_total", PROMETHEUS_COUNTER,
     "gRPC connections that this side closed: over the limit, or for a flood.", write_closed},
    {"posward_rpc_calls_total", PROMETHEUS_COUNTER, "gRPC calls served, by outcome.", write_outcomes},
    {"posward_rpc_server_handled_total", PROMETHEUS_COUNTER, "gRPC calls served, by method and status.",
     write_all_handled},
    {"posward_rpc_server_handling_seconds", PROMETHEUS_HISTOGRAM,
     "Time from the arrival of a gRPC call to its answer, by method.", write_all_seconds},
};

void rpc_metrics_write(const struct rpc_metrics_source *sources, size_t count, struct prometheus *page)
{
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        prometheus_family(page, families[f].name, families[f].type, families[f].help);
        for (size_t i = 0; i < count; i++) {
            const struct writer w = {.page = page, .plane = sources[i].plane};
            families[f].write(&w, sources[i].server);
        }
    }
}

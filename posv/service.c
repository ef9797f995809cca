#include "posv/service.h"

#include "base/log.h"
#include "posv/config.h"
#include "posv/registry.h"

#include <inttypes.h>
#include <stdlib.h>

struct posv {
    struct store *store;
    struct changes *changes;
    struct registry *registry;
};

static void posv_stop(void *state)
{
    struct posv *p = state;
    if (p == NULL)
        return;
    registry_free(p->registry);
    changes_free(p->changes);
    store_free(p->store);
    free(p);
}

static enum err_code open_parts(struct posv *p, const struct posv_config *config, struct rpc_server *server,
                                struct err *e)
{
    TRY(store_open_sqlite(config->store_path, config->busy_timeout_ms, &p->store, e));
    TRY(changes_new(p->store, config->heartbeat_ms, &p->changes, e));
    TRY(registry_new(p->store, p->changes, &p->registry, e));
    return rpc_server_add(server, registry_service(p->registry), e);
}

static enum err_code posv_start(const void *config, struct rpc_server *const *servers, void **out_state,
                                struct err *e)
{
    struct posv *p = calloc(1, sizeof *p);
    if (p == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    const enum err_code code = open_parts(p, config, servers[0], e);
    if (code != ERR_OK) {
        posv_stop(p);
        return code;
    }
    *out_state = p;
    return ERR_OK;
}

/* Watches have no end of their own; the drain would wait its whole grace for them. */
static void posv_drain(void *state)
{
    struct posv *p = state;
    changes_close(p->changes);
}

static void posv_metrics(void *state, struct prometheus *page)
{
    struct posv *p = state;
    struct store_totals totals;
    struct err e = {0};
    if (store_totals(p->store, &totals, &e) != ERR_OK) {
        log_failure(LOG_WARN, "metrics without device counts", &e);
        return;
    }
    static const char *const labels[] = {
        [DEVICE_ACTIVE] = "active", [DEVICE_SUSPENDED] = "suspended", [DEVICE_RETIRED] = "retired"};
    prometheus_family(page, "posward_posv_devices", PROMETHEUS_GAUGE, "Devices in the table.");
    for (int state_number = DEVICE_ACTIVE; state_number <= DEVICE_STATE_MOST; state_number++)
        prometheus_count(page, (const struct prometheus_label[]){{"state", labels[state_number]}, {0}},
                         totals.by_state[state_number]);
    const struct prometheus_row rows[] = {
        {"posward_posv_revision", PROMETHEUS_GAUGE, "Revision of the table.", (uint64_t)totals.revision},
        {"posward_posv_watchers", PROMETHEUS_GAUGE, "Open change feeds.", changes_followers(p->changes)},
    };
    prometheus_rows(page, rows, sizeof rows / sizeof rows[0]);
}

const struct service_spec posv_service = {
    .name = "posward-posv",
    .summary = "POSV: the registry of terminals and the PSAM cards in them.",
    .rows = posv_config_rows,
    .config_bytes = sizeof(struct posv_config),
    .start = posv_start,
    .roles = posv_roles,
    .drain = posv_drain,
    .stop = posv_stop,
    .metrics = posv_metrics,
};

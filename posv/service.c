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

static enum err_code posv_start(const void *config, struct rpc_server *server, void **out_state,
                                struct err *e)
{
    struct posv *p = calloc(1, sizeof *p);
    if (p == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    const enum err_code code = open_parts(p, config, server, e);
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

static void posv_metrics(void *state, FILE *out)
{
    struct posv *p = state;
    struct store_totals totals;
    struct err e = {0};
    if (store_totals(p->store, &totals, &e) != ERR_OK) {
        log_failure(LOG_WARN, "metrics without device counts", &e);
        return;
    }
    fputs("# HELP posward_posv_devices Devices in the table.\n# TYPE posward_posv_devices gauge\n", out);
    static const char *const labels[] = {
        [DEVICE_ACTIVE] = "active", [DEVICE_SUSPENDED] = "suspended", [DEVICE_RETIRED] = "retired"};
    for (int state_number = DEVICE_ACTIVE; state_number <= DEVICE_STATE_MOST; state_number++)
        fprintf(out, "posward_posv_devices{state=\"%s\"} %" PRIu64 "\n", labels[state_number],
                totals.by_state[state_number]);
    fprintf(out,
            "# HELP posward_posv_revision Revision of the table.\n# TYPE posward_posv_revision gauge\n"
            "posward_posv_revision %" PRId64 "\n",
            totals.revision);
    fprintf(out,
            "# HELP posward_posv_watchers Open change feeds.\n# TYPE posward_posv_watchers gauge\n"
            "posward_posv_watchers %u\n",
            changes_followers(p->changes));
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

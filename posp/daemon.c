#include "posp/daemon.h"

#include "base/clock.h"
#include "posp/cards.h"
#include "posp/follower.h"
#include "posp/keyuse.h"
#include "posp/listener.h"
#include "posp/operations.h"
#include "posp/reseal.h"
#include "posp/reversals.h"

#include <stdlib.h>

struct daemon_state {
    struct posp posp;
    struct cards cards;
    struct operations operations;
};

static enum err_code check(const void *config, struct err *e)
{
    TRY(posp_config_check(config, e));
    return listener_check(((const struct posp_config *)config)->terminals_listen, e);
}

static enum err_code open_parts(struct posp *posp, struct err *e)
{
    const struct posp_config *config = posp->config;
    posp->dialect = posp_config_dialect(config->dialect_name);
    TRY(store_open(config->store_path, &posp->store, e));
    if (peer_connect(&config->hsm, false, &posp->hsm_channel, e) != ERR_OK)
        return err_context(e, "hsm");
    if (peer_connect(&config->posv, false, &posp->posv_channel, e) != ERR_OK)
        return err_context(e, "posv");
    TRY(hsm_open(posp->hsm_channel, config->hsm_timeout_ms, &posp->hsm, e));
    return units_open(config, &posp->units, e);
}

static void stop(void *context)
{
    struct daemon_state *state = context;
    if (state == NULL)
        return;
    struct posp *posp = &state->posp;
    listener_free(posp->listener);
    reseal_free(posp->reseal);
    keyuse_free(posp->keyuse);
    reversals_free(posp->reversals);
    follower_free(posp->follower);
    units_free(posp->units);
    hsm_free(posp->hsm);
    rpc_channel_free(posp->posv_channel);
    rpc_channel_free(posp->hsm_channel);
    store_free(posp->store);
    pthread_mutex_destroy(&posp->numbers.lock);
    free(state);
}

static enum err_code add_services(struct daemon_state *state, struct rpc_server *server, struct err *e)
{
    cards_init(&state->posp, &state->cards);
    operations_init(&state->posp, &state->operations);
    TRY(rpc_server_add(server, &state->cards.service.base, e));
    return rpc_server_add(server, &state->operations.service.base, e);
}

static enum err_code start(const void *config, struct rpc_server *const *servers, void **out_state,
                           struct err *e)
{
    struct daemon_state *state = calloc(1, sizeof *state);
    if (state == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    state->posp.config = config;
    state->posp.started_ms = clock_monotonic_ms();
    pthread_mutex_init(&state->posp.numbers.lock, NULL);
    enum err_code code = open_parts(&state->posp, e);
    if (code == ERR_OK)
        code = add_services(state, servers[0], e);
    if (code != ERR_OK) {
        stop(state);
        return code;
    }
    *out_state = state;
    return ERR_OK;
}

static enum err_code serve(void *context, struct rpc_server *server, struct err *e)
{
    struct posp *posp = &((struct daemon_state *)context)->posp;
    (void)server;
    TRY(follower_start(posp->store, posp->posv_channel, &posp->follower, e));
    TRY(reversals_start(posp, &posp->reversals, e));
    TRY(keyuse_start(posp, &posp->keyuse, e));
    TRY(reseal_start(posp, &posp->reseal, e));
    return listener_start(posp, &posp->listener, e);
}

/* Terminals first: what they have sent is answered while the peers can still be reached. */
static void drain(void *context)
{
    struct posp *posp = &((struct daemon_state *)context)->posp;
    if (posp->listener != NULL)
        listener_stop(posp->listener, posp->config->service.drain_ms);
}

static void metrics(void *context, struct prometheus *page)
{
    struct posp *posp = &((struct daemon_state *)context)->posp;
    operations_metrics(posp, page);
    reseal_metrics(posp->reseal, page);
}

static size_t descriptors(const void *config, const char **out_key)
{
    *out_key = "terminals.max_connections";
    return (size_t)((const struct posp_config *)config)->terminals_max_connections;
}

const struct service_spec posp_service = {
    .name = "posward-posp",
    .summary = "Terminal front end: sign-in, MAC check, decryption, routing to business units; card keys for "
               "issuing.",
    .rows = posp_config_rows,
    .config_bytes = sizeof(struct posp_config),
    .check = check,
    .descriptors = descriptors,
    .start = start,
    .roles = posp_roles,
    .serve = serve,
    .drain = drain,
    .stop = stop,
    .metrics = metrics,
};

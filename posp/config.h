/* What posward-posp reads from its file. Rows and help: config.c; a documented sample:
 * deploy/config/posp.yaml. */
#ifndef POSWARD_POSP_CONFIG_H
#define POSWARD_POSP_CONFIG_H

#include "iso8583/dictionary.h"
#include "rpc/client.h"
#include "run/service.h"

/* How to reach a peer over gRPC. */
struct peer_config {
    char *target;
    bool insecure;
    char *ca, *cert, *key, *server_name;
};

/* One item of "units": a business unit by name. */
struct unit_config {
    char *name;
    struct peer_config peer;
};

/* One item of "routes": cards whose number begins with `prefix` go to `unit`. */
struct route_config {
    char *prefix; /* digits, "" for all; the longest that fits wins */
    char *type;   /* "purchase" */
    char *unit;   /* name of an item of "units" */
    char *zone;   /* zone whose PIN key the unit holds; NULL: the unit's name */
    int64_t zone_version;
    char *pin_format; /* "iso0", "iso4", or "same": as the terminal's */
    char *zone_suite; /* of the zone's AES key: "aes128" or "aes256"; iso0 always takes the TDES key */
};

struct posp_config {
    struct service_config service; /* first: run reads it */
    char *terminals_listen, *dialect_name;
    int64_t terminals_max_connections, terminals_idle_ms, terminals_max_message_bytes, terminals_workers;
    char *store_path;
    char *acquirer_id;
    struct peer_config hsm, posv;
    int64_t hsm_timeout_ms, hsm_report_period_ms, hsm_reseal_per_second, forward_timeout_ms,
        reversal_retry_ms;
    struct conf_items units;  /* struct unit_config */
    struct conf_items routes; /* struct route_config */
};

extern const struct conf_row posp_config_rows[];

/* What rows alone cannot say: routes name units, names and prefixes stand once, peers are reached with TLS
 * or on loopback. Opens nothing. ERR_INPUT names the key. `config`: a struct posp_config. */
enum err_code posp_config_check(const void *config, struct err *e) MUST_CHECK;
/* The dialect of `name`; NULL when there is none. */
const struct iso_dialect *posp_config_dialect(const char *name);
/* A channel to a peer; `foreign` as in struct rpc_channel_options. */
enum err_code peer_connect(const struct peer_config *peer, bool foreign, struct rpc_channel **out_channel,
                           struct err *e) MUST_CHECK;

#endif

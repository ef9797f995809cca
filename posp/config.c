#include "posp/config.h"

#include "base/hex.h"
#include "base/terms.h"

#include <stdio.h>
#include <string.h>

#define UNITS_MAX  64
#define ROUTES_MAX 1024

/* NOLINTBEGIN(bugprone-macro-parentheses): the members of offsetof cannot stand in parentheses */
/* Rows of one peer at `prefix` ("hsm"), whose struct peer_config is `member` of `owner`. */
#define PEER_ROWS(owner, member, prefix, default_target, must)                                               \
    {.key = prefix "target",                                                                                 \
     .type = CONF_STRING,                                                                                    \
     .offset = offsetof(owner, member.target),                                                               \
     .fallback = (default_target),                                                                           \
     .required = (must),                                                                                     \
     .help = "gRPC target: host:port, or ipv4:a:port,b:port for several."},                                  \
        {.key = prefix "tls.insecure",                                                                       \
         .type = CONF_BOOL,                                                                                  \
         .offset = offsetof(owner, member.insecure),                                                         \
         .fallback = "false",                                                                                \
         .help = "Speak without TLS. Accepted on loopback only."},                                           \
        {.key = prefix "tls.ca",                                                                             \
         .type = CONF_STRING,                                                                                \
         .offset = offsetof(owner, member.ca),                                                               \
         .help = "PEM file of the authority that the peer's certificate must chain to."},                    \
        {.key = prefix "tls.cert",                                                                           \
         .type = CONF_STRING,                                                                                \
         .offset = offsetof(owner, member.cert),                                                             \
         .help = "PEM file of the own certificate chain."},                                                  \
        {.key = prefix "tls.key",                                                                            \
         .type = CONF_STRING,                                                                                \
         .offset = offsetof(owner, member.key),                                                              \
         .help = "PEM file of the own private key."},                                                        \
    {                                                                                                        \
        .key = prefix "tls.server_name", .type = CONF_STRING, .offset = offsetof(owner, member.server_name), \
        .help = "Name to check in the peer's certificate, when it is not the target's."                      \
    }
/* NOLINTEND(bugprone-macro-parentheses) */

static const struct conf_row unit_rows[] = {
    {.key = "name",
     .type = CONF_STRING,
     .offset = offsetof(struct unit_config, name),
     .required = true,
     .help = "How routes call this unit: up to 31 characters a-z 0-9 -."},
    PEER_ROWS(struct unit_config, peer, "", NULL, true),
    CONF_END,
};
static const struct conf_list unit_list = {.rows = unit_rows, .item_bytes = sizeof(struct unit_config)};

static const struct conf_row route_rows[] = {
    {.key = "prefix",
     .type = CONF_STRING,
     .offset = offsetof(struct route_config, prefix),
     .fallback = "",
     .help = "First digits of the card numbers (BIN); empty: all. The longest that fits wins."},
    {.key = "type",
     .type = CONF_STRING,
     .offset = offsetof(struct route_config, type),
     .fallback = "purchase",
     .help = "Transaction type: purchase."},
    {.key = "unit",
     .type = CONF_STRING,
     .offset = offsetof(struct route_config, unit),
     .required = true,
     .help = "Name of the business unit."},
    {.key = "zone",
     .type = CONF_STRING,
     .offset = offsetof(struct route_config, zone),
     .help = "Zone whose PIN key the unit holds, as the HSM service names it; absent: the unit's name."},
    {.key = "zone_version",
     .type = CONF_INT,
     .offset = offsetof(struct route_config, zone_version),
     .fallback = "0",
     .least = 0,
     .most = 255,
     .help = "Version of the zone's PIN key; 0: the newest."},
    {.key = "zone_suite",
     .type = CONF_STRING,
     .offset = offsetof(struct route_config, zone_suite),
     .fallback = "aes128",
     .help = "Suite of the zone's AES PIN key, for iso4: aes128 or aes256. iso0 takes the zone's TDES key."},
    {.key = "pin_format",
     .type = CONF_STRING,
     .offset = offsetof(struct route_config, pin_format),
     .fallback = "same",
     .help = "PIN block that the unit gets: iso0 (TDES zone key), iso4 (AES), or same: as the terminal's."},
    CONF_END,
};
static const struct conf_list route_list = {.rows = route_rows, .item_bytes = sizeof(struct route_config)};

#define AT(member) .offset = offsetof(struct posp_config, member)

const struct conf_row posp_config_rows[] = {
    SERVICE_CONFIG_ROWS("127.0.0.1:7002", "127.0.0.1:7102"),
    {.key = "terminals.listen",
     .type = CONF_STRING,
     AT(terminals_listen),
     .fallback = "127.0.0.1:7800",
     .help = "Address and port where terminals connect (ISO 8583 over TCP); port 0 takes a free one."},
    {.key = "terminals.dialect",
     .type = CONF_STRING,
     AT(dialect_name),
     .fallback = "unionpay",
     .help = "ISO 8583 dialect of the terminals."},
    {.key = "terminals.max_connections",
     .type = CONF_INT,
     AT(terminals_max_connections),
     .fallback = "1024",
     .least = 1,
     .most = 16384,
     .help = "Connections at a time; one more is closed at once."},
    {.key = "terminals.idle_timeout_ms",
     .type = CONF_INT,
     AT(terminals_idle_ms),
     .fallback = "60000",
     .least = 100,
     .most = 3600000,
     .help = "A connection that neither completes a message nor takes an answer for so long is closed."},
    {.key = "terminals.max_message_bytes",
     .type = CONF_INT,
     AT(terminals_max_message_bytes),
     .fallback = "2048",
     .least = 256,
     .most = 4096,
     .help = "Longest message from a terminal, with length, TPDU and header; a longer one closes the "
             "connection. The HSM service takes no longer ones."},
    {.key = "terminals.workers",
     .type = CONF_INT,
     AT(terminals_workers),
     .fallback = "32",
     .least = 1,
     .most = 256,
     .help =
         "Threads that work on terminals' messages; each waits for the HSM service and the business unit."},
    {.key = "store.path",
     .type = CONF_STRING,
     AT(store_path),
     .required = true,
     .help = "SQLite file of devices, working-key blobs, cards and the journal."},
    {.key = "acquirer.id",
     .type = CONF_STRING,
     AT(acquirer_id),
     .fallback = "01050000",
     .help = "Acquiring institution, field 32: up to 11 digits."},
    PEER_ROWS(struct posp_config, hsm, "hsm.", "127.0.0.1:7001", false),
    {.key = "hsm.timeout_ms",
     .type = CONF_INT,
     AT(hsm_timeout_ms),
     .fallback = "3000",
     .least = 50,
     .most = 60000,
     .help = "How long one call of the HSM service may take."},
    {.key = "hsm.report_period_ms",
     .type = CONF_INT,
     AT(hsm_report_period_ms),
     .fallback = "300000",
     .least = 1000,
     .most = 3600000,
     .help = "How often the HSM service is told how many cards and blobs depend on which key; after changes "
             "within a tenth of it."},
    {.key = "hsm.reseal_per_second",
     .type = CONF_INT,
     AT(hsm_reseal_per_second),
     .fallback = "500",
     .least = 0,
     .most = 100000,
     .help = "After a rotation of the storage key: how many key blobs a second are moved to the new one as "
             "terminals pay, at most; 0: none. `posward posp reseal` moves all, at this rate or its own."},
    PEER_ROWS(struct posp_config, posv, "posv.", "127.0.0.1:7003", false),
    {.key = "forward.timeout_ms",
     .type = CONF_INT,
     AT(forward_timeout_ms),
     .fallback = "10000",
     .least = 50,
     .most = 60000,
     .help = "How long a business unit may take; then the terminal gets 98 and a reversal follows."},
    {.key = "forward.reversal_retry_ms",
     .type = CONF_INT,
     AT(reversal_retry_ms),
     .fallback = "2000",
     .least = 50,
     .most = 3600000,
     .help = "Pause between two rounds of reversals that are not acknowledged yet."},
    {.key = "units",
     .type = CONF_LIST,
     AT(units),
     .most = UNITS_MAX,
     .list = &unit_list,
     .help = "Business units: whoever authorises."},
    {.key = "routes",
     .type = CONF_LIST,
     AT(routes),
     .most = ROUTES_MAX,
     .list = &route_list,
     .help = "Which card goes to which unit."},
    CONF_END,
};

const struct iso_dialect *posp_config_dialect(const char *name)
{
    for (const struct iso_dialect *const *d = iso_dialects; *d != NULL; d++)
        if (strcmp((*d)->name, name) == 0)
            return *d;
    return NULL;
}

static bool one_of(const char *text, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

/* What both channels refuse at start, said before. */
static enum err_code check_peer(const struct peer_config *peer, const char *name, struct err *e)
{
    const struct rpc_tls tls = {.ca_path = peer->ca,
                                .cert_path = peer->cert,
                                .key_path = peer->key,
                                .server_name = peer->server_name,
                                .insecure = peer->insecure};
    enum err_code code = rpc_tls_check(&tls, peer->target, e);
    if (code == ERR_OK && !peer->insecure && peer->ca == NULL)
        code = err_set(e, ERR_INPUT, "set tls.ca to know the peer by");
    return code == ERR_OK ? ERR_OK : err_context(e, "%s", name);
}

static enum err_code check_unit(const struct posp_config *config, size_t at, struct err *e)
{
    const struct unit_config *units = config->units.items, *u = &units[at];
    const size_t len = strlen(u->name);
    char place[32];
    if (len < 1 || len > 31 || strspn(u->name, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
        return err_set(e, ERR_INPUT, "units[%zu].name must be 1 to 31 characters a-z 0-9 -", at);
    for (size_t i = 0; i < at; i++)
        if (strcmp(units[i].name, u->name) == 0)
            return err_set(e, ERR_INPUT, "units[%zu].name '%s' is the name of units[%zu] already", at,
                           u->name, i);
    snprintf(place, sizeof place, "units[%zu]", at);
    return check_peer(&u->peer, place, e);
}

static bool unit_exists(const struct posp_config *config, const char *name)
{
    const struct unit_config *units = config->units.items;
    for (size_t i = 0; i < config->units.count; i++)
        if (strcmp(units[i].name, name) == 0)
            return true;
    return false;
}

static enum err_code check_route(const struct posp_config *config, size_t at, struct err *e)
{
    const struct route_config *routes = config->routes.items, *r = &routes[at];
    if (!digits_only(r->prefix, strlen(r->prefix)) || strlen(r->prefix) > PAN_DIGITS_MAX)
        return err_set(e, ERR_INPUT, "routes[%zu].prefix must be up to %d digits", at, PAN_DIGITS_MAX);
    if (!one_of(r->type, (const char *const[]){"purchase", NULL}))
        return err_set(e, ERR_INPUT, "routes[%zu].type must be purchase", at);
    if (!unit_exists(config, r->unit))
        return err_set(e, ERR_INPUT, "routes[%zu].unit '%.31s' is not in units", at, r->unit);
    if (!one_of(r->pin_format, (const char *const[]){"iso0", "iso4", "same", NULL}))
        return err_set(e, ERR_INPUT, "routes[%zu].pin_format must be iso0, iso4 or same", at);
    if (!one_of(r->zone_suite, (const char *const[]){"aes128", "aes256", NULL}))
        return err_set(e, ERR_INPUT, "routes[%zu].zone_suite must be aes128 or aes256", at);
    for (size_t i = 0; i < at; i++)
        if (strcmp(routes[i].prefix, r->prefix) == 0 && strcmp(routes[i].type, r->type) == 0)
            return err_set(e, ERR_INPUT, "routes[%zu] is for the cards of routes[%zu]: prefix '%s'", at, i,
                           r->prefix);
    return ERR_OK;
}

enum err_code posp_config_check(const void *context, struct err *e)
{
    const struct posp_config *config = context;
    const size_t digits = strlen(config->acquirer_id);
    if (digits < 1 || digits > 11 || !digits_only(config->acquirer_id, digits))
        return err_set(e, ERR_INPUT, "acquirer.id must be 1 to 11 digits");
    if (posp_config_dialect(config->dialect_name) == NULL)
        return err_set(e, ERR_INPUT, "terminals.dialect '%.31s' is not known", config->dialect_name);
    TRY(check_peer(&config->hsm, "hsm", e));
    TRY(check_peer(&config->posv, "posv", e));
    for (size_t i = 0; i < config->units.count; i++)
        TRY(check_unit(config, i, e));
    for (size_t i = 0; i < config->routes.count; i++)
        TRY(check_route(config, i, e));
    return ERR_OK;
}

enum err_code peer_connect(const struct peer_config *peer, bool foreign, struct rpc_channel **out_channel,
                           struct err *e)
{
    const struct rpc_channel_options options = {
        .target = peer->target,
        .foreign = foreign,
        .tls = {.ca_path = peer->ca,
                .cert_path = peer->cert,
                .key_path = peer->key,
                .server_name = peer->server_name,
                .insecure = peer->insecure},
    };
    return rpc_channel_new(&options, out_channel, e);
}

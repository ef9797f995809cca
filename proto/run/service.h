/* What every daemon does, once: options, configuration, logging, gRPC servers, metrics, signals, drain.
 *
 * main.c is a spec and `return service_main(&spec, argc, argv);`. Options: --config FILE, --check-config,
 * --help,
 * --help-config, --version. SIGTERM and SIGINT drain; SIGHUP calls `reload`. Exit status: 0 orderly, 1 start
 * or run failed, 2 usage. When it serves, it logs "serving" with each port and tells systemd by sd_notify's
 * protocol. SIGTERM, SIGINT and SIGHUP are blocked in every thread from before `start` on, and SIGPIPE is
 * ignored: a daemon that spawns a process gives it an empty mask and default handlers
 * (posix_spawnattr_setsigmask, ..._setsigdefault). The functions of the spec run on the main thread, unless
 * they say otherwise. */
#ifndef POSWARD_RUN_SERVICE_H
#define POSWARD_RUN_SERVICE_H

#include "base/conf.h"
#include "rpc/server.h"
#include "run/prometheus.h"
#include "run/roles.h"

/* Keys that every daemon has; the first member of each daemon's configuration struct. */
struct service_config {
    char *listen;                      /* "listen" */
    bool insecure;                     /* "tls.insecure" */
    char *tls_ca, *tls_cert, *tls_key; /* "tls.ca", "tls.cert", "tls.key" */
    struct conf_items roles;           /* "roles": struct roles_grant */
    char *insecure_role;               /* "insecure_role" */
    char *trusted_proxy;               /* "trusted_proxy" */
    bool reflection;                   /* "reflection" */
    char *log_level;                   /* "log.level": debug, info, warn, error */
    char *log_format;                  /* "log.format": text, json */
    char *metrics_listen;              /* "metrics.listen": HTTP address for /metrics; absent: none */
    int64_t max_message_bytes, max_in_flight, worker_count; /* "limits.*" */
    int64_t max_connections, max_connection_streams, memory_mib;
    int64_t lame_duck_ms, drain_ms; /* "drain.*" */
};
/* The rows of service_config, for the head of a daemon's own row table (offsets from 0). */
#define SERVICE_CONFIG_ROWS(default_listen, default_metrics)                                                 \
    {.key = "listen",                                                                                        \
     .type = CONF_STRING,                                                                                    \
     .offset = offsetof(struct service_config, listen),                                                      \
     .fallback = (default_listen),                                                                           \
     .help = "Address and port of the gRPC service."},                                                       \
        {.key = "tls.insecure",                                                                              \
         .type = CONF_BOOL,                                                                                  \
         .offset = offsetof(struct service_config, insecure),                                                \
         .fallback = "false",                                                                                \
         .help = "Serve without TLS. Accepted on loopback only."},                                           \
        {.key = "tls.ca",                                                                                    \
         .type = CONF_STRING,                                                                                \
         .offset = offsetof(struct service_config, tls_ca),                                                  \
         .help = "PEM file of the authority that peers' certificates must chain to."},                       \
        {.key = "tls.cert",                                                                                  \
         .type = CONF_STRING,                                                                                \
         .offset = offsetof(struct service_config, tls_cert),                                                \
         .help = "PEM file of this service's certificate chain."},                                           \
        {.key = "tls.key",                                                                                   \
         .type = CONF_STRING,                                                                                \
         .offset = offsetof(struct service_config, tls_key),                                                 \
         .help = "PEM file of this service's private key."},                                                 \
        {.key = "roles",                                                                                     \
         .type = CONF_LIST,                                                                                  \
         .offset = offsetof(struct service_config, roles),                                                   \
         .list = &roles_grant_list,                                                                          \
         .help = "Who has which roles. Whoever is not here is refused in the TLS handshake."},               \
        {.key = "insecure_role",                                                                             \
         .type = CONF_STRING,                                                                                \
         .offset = offsetof(struct service_config, insecure_role),                                           \
         .fallback = "all",                                                                                  \
         .help = "Roles of every caller under tls.insecure, where nobody proves who they are; or all."},     \
        {.key = "trusted_proxy",                                                                             \
         .type = CONF_STRING,                                                                                \
         .offset = offsetof(struct service_config, trusted_proxy),                                           \
         .fallback = "",                                                                                     \
         .help = "Identity of a proxy in front; the caller is then whom the header "                         \
                 "x-posward-client-identity names. Empty: none."},                                           \
        {.key = "reflection",                                                                                \
         .type = CONF_BOOL,                                                                                  \
         .offset = offsetof(struct service_config, reflection),                                              \
         .fallback = "true",                                                                                 \
         .help = "Answer gRPC reflection to operator, auditor and monitor; false: to nobody."},              \
        {.key = "log.level",                                                                                 \
         .type = CONF_STRING,                                                                                \
         .offset = offsetof(struct service_config, log_level),                                               \
         .fallback = "info",                                                                                 \
         .help = "Least level that is written: debug, info, warn or error."},                                \
        {.key = "log.format",                                                                                \
         .type = CONF_STRING,                                                                                \
         .offset = offsetof(struct service_config, log_format),                                              \
         .fallback = "text",                                                                                 \
         .help = "text, or json with one object a line."},                                                   \
        {.key = "metrics.listen",                                                                            \
         .type = CONF_STRING,                                                                                \
         .offset = offsetof(struct service_config, metrics_listen),                                          \
         .fallback = (default_metrics),                                                                      \
         .help = "Address of the Prometheus endpoint /metrics; empty: none."},                               \
        {.key = "limits.max_message_bytes",                                                                  \
         .type = CONF_INT,                                                                                   \
         .offset = offsetof(struct service_config, max_message_bytes),                                       \
         .fallback = "131072",                                                                               \
         .least = 1024,                                                                                      \
         .most = 16777216,                                                                                   \
         .help = "Largest request that is read."},                                                           \
        {.key = "limits.max_in_flight",                                                                      \
         .type = CONF_INT,                                                                                   \
         .offset = offsetof(struct service_config, max_in_flight),                                           \
         .fallback = "1024",                                                                                 \
         .least = 1,                                                                                         \
         .most = 65536,                                                                                      \
         .help = "Calls in flight; one more is answered RESOURCE_EXHAUSTED. One identity gets at most "      \
                 "three quarters of them."},                                                                 \
        {.key = "limits.max_connections",                                                                    \
         .type = CONF_INT,                                                                                   \
         .offset = offsetof(struct service_config, max_connections),                                         \
         .fallback = "512",                                                                                  \
         .least = 8,                                                                                         \
         .most = 65536,                                                                                      \
         .help = "gRPC connections; over it some are closed, first those without a call."},                  \
        {.key = "limits.max_connection_streams",                                                             \
         .type = CONF_INT,                                                                                   \
         .offset = offsetof(struct service_config, max_connection_streams),                                  \
         .fallback = "128",                                                                                  \
         .least = 1,                                                                                         \
         .most = 65536,                                                                                      \
         .help = "Calls at a time on one connection; more wait at the client."},                             \
        {.key = "limits.memory_mib",                                                                         \
         .type = CONF_INT,                                                                                   \
         .offset = offsetof(struct service_config, memory_mib),                                              \
         .fallback = "256",                                                                                  \
         .least = 16,                                                                                        \
         .most = 65536,                                                                                      \
         .help = "Memory for the buffers of gRPC connections; over it connections are closed."},             \
        {.key = "limits.worker_count",                                                                       \
         .type = CONF_INT,                                                                                   \
         .offset = offsetof(struct service_config, worker_count),                                            \
         .fallback = "4",                                                                                    \
         .least = 1,                                                                                         \
         .most = 256,                                                                                        \
         .help = "Threads that run unary handlers."},                                                        \
        {.key = "drain.lame_duck_ms",                                                                        \
         .type = CONF_INT,                                                                                   \
         .offset = offsetof(struct service_config, lame_duck_ms),                                            \
         .fallback = "300",                                                                                  \
         .least = 0,                                                                                         \
         .most = 60000,                                                                                      \
         .help = "Time between telling clients to leave and refusing new calls."},                           \
    {                                                                                                        \
        .key = "drain.grace_ms", .type = CONF_INT, .offset = offsetof(struct service_config, drain_ms),      \
        .fallback = "5000", .least = 0, .most = 600000,                                                      \
        .help = "Time that calls in flight have to finish before they are cancelled."                        \
    }

/* A gRPC server of a daemon: a port with a completion queue, slots and workers of its own. The limits of
 * service_config apply to each, but for what a row says otherwise. */
#define SERVICE_SERVERS_MAX 2
struct service_server {
    const char *plane;      /* label of its metrics; NULL: none, where there is one server */
    const char *listen_key; /* its address in the configuration and the log, such as "listen" */
    const char *port_key;   /* its port in the log, such as "port" */
    size_t listen;          /* offset of the address, a char *, in the daemon's whole struct */
    size_t max_in_flight;   /* offset of its own limit, an int64_t; 0: limits.max_in_flight */
};

struct service_spec {
    const char *name;            /* "posward-posv" */
    const char *summary;         /* one sentence for --help */
    const struct conf_row *rows; /* SERVICE_CONFIG_ROWS, then the daemon's own, then CONF_END */
    size_t config_bytes;         /* of the struct whose first member is struct service_config */
    /* Refuse what rows cannot: keys that contradict each other, files that are missing. Opens nothing; runs
     * for
     * --check-config too, with the daemon's whole struct. NULL: nothing to check. */
    enum err_code (*check)(const void *config, struct err *e);
    /* The descriptors that it needs besides its gRPC connections, and in *out_key the key of the
     * configuration that decides on them. NULL: few. */
    size_t (*descriptors)(const void *config, const char **out_key);
    /* Ends with a row without listen_key; at most SERVICE_SERVERS_MAX. NULL: one server, on `listen`. */
    const struct service_server *servers;
    /* Open what the daemon needs and add its services to its servers, which are in the order of `servers`:
     * servers[0] is the only one of most daemons. `config` lives until after `stop`, the array too. */
    enum err_code (*start)(const void *config, struct rpc_server *const *servers, void **out_state,
                           struct err *e);
    /* Runs after all servers listen, with the first of them; NULL: nothing. Health is NOT_SERVING until it
     * returns. */
    enum err_code (*serve)(void *state, struct rpc_server *server, struct err *e);
    /* The table of method x role, by server; `start` must add exactly its methods. NULL: everyone who can
     * connect. */
    const struct roles_row *roles;
    /* What roles may grant besides; NULL: nothing, and may, zones and pin_pairs are refused in its
     * configuration. */
    const struct roles_right *rights;
    /* Who has which role, once after `start`: it lives until after `stop`, and follows SIGHUP. NULL: not
     * asked for. */
    void (*granted)(void *state, struct roles *roles);
    /* As rpc_authorise_fn, with the state that `start` made: asked about what the table lets pass. Any
     * thread. NULL: no more is asked. */
    enum err_code (*authorise)(void *state, const struct rpc_peer *peer, const char *path, struct err *e);
    /* As rpc_refused_fn, with the state that `start` made. Any thread. NULL: nothing. */
    void (*refused)(void *state, const struct rpc_call *call, const char *path, const struct err *e);
    void (*drain)(
        void *state); /* before the gRPC servers drain: stop own listeners, if any run; NULL: nothing */
    void (*reload)(void *state); /* SIGHUP, after the roles were read again; NULL: no more to do */
    void (*stop)(void *state);   /* after the gRPC servers are down; accepts NULL */
    /* Append own families; NULL: none. The common ones are there already. Runs on the
     * endpoint's thread, from the end of `serve` until before `stop`. */
    void (*metrics)(void *state, struct prometheus *page);
};

int service_main(const struct service_spec *spec, int argc, char **argv);

#endif

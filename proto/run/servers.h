/* The gRPC servers of one daemon: most have one, a few a second one on a port of its own, so that whoever
 * floods the one leaves the other alone. Each has its own completion queue, slots and worker threads.
 * Internal to service.c, whose main thread calls, unless a function says otherwise. */
#ifndef POSWARD_RUN_SERVERS_H
#define POSWARD_RUN_SERVERS_H

#include "base/log.h"
#include "run/service.h"

/* What a server's may_connect gets: whose server, and which. */
struct servers_plane {
    void *context; /* of the options */
    unsigned number;
};

struct servers {
    const struct service_server *rows; /* ends with a row without listen_key */
    size_t count;
    struct rpc_server *list[SERVICE_SERVERS_MAX]; /* in the order of `rows` */
    struct servers_plane planes[SERVICE_SERVERS_MAX];
};

/* The daemon's rows, or the one row of a daemon that has none. */
const struct service_server *servers_rows(const struct service_spec *spec);
/* Where a server listens, by the configuration. */
const char *servers_address(const struct service_server *row, const struct service_config *config);
/* ERR_INPUT: an address that `tls` does not allow, or that stands twice. */
enum err_code servers_check(const struct service_server *rows, const struct service_config *config,
                            const struct rpc_tls *tls, struct err *e) MUST_CHECK;
/* `options` are those of each server, except for `listen`, limits of its own, and connect_context, which becomes
 * a struct servers_plane. `out_servers` must not move. On failure what was made is in *out_servers, for
 * servers_free. */
enum err_code servers_new(const struct service_server *rows, const struct service_config *config,
                          const struct rpc_server_options *options, struct servers *out_servers,
                          struct err *e) MUST_CHECK;
enum err_code servers_start(struct servers *servers, struct err *e) MUST_CHECK;
void servers_set_serving(struct servers *servers, bool serving);
void servers_recheck(struct servers *servers);
/* All at once, so that two take no longer than one. Passes over those that never started. */
void servers_drain(struct servers *servers, int64_t lame_duck_ms, int64_t grace_ms);
void servers_free(struct servers *servers);
/* They use the same files, and each looks at them for itself: broken where one says so, the end of validity
 * that comes first, the changes that all have taken. Any thread. */
struct rpc_tls_state servers_tls_state(const struct servers *servers);
/* Addresses and ports as fields, SERVERS_LOG_FIELDS at most; returns how many. */
#define SERVERS_LOG_FIELDS (2 * SERVICE_SERVERS_MAX)
size_t servers_log_fields(const struct servers *servers, const struct service_config *config,
                          struct log_field *out_fields);

#endif

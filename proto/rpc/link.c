#include "rpc/link.h"

#include "base/clock.h"
#include "base/log.h"
#include "rpc/channel_state.h"
#include "rpc/credentials.h"
#include "rpc/keepalive.h"

#include <grpc/grpc_security.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TARGET_BYTES         512
#define RECONNECT_FIRST_MS   100
#define RECONNECT_MOST_MS    1000
#define RECONNECT_CONNECT_MS 2000 /* for one attempt to connect */
#define MAX_METADATA_BYTES   8192

/* Several addresses, or a name that may have several: use all, and leave one that says NOT_SERVING. */
static const char round_robin[] =
    "{\"loadBalancingConfig\":[{\"round_robin\":{}}],\"healthCheckConfig\":{\"serviceName\":\"\"}}";

static grpc_arg int_arg(const char *key, int value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

static grpc_arg text_arg(const char *key, const char *value)
{
    return (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)key, .value.string = (char *)value};
}

/* A literal address needs no resolver. */
static void full_target(const char *target, char out_target[TARGET_BYTES])
{
    const bool ipv4 = strspn(target, "0123456789.:,") == strlen(target) && strchr(target, '.') != NULL;
    const char *scheme = ipv4 ? "ipv4:" : target[0] == '[' ? "ipv6:" : "";
    snprintf(out_target, TARGET_BYTES, "%s%s", scheme, target);
}

static grpc_channel *make_core(const struct rpc_links *links, grpc_channel_credentials *credentials)
{
    const size_t most = links->max_message_bytes;
    const int ping_ms = links->foreign ? RPC_FOREIGN_KEEPALIVE_MS : RPC_CLIENT_KEEPALIVE_MS,
              pong_ms = links->foreign ? RPC_FOREIGN_KEEPALIVE_TIMEOUT_MS : RPC_CLIENT_KEEPALIVE_TIMEOUT_MS;
    grpc_arg args[14] = {
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, most > INT_MAX ? INT_MAX : (int)most),
        int_arg(GRPC_ARG_MAX_METADATA_SIZE, MAX_METADATA_BYTES),
        int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, RECONNECT_FIRST_MS),
        int_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, RECONNECT_CONNECT_MS),
        int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, RECONNECT_MOST_MS),
        int_arg(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, RECONNECT_MOST_MS),
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, ping_ms),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, pong_ms),
        int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, !links->foreign),
        int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0), /* a feed sends none */
        /* Two channels to a peer are meant to be two connections. */
        int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
    };
    size_t count = 11;
    char target[TARGET_BYTES];
    full_target(links->target, target);
    if (strchr(target, ',') != NULL || strncmp(target, "dns:", 4) == 0)
        args[count++] = text_arg(GRPC_ARG_SERVICE_CONFIG, round_robin);
    if (links->tls.server_name != NULL)
        args[count++] = text_arg(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, links->tls.server_name);
    const grpc_channel_args all = {count, args};
    return grpc_channel_create(target, credentials, &all);
}

struct rpc_link {
    grpc_channel *core;
    atomic_size_t holders; /* calls, and the links while it is the current one */
    int64_t made_ms;
    atomic_int_fast64_t heard_ms; /* its peer last answered a call */
};

static enum err_code make_link(const struct rpc_links *links, struct rpc_link **out_link, struct err *e)
{
    grpc_channel_credentials *credentials = NULL;
    TRY(rpc_channel_credentials(&links->tls, links->target, &credentials, e));
    struct rpc_link *const link = calloc(1, sizeof *link);
    if (link != NULL) {
        link->core = make_core(links, credentials);
        link->made_ms = clock_monotonic_ms();
        atomic_init(&link->holders, 1);
        *out_link = link;
    }
    grpc_channel_credentials_release(credentials);
    return link != NULL ? ERR_OK : err_set(e, ERR_LIMIT, "out of memory");
}

enum err_code rpc_links_init(struct rpc_links *links, const struct rpc_channel_options *options,
                             struct err *e)
{
    if (strlen(options->target) > TARGET_BYTES - 16)
        return err_set(e, ERR_INPUT, "target is over %d characters", TARGET_BYTES - 16);
    *links =
        (struct rpc_links){.target = strdup(options->target),
                           .tls = options->tls,
                           .foreign = options->foreign,
                           .max_message_bytes = options->max_message_bytes != 0 ? options->max_message_bytes
                                                                                : RPC_DEFAULT_MESSAGE_BYTES,
                           .looked_ms = clock_monotonic_ms()};
    if (links->target == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    (void)pem_changed(&links->watch, &links->tls); /* before they are read: a change meanwhile is seen */
    const enum err_code code = make_link(links, &links->current, e);
    if (code != ERR_OK) {
        free(links->target);
        return code;
    }
    pthread_mutex_init(&links->lock, NULL);
    return ERR_OK;
}

void rpc_links_drop(struct rpc_links *links)
{
    rpc_link_leave(links->current);
    pthread_mutex_destroy(&links->lock);
    free(links->target);
}

/* Lock held. Files that do not do leave the connection as it is; the server's own metrics and the refused
 * handshakes of the day when it ends tell of them. */
static struct rpc_link *renew(struct rpc_links *links)
{
    const int64_t now_ms = clock_monotonic_ms();
    struct rpc_link *fresh = NULL, *const old = links->current;
    struct err e;
    if (links->tls.insecure || now_ms - links->looked_ms < RPC_LINK_LOOK_MS)
        return NULL;
    links->looked_ms = now_ms;
    if (!pem_changed(&links->watch, &links->tls))
        return NULL;
    if (make_link(links, &fresh, &e) != ERR_OK) {
        log_failure(LOG_ERROR, "the changed certificates cannot be used for calls; the old ones go on", &e,
                    LOG_STR("target", links->target));
        return NULL;
    }
    links->current = fresh;
    log_event(LOG_INFO, "calls go on with changed certificates", LOG_STR("target", links->target));
    return old;
}

struct rpc_link *rpc_links_enter(struct rpc_links *links)
{
    pthread_mutex_lock(&links->lock);
    struct rpc_link *const old = renew(links), *const link = links->current;
    atomic_fetch_add(&link->holders, 1);
    pthread_mutex_unlock(&links->lock);
    if (old != NULL)
        rpc_link_leave(old);
    return link;
}

grpc_channel *rpc_link_core(const struct rpc_link *link)
{
    return link->core;
}

void rpc_link_leave(struct rpc_link *link)
{
    if (atomic_fetch_sub(&link->holders, 1) != 1)
        return;
    grpc_channel_destroy(link->core);
    free(link);
}

void rpc_link_heard(struct rpc_link *link)
{
    atomic_store(&link->heard_ms, clock_monotonic_ms());
}

/* Answers that core also makes up by itself say nothing of the peer. */
static bool from_peer(grpc_status_code status)
{
    return status != GRPC_STATUS_DEADLINE_EXCEEDED && status != GRPC_STATUS_UNAVAILABLE &&
           status != GRPC_STATUS_CANCELLED && status != GRPC_STATUS_INTERNAL;
}

/* A connection that core believes in, and that was silent since `begun_ms`. While it connects, or its peer
 * refuses, another one would fare no better; and one as young as that is given time. */
static bool is_silent(const struct rpc_link *link, int64_t begun_ms)
{
    return atomic_load(&link->heard_ms) < begun_ms &&
           clock_monotonic_ms() - link->made_ms >= RPC_LINK_TRIAL_MS &&
           grpc_channel_check_connectivity_state(link->core, 0) == GRPC_CHANNEL_READY;
}

/* Lock held. The link that is not the current one any more; NULL: nothing changed. */
static struct rpc_link *replace(struct rpc_links *links, struct rpc_link *silent)
{
    struct rpc_link *fresh = NULL;
    struct err e;
    if (links->current != silent)
        return NULL;
    if (make_link(links, &fresh, &e) != ERR_OK) {
        log_failure(LOG_ERROR, "no new connection; the silent one stays", &e,
                    LOG_STR("target", links->target));
        return NULL;
    }
    links->current = fresh;
    log_event(LOG_WARN, "a call reached its deadline and its connection is silent; new calls use a new one",
              LOG_STR("target", links->target));
    return silent;
}

void rpc_links_ended(struct rpc_links *links, struct rpc_link *link, int64_t begun_ms,
                     grpc_status_code status)
{
    if (from_peer(status)) {
        rpc_link_heard(link);
        return;
    }
    if (status != GRPC_STATUS_DEADLINE_EXCEEDED || !is_silent(link, begun_ms))
        return;
    pthread_mutex_lock(&links->lock);
    struct rpc_link *const old = replace(links, link);
    pthread_mutex_unlock(&links->lock);
    if (old != NULL)
        rpc_link_leave(old);
}

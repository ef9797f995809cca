#include "run/servers.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

static const struct service_server one_server[] = {
    {.listen_key = "listen", .port_key = "port", .listen = offsetof(struct service_config, listen)}, {0}};

const struct service_server *servers_rows(const struct service_spec *spec)
{
    return spec->servers != NULL ? spec->servers : one_server;
}

const char *servers_address(const struct service_server *row, const struct service_config *config)
{
    const char *const address = *(char *const *)(const void *)((const char *)config + row->listen);
    return address != NULL ? address : "";
}

static bool takes_free_port(const char *address)
{
    const size_t len = strlen(address);
    return len >= 2 && strcmp(address + len - 2, ":0") == 0;
}

enum err_code servers_check(const struct service_server *rows, const struct service_config *config,
                            const struct rpc_tls *tls, struct err *e)
{
    for (const struct service_server *row = rows; row->listen_key != NULL; row++) {
        const char *const address = servers_address(row, config);
        if (address[0] == '\0')
            return err_set(e, ERR_INPUT, "%s is not set; it must be HOST:PORT", row->listen_key);
        if (rpc_tls_check_server(tls, address, e) != ERR_OK)
            return row == rows ? e->code : err_context(e, "%s", row->listen_key);
        for (const struct service_server *other = rows; other < row; other++)
            if (strcmp(address, servers_address(other, config)) == 0 && !takes_free_port(address))
                return err_set(e, ERR_INPUT, "%s and %s are both %.60s; each needs a port of its own",
                               other->listen_key, row->listen_key, address);
    }
    return ERR_OK;
}

enum err_code servers_new(const struct service_server *rows, const struct service_config *config,
                          const struct rpc_server_options *options, struct servers *out_servers,
                          struct err *e)
{
    *out_servers = (struct servers){.rows = rows};
    for (const struct service_server *row = rows; row->listen_key != NULL; row++) {
        if (out_servers->count == SERVICE_SERVERS_MAX)
            return err_set(e, ERR_INTERNAL, "a daemon has at most %d servers", SERVICE_SERVERS_MAX);
        struct rpc_server_options own = *options;
        struct servers_plane *const plane = &out_servers->planes[row - rows];
        *plane = (struct servers_plane){options->connect_context, (unsigned)(row - rows)};
        own.connect_context = plane;
        own.listen = servers_address(row, config);
        if (row->max_in_flight != 0)
            own.max_in_flight =
                (size_t) * (const int64_t *)(const void *)((const char *)config + row->max_in_flight);
        TRY(rpc_server_new(&own, &out_servers->list[out_servers->count], e));
        out_servers->count++;
    }
    return ERR_OK;
}

enum err_code servers_start(struct servers *s, struct err *e)
{
    for (size_t i = 0; i < s->count; i++)
        TRY(rpc_server_start(s->list[i], e));
    return ERR_OK;
}

void servers_set_serving(struct servers *s, bool serving)
{
    for (size_t i = 0; i < s->count; i++)
        rpc_server_set_serving(s->list[i], serving);
}

void servers_recheck(struct servers *s)
{
    for (size_t i = 0; i < s->count; i++)
        rpc_server_recheck(s->list[i]);
}

struct drain {
    struct rpc_server *server;
    int64_t lame_duck_ms, grace_ms;
    pthread_t thread;
    bool has_thread;
};

static void *drain_one(void *context)
{
    const struct drain *const d = context;
    rpc_server_drain(d->server, d->lame_duck_ms, d->grace_ms);
    return NULL;
}

void servers_drain(struct servers *s, int64_t lame_duck_ms, int64_t grace_ms)
{
    struct drain drains[SERVICE_SERVERS_MAX];
    for (size_t i = 0; i < s->count; i++) {
        struct drain *const d = &drains[i];
        *d = (struct drain){.server = s->list[i], .lame_duck_ms = lame_duck_ms, .grace_ms = grace_ms};
        if (i + 1 < s->count) /* the last one on this thread */
            d->has_thread = pthread_create(&d->thread, NULL, drain_one, d) == 0;
        if (!d->has_thread)
            (void)drain_one(d);
    }
    for (size_t i = 0; i < s->count; i++)
        if (drains[i].has_thread)
            pthread_join(drains[i].thread, NULL);
}

void servers_free(struct servers *s)
{
    for (size_t i = 0; i < s->count; i++)
        rpc_server_free(s->list[i]);
    *s = (struct servers){0};
}

struct rpc_tls_state servers_tls_state(const struct servers *s)
{
    struct rpc_tls_state all = rpc_server_tls_state(s->list[0]);
    for (size_t i = 1; i < s->count; i++) {
        const struct rpc_tls_state one = rpc_server_tls_state(s->list[i]);
        all.broken |= one.broken;
        all.refused += one.refused;
        all.expires_s = one.expires_s < all.expires_s ? one.expires_s : all.expires_s;
        all.taken = one.taken < all.taken ? one.taken : all.taken;
        all.kept = one.kept > all.kept ? one.kept : all.kept;
    }
    return all;
}

size_t servers_log_fields(const struct servers *s, const struct service_config *config,
                          struct log_field *out_fields)
{
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        out_fields[count++] = LOG_STR(s->rows[i].listen_key, servers_address(&s->rows[i], config));
        out_fields[count++] = LOG_INT(s->rows[i].port_key, rpc_server_port(s->list[i]));
    }
    return count;
}

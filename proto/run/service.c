#include "run/service.h"

#include "base/clock.h"
#include "base/log.h"
#include "run/descriptors.h"
#include "run/metrics.h"
#include "run/notify.h"
#include "run/rpc_metrics.h"
#include "run/servers.h"
#include "run/service_options.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_S 1 /* how late joined refusals may be logged */

/* One run, from the configuration to the stop. Freed in the reverse order of the members. */
struct run {
    const struct service_spec *spec;
    const char *config_path;
    const struct service_config *config; /* points at the daemon's whole struct */
    struct roles *roles;                 /* NULL without a table */
    _Atomic uint64_t reloads, reloads_refused;
    struct servers servers;
    void *state;
    struct metrics *metrics;
    atomic_bool deaf;
    int64_t start_wall_ms, start_ms;
    sigset_t signals;
};

/* An empty value in the file says "none" as plainly as no key. */
static const char *path_of(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static struct rpc_tls tls_of(const struct service_config *c)
{
    return (struct rpc_tls){.ca_path = path_of(c->tls_ca),
                            .cert_path = path_of(c->tls_cert),
                            .key_path = path_of(c->tls_key),
                            .insecure = c->insecure};
}

/* *out_roles stays NULL for a daemon without a table. */
static enum err_code make_roles(const struct service_spec *spec, const struct service_config *c,
                                struct roles **out_roles, struct err *e)
{
    const struct roles_options options = {.rows = spec->roles,
                                          .grants = c->roles.items,
                                          .grant_count = c->roles.count,
                                          .insecure = c->insecure,
                                          .insecure_role = c->insecure_role,
                                          .reflection = c->reflection,
                                          .rights = spec->rights};
    return spec->roles != NULL ? roles_new(&options, out_roles, e) : ERR_OK;
}

/* With a role of its own the proxy would be one caller more, whom nobody means. */
static enum err_code check_proxy(const struct service_config *c, struct err *e)
{
    const char *const proxy = path_of(c->trusted_proxy);
    if (proxy == NULL)
        return ERR_OK;
    if (c->insecure)
        return err_set(e, ERR_INPUT,
                       "trusted_proxy needs TLS: the proxy proves its identity by its certificate");
    const struct roles_grant *const grants = c->roles.items;
    for (size_t i = 0; i < c->roles.count; i++)
        if (strcmp(grants[i].identity, proxy) == 0)
            return err_set(e, ERR_INPUT, "trusted_proxy is %.100s, which has roles too; remove it from roles",
                           proxy);
    return ERR_OK;
}

static enum err_code check_config(const struct service_spec *spec, const struct service_config *c,
                                  struct err *e)
{
    enum log_level level;
    TRY(log_level_parse(c->log_level, &level, e));
    if (strcmp(c->log_format, "text") != 0 && strcmp(c->log_format, "json") != 0)
        return err_set(e, ERR_INPUT, "log.format is '%.20s'; it must be text or json", c->log_format);
    const struct rpc_tls tls = tls_of(c);
    TRY(servers_check(servers_rows(spec), c, &tls, e));
    TRY(check_proxy(c, e));
    struct roles *roles = NULL;
    TRY(make_roles(spec, c, &roles, e));
    roles_free(roles);
    return spec->check != NULL ? spec->check(c, e) : ERR_OK;
}

static enum err_code authorise(void *context, const struct rpc_peer *peer, const char *path, struct err *e)
{
    const struct run *const r = context;
    if (r->roles != NULL)
        TRY(roles_authorise(r->roles, peer, path, e));
    return r->spec->authorise != NULL ? r->spec->authorise(r->state, peer, path, e) : ERR_OK;
}

static bool may_connect(void *context, const char *identity)
{
    const struct servers_plane *const plane = context;
    const struct run *const r = plane->context;
    const char *const proxy = path_of(r->config->trusted_proxy);
    if (r->roles == NULL || (proxy != NULL && identity != NULL && strcmp(identity, proxy) == 0))
        return true;
    return roles_knows(r->roles, plane->number, identity);
}

static void refused(void *context, const struct rpc_call *call, const char *path, const struct err *e)
{
    const struct run *const r = context;
    r->spec->refused(r->state, call, path, e);
}

/* Nothing mends a listener inside a started core server, so the process ends in order and its supervisor
 * starts it again. The main thread takes signals one by one, and this is one. */
static void deaf(void *context)
{
    struct run *const r = context;
    log_event(LOG_ERROR, "no more connections are accepted; the process ends, to be started again");
    if (!atomic_exchange(&r->deaf, true))
        (void)kill(getpid(), SIGTERM);
}

static enum err_code raise_descriptors(const struct run *r, struct err *e)
{
    struct descriptors_need need = {0};
    for (const struct service_server *row = servers_rows(r->spec); row->listen_key != NULL; row++)
        need.connections += (size_t)r->config->max_connections;
    if (r->spec->descriptors != NULL)
        need.own = r->spec->descriptors(r->config, &need.own_key);
    return descriptors_raise(&need, e);
}

static enum err_code make_servers(struct run *r, struct err *e)
{
    const struct service_config *const c = r->config;
    const struct rpc_server_options options = {.tls = tls_of(c),
                                               .max_message_bytes = (size_t)c->max_message_bytes,
                                               .max_in_flight = (size_t)c->max_in_flight,
                                               .max_connections = (size_t)c->max_connections,
                                               .max_connection_streams = (size_t)c->max_connection_streams,
                                               .memory_bytes = (size_t)c->memory_mib << 20,
                                               .worker_count = (size_t)c->worker_count,
                                               .may_connect = may_connect,
                                               .connect_context = r,
                                               .trusted_proxy = path_of(c->trusted_proxy),
                                               .authorise = authorise,
                                               .authorise_context = r,
                                               .deaf = deaf,
                                               .refused = r->spec->refused != NULL ? refused : NULL};
    TRY(make_roles(r->spec, c, &r->roles, e));
    TRY(servers_new(servers_rows(r->spec), c, &options, &r->servers, e));
    TRY(r->spec->start(r->config, r->servers.list, &r->state, e));
    if (r->roles == NULL)
        return ERR_OK;
    if (r->spec->granted != NULL)
        r->spec->granted(r->state, r->roles);
    if (c->insecure)
        log_event(LOG_WARN, "callers are not known: tls.insecure gives every caller the roles",
                  LOG_STR("roles", c->insecure_role));
    return roles_check_served(r->roles, r->servers.list, r->servers.count, e);
}

static void write_tls(struct rpc_tls_state tls, struct prometheus *page)
{
    if (!tls.secure)
        return;
    prometheus_family(page, "posward_tls_certificate_expiry_seconds", PROMETHEUS_GAUGE,
                      "End of the certificate in use, in seconds since 1970.");
    prometheus_number(page, NULL, (double)tls.expires_s);
    prometheus_family(page, "posward_tls_certificate_broken", PROMETHEUS_GAUGE,
                      "Whether the PEM files as last seen could not be taken.");
    prometheus_count(page, NULL, tls.broken);
    prometheus_family(page, "posward_tls_reloads_total", PROMETHEUS_COUNTER,
                      "PEM files that changed: taken, or broken and the old ones kept.");
    prometheus_count(page, (const struct prometheus_label[]){{"outcome", "taken"}, {0}}, tls.taken);
    prometheus_count(page, (const struct prometheus_label[]){{"outcome", "kept_old"}, {0}}, tls.kept);
}

static void write_refused(struct rpc_tls_state tls, struct prometheus *page)
{
    if (!tls.secure)
        return;
    prometheus_family(
        page, "posward_tls_peers_refused_total", PROMETHEUS_COUNTER,
        "Connections refused in the TLS handshake: a valid certificate of an identity without a role.");
    prometheus_count(page, NULL, tls.refused);
}

static void write_reloads(const struct run *r, struct prometheus *page)
{
    prometheus_family(page, "posward_config_reloads_total", PROMETHEUS_COUNTER,
                      "Times that SIGHUP had the roles read again: taken, or wrong and the old ones kept.");
    prometheus_count(page, (const struct prometheus_label[]){{"outcome", "taken"}, {0}},
                     atomic_load(&r->reloads));
    prometheus_count(page, (const struct prometheus_label[]){{"outcome", "kept_old"}, {0}},
                     atomic_load(&r->reloads_refused));
}

static void write_servers(const struct run *r, struct prometheus *page)
{
    struct rpc_metrics_source sources[SERVICE_SERVERS_MAX] = {0};
    for (size_t i = 0; i < r->servers.count; i++)
        sources[i] =
            (struct rpc_metrics_source){.server = r->servers.list[i], .plane = r->servers.rows[i].plane};
    rpc_metrics_write(sources, r->servers.count, page);
}

static void write_page(void *context, FILE *out)
{
    const struct run *const r = context;
    const double up = (double)(clock_monotonic_ms() - r->start_ms) / 1000.0;
    struct prometheus page = {.out = out};
    prometheus_family(&page, "posward_build_info", PROMETHEUS_GAUGE, "Program and version; always 1.");
    prometheus_count(
        &page,
        (const struct prometheus_label[]){{"program", r->spec->name}, {"version", POSWARD_VERSION}, {0}}, 1);
    prometheus_family(&page, "process_start_time_seconds", PROMETHEUS_GAUGE,
                      "When this process started, in seconds since 1970.");
    prometheus_number(&page, NULL, (double)r->start_wall_ms / 1000.0);
    prometheus_family(&page, "posward_uptime_seconds", PROMETHEUS_GAUGE, "How long this process has served.");
    prometheus_number(&page, NULL, up);
    write_servers(r, &page);
    write_tls(servers_tls_state(&r->servers), &page);
    write_refused(servers_tls_state(&r->servers), &page);
    if (r->roles != NULL) {
        roles_metrics(r->roles, &page);
        write_reloads(r, &page);
    }
    if (r->spec->metrics != NULL)
        r->spec->metrics(r->state, &page);
}

static void tell_systemd(const char *state)
{
    struct err e = {0};
    if (notify_send(state, &e) != ERR_OK)
        log_failure(LOG_WARN, "systemd was not told", &e, LOG_STR("state", state));
}

static void say_serving(const struct run *r)
{
    struct log_field fields[SERVERS_LOG_FIELDS + 3] = {0};
    const size_t count = servers_log_fields(&r->servers, r->config, fields);
    fields[count] = LOG_INT("metrics_port", r->metrics != NULL ? metrics_port(r->metrics) : 0);
    fields[count + 1] = LOG_STR("version", POSWARD_VERSION);
    log_write(LOG_INFO, "serving", fields);
}

static enum err_code begin(struct run *r, struct err *e)
{
    TRY(raise_descriptors(r, e));
    TRY(make_servers(r, e));
    if (r->spec->serve != NULL)
        servers_set_serving(&r->servers, false);
    TRY(servers_start(&r->servers, e));
    if (r->spec->serve != NULL) {
        TRY(r->spec->serve(r->state, r->servers.list[0], e));
        servers_set_serving(&r->servers, true);
    }
    const char *const metrics_at = r->config->metrics_listen;
    if (metrics_at != NULL && metrics_at[0] != '\0')
        TRY(metrics_new(metrics_at, write_page, r, &r->metrics, e));
    say_serving(r);
    tell_systemd("READY=1");
    return ERR_OK;
}

/* The whole file must be sound, so that what is refused at the next start is refused now. */
static enum err_code read_roles(const struct run *r, void *config, struct err *e)
{
    TRY(conf_load(r->config_path, r->spec->rows, config, e));
    const struct service_config *const fresh = config;
    enum err_code code = check_config(r->spec, fresh, e);
    if (code == ERR_OK)
        code = roles_replace(r->roles, fresh->roles.items, fresh->roles.count, e);
    conf_drop(r->spec->rows, config);
    return code;
}

static void reload_roles(struct run *r)
{
    struct err e = {0};
    void *const config = calloc(1, r->spec->config_bytes);
    const enum err_code code = config != NULL ? read_roles(r, config, &e)
                                              : err_set(&e, ERR_LIMIT, "no memory for the configuration");
    free(config);
    if (code != ERR_OK) {
        atomic_fetch_add(&r->reloads_refused, 1);
        log_failure(LOG_ERROR, "the configuration is not taken; roles stay as they are", &e);
        return;
    }
    atomic_fetch_add(&r->reloads, 1);
    log_event(LOG_INFO, "roles are read again; other keys need a restart");
    servers_recheck(&r->servers);
}

static void tell_certificates(const struct run *r)
{
    const struct rpc_tls_state tls = servers_tls_state(&r->servers);
    if (tls.broken)
        log_event(LOG_ERROR, "the certificates' files are broken; the ones before are in use");
    else if (tls.secure)
        log_event(LOG_INFO, "certificates in use", LOG_INT("expires_s", tls.expires_s),
                  LOG_INT("changes_taken", tls.taken));
}

static void reload(struct run *r)
{
    log_event(LOG_INFO, "reloading");
    if (r->roles != NULL)
        reload_roles(r);
    tell_certificates(r);
    if (r->spec->reload != NULL)
        r->spec->reload(r->state);
}

/* The main thread does nothing but this: signals are blocked in every thread and taken here one by one. */
static enum err_code wait_for_stop(struct run *r, struct err *e)
{
    const struct timespec tick = {.tv_sec = TICK_S};
    for (;;) {
        const int number = sigtimedwait(&r->signals, NULL, &tick);
        if (number < 0 && errno != EAGAIN && errno != EINTR)
            return err_errno(e, "sigtimedwait");
        if (atomic_load(&r->deaf))
            return err_set(
                e, ERR_LIMIT,
                "accepting a connection failed, probably for want of file descriptors: raise their "
                "hard limit (LimitNOFILE=), or lower limits.max_connections");
        if (r->roles != NULL)
            roles_tick(r->roles);
        if (number < 0)
            continue;
        if (number != SIGHUP) {
            log_event(LOG_INFO, "draining", LOG_STR("signal", number == SIGTERM ? "SIGTERM" : "SIGINT"));
            return ERR_OK;
        }
        reload(r);
    }
}

/* From any point of begin(): own listeners, calls in flight, metrics (its page reads the state), state,
 * servers. */
static void end(struct run *r, bool started)
{
    if (started)
        tell_systemd("STOPPING=1");
    servers_set_serving(&r->servers, false);
    if (r->spec->drain != NULL && r->state != NULL)
        r->spec->drain(r->state);
    servers_drain(&r->servers, started ? r->config->lame_duck_ms : 0, r->config->drain_ms);
    metrics_free(r->metrics);
    if (r->spec->stop != NULL)
        r->spec->stop(r->state);
    servers_free(&r->servers);
    roles_free(r->roles);
}

static int run_service(const struct service_spec *spec, const struct service_config *config,
                       const char *config_path)
{
    struct run r = {.spec = spec,
                    .config = config,
                    .config_path = config_path,
                    .start_wall_ms = clock_wall_ms(),
                    .start_ms = clock_monotonic_ms()};
    /* Before any thread exists, so that every thread inherits the mask. */
    sigemptyset(&r.signals);
    sigaddset(&r.signals, SIGTERM);
    sigaddset(&r.signals, SIGINT);
    sigaddset(&r.signals, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &r.signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a write that fails, and is told as one */
    struct err e = {0};
    enum err_code code = begin(&r, &e);
    const bool started = code == ERR_OK;
    if (started)
        code = wait_for_stop(&r, &e);
    if (code != ERR_OK)
        log_failure(LOG_ERROR, started ? "failed" : "cannot start", &e);
    end(&r, started);
    if (code == ERR_OK)
        log_event(LOG_INFO, "stopped");
    return code == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int fail_config(const struct service_spec *spec, const struct err *e)
{
    fprintf(stderr, "%s: %s\n", spec->name, e->note);
    return EXIT_FAILURE;
}

/* It was checked before. */
static void print_grants(const struct service_spec *spec, const struct service_config *c)
{
    struct err e = {0};
    struct roles *roles = NULL;
    if (make_roles(spec, c, &roles, &e) == ERR_OK && roles != NULL)
        roles_print(roles, stdout);
    roles_free(roles);
}

static int run_with_config(const struct service_spec *spec, const struct service_options *options,
                           void *config)
{
    struct err e = {0};
    if (conf_load(options->config_path, spec->rows, config, &e) != ERR_OK)
        return fail_config(spec, &e);
    const struct service_config *const common = config;
    int status = EXIT_SUCCESS;
    enum log_level level = LOG_INFO;
    if (check_config(spec, common, &e) != ERR_OK ||
        log_level_parse(common->log_level, &level, &e) != ERR_OK) {
        status = fail_config(spec, &e);
    } else if (options->check_config) {
        printf("%s: the configuration is valid\n", spec->name);
        print_grants(spec, common);
    } else {
        log_setup(spec->name, level, strcmp(common->log_format, "json") == 0);
        status = run_service(spec, common, options->config_path);
    }
    conf_drop(spec->rows, config);
    return status;
}

int service_main(const struct service_spec *spec, int argc, char **argv)
{
    struct service_options options = {0};
    int status = EXIT_SUCCESS;
    if (!service_options_read(spec, argc, argv, &options, &status))
        return status;
    void *const config = calloc(1, spec->config_bytes);
    if (config == NULL) {
        fprintf(stderr, "%s: no memory for the configuration\n", spec->name);
        return EXIT_FAILURE;
    }
    status = run_with_config(spec, &options, config);
    free(config);
    return status;
}

#include "run/roles_inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/repeats.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LOG_PERIOD_MS 10000 /* equal refusals are joined so long */

/* Reflection tells no secret but draws the map; where callers are known it is for those who look. */
#define REFLECTION_ROLES (ROLE_OPERATOR | ROLE_AUDITOR | ROLE_MONITOR)
static const struct roles_row common_rows[] = {
    {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", REFLECTION_ROLES},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", REFLECTION_ROLES},
};
#define COMMON_ROWS (sizeof common_rows / sizeof common_rows[0])

enum reason { REASON_IDENTITY, REASON_ROLE, REASON_RIGHT, REASON_COUNT };
static const char *const reason_names[REASON_COUNT] = {"unauthenticated", "denied", "right"};

struct method {
    const char *path;
    unsigned allowed, server;
    bool everywhere; /* a method of every server */
    atomic_uint_fast64_t refused[REASON_COUNT];
};

struct roles {
    struct method *methods; /* by path */
    size_t method_count;
    const struct roles_right *rights; /* NULL: none */
    bool insecure;
    struct roles_holder insecure_caller;

    pthread_rwlock_t granting;
    struct roles_holders *holders;
    struct repeats *refusals;
};

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct method *)a)->path, ((const struct method *)b)->path);
}

static enum err_code take_rows(struct roles *r, const struct roles_options *options, struct err *e)
{
    size_t count = 0;
    while (options->rows[count].path != NULL)
        count++;
    r->methods = calloc(count + COMMON_ROWS, sizeof *r->methods);
    if (r->methods == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    for (size_t i = 0; i < count; i++)
        r->methods[r->method_count++] = (struct method){.path = options->rows[i].path,
                                                        .allowed = options->rows[i].allowed,
                                                        .server = options->rows[i].server};
    for (size_t i = 0; i < COMMON_ROWS; i++)
        r->methods[r->method_count++] =
            (struct method){.path = common_rows[i].path,
                            .allowed = options->reflection ? common_rows[i].allowed : 0,
                            .everywhere = true};
    qsort(r->methods, r->method_count, sizeof *r->methods, by_path);
    for (size_t i = 1; i < r->method_count; i++)
        if (by_path(&r->methods[i - 1], &r->methods[i]) == 0)
            return err_set(e, ERR_INTERNAL, "%s has two rows in the table of roles", r->methods[i].path);
    return ERR_OK;
}

static enum err_code take_grants(const struct roles *r, const struct roles_grant *grants, size_t count,
                                 struct roles_holders **out_holders, struct err *e)
{
    if (!r->insecure && count == 0)
        return err_set(e, ERR_INPUT,
                       "roles is empty: nobody could call; name identities and their roles, such as "
                       "identity: spiffe://posward/posp, roles: posp");
    return roles_holders_new(r->rights, grants, count, out_holders, e);
}

static enum err_code take_options(struct roles *r, const struct roles_options *options, struct err *e)
{
    r->insecure = options->insecure;
    r->rights = options->rights;
    TRY(roles_insecure_caller(r->rights, options->insecure_role, &r->insecure_caller, e));
    TRY(take_rows(r, options, e));
    return take_grants(r, options->grants, options->grant_count, &r->holders, e);
}

static void log_repeats(void *context, const struct repeats_sum *sum)
{
    (void)context;
    char more[REPEATS_TEXT_BYTES];
    const enum reason denied = sum->about[0] != '\0' ? REASON_RIGHT : REASON_ROLE;
    repeats_text(sum, more);
    log_event(LOG_WARN, "call refused again",
              LOG_STR("reason", reason_names[sum->code == ERR_DENIED ? denied : REASON_IDENTITY]),
              LOG_STR("identity", sum->who), LOG_STR("method", sum->what), LOG_INT("count", sum->count),
              LOG_STR("note", more));
}

void roles_tick(struct roles *roles)
{
    repeats_tell_due(roles->refusals, clock_monotonic_ms());
}

enum err_code roles_new(const struct roles_options *options, struct roles **out_roles, struct err *e)
{
    struct roles *const r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    pthread_rwlock_init(&r->granting, NULL);
    enum err_code code = repeats_new(LOG_PERIOD_MS, log_repeats, NULL, &r->refusals, e);
    if (code == ERR_OK)
        code = take_options(r, options, e);
    if (code != ERR_OK) {
        roles_free(r);
        return code;
    }
    *out_roles = r;
    return ERR_OK;
}

void roles_free(struct roles *roles)
{
    if (roles == NULL)
        return;
    if (roles->refusals != NULL)
        repeats_tell_all(roles->refusals, clock_monotonic_ms());
    repeats_free(roles->refusals);
    roles_holders_free(roles->holders);
    free(roles->methods);
    pthread_rwlock_destroy(&roles->granting);
    free(roles);
}

enum err_code roles_replace(struct roles *roles, const struct roles_grant *grants, size_t grant_count,
                            struct err *e)
{
    struct roles_holders *fresh = NULL;
    TRY(take_grants(roles, grants, grant_count, &fresh, e));
    pthread_rwlock_wrlock(&roles->granting);
    struct roles_holders *const old = roles->holders;
    roles->holders = fresh;
    pthread_rwlock_unlock(&roles->granting);
    roles_holders_free(old);
    return ERR_OK;
}

static struct method *find_method(const struct roles *r, const char *path)
{
    const struct method key = {.path = path};
    return bsearch(&key, r->methods, r->method_count, sizeof key, by_path);
}

static bool is_served(const struct rpc_server *server, const char *path)
{
    const char *served;
    for (size_t i = 0; (served = rpc_server_guarded_path(server, i)) != NULL; i++)
        if (strcmp(served, path) == 0)
            return true;
    return false;
}

static bool is_of(const struct method *method, unsigned server)
{
    return method->everywhere || method->server == server;
}

static enum err_code check_server(const struct roles *roles, const struct rpc_server *server, unsigned number,
                                  struct err *e)
{
    const char *served;
    for (size_t i = 0; (served = rpc_server_guarded_path(server, i)) != NULL; i++) {
        const struct method *const method = find_method(roles, served);
        if (method == NULL)
            return err_set(e, ERR_INTERNAL, "%s is served but has no row in the table of roles", served);
        if (!is_of(method, number))
            return err_set(e, ERR_INTERNAL,
                           "%s is served on server %u; its row in the table of roles says %u", served, number,
                           method->server);
    }
    for (size_t i = 0; i < roles->method_count; i++)
        if (is_of(&roles->methods[i], number) && !is_served(server, roles->methods[i].path))
            return err_set(e, ERR_INTERNAL, "%s has a row in the table of roles but is not served",
                           roles->methods[i].path);
    return ERR_OK;
}

enum err_code roles_check_served(const struct roles *roles, struct rpc_server *const *servers, size_t count,
                                 struct err *e)
{
    for (size_t i = 0; i < count; i++)
        TRY(check_server(roles, servers[i], (unsigned)i, e));
    for (size_t i = 0; i < roles->method_count; i++)
        if (roles->methods[i].server >= count)
            return err_set(e, ERR_INTERNAL, "%s has a row for server %u in the table of roles; there are %zu",
                           roles->methods[i].path, roles->methods[i].server, count);
    return ERR_OK;
}

size_t roles_count(struct roles *r, enum role role)
{
    size_t count = 0;
    pthread_rwlock_rdlock(&r->granting);
    for (size_t i = 0; !r->insecure && i < r->holders->count; i++)
        count += (r->holders->items[i].roles & (unsigned)role) != 0;
    pthread_rwlock_unlock(&r->granting);
    return count;
}

void roles_view_init(struct roles_view *out_view, struct roles *r, const char *identity)
{
    struct roles_view view = {.insecure = r->insecure};
    if (r->insecure) {
        view.holder = &r->insecure_caller;
    } else if (identity != NULL) {
        pthread_rwlock_rdlock(&r->granting);
        view.holder = roles_holders_find(r->holders, identity);
        if (view.holder != NULL)
            view.held = roles_holders_hold(r->holders);
        pthread_rwlock_unlock(&r->granting);
    }
    view.roles = view.holder != NULL ? view.holder->roles : 0;
    view.rights = view.holder != NULL ? view.holder->rights : 0;
    *out_view = view;
}

static unsigned roles_of(struct roles *r, const char *identity)
{
    AUTO(roles_view) view = {0};
    roles_view_init(&view, r, identity);
    return view.roles;
}

/* Roles that may call some method of the server: others have nothing to connect for. */
static unsigned useful_roles(const struct roles *r, unsigned server)
{
    unsigned roles = 0;
    for (size_t i = 0; i < r->method_count; i++)
        roles |= is_of(&r->methods[i], server) ? r->methods[i].allowed : 0;
    return roles;
}

bool roles_knows(struct roles *r, unsigned server, const char *identity)
{
    const struct repeats_event event = {.who = identity, .what = "connection", .code = ERR_DENIED};
    if (r->insecure || (identity != NULL && (roles_of(r, identity) & useful_roles(r, server)) != 0))
        return true;
    if (repeats_first(r->refusals, &event, clock_monotonic_ms()))
        log_event(LOG_WARN, "connection refused: its identity has no role here",
                  LOG_STR("identity", identity));
    return false;
}

static enum err_code refuse(struct roles *r, struct method *method, enum reason reason,
                            const struct rpc_peer *peer, struct err *e)
{
    static const enum err_code codes[REASON_COUNT] = {ERR_UNAUTHENTICATED, ERR_DENIED};
    char names[ROLE_NAMES_BYTES];
    const struct repeats_event event = {.who = peer->identity, .what = method->path, .code = codes[reason]};
    roles_name(method->allowed, names);
    atomic_fetch_add(&method->refused[reason], 1);
    if (repeats_first(r->refusals, &event, clock_monotonic_ms()))
        log_event(LOG_WARN, "call refused", LOG_STR("reason", reason_names[reason]),
                  LOG_STR("identity", peer->identity), LOG_STR("peer", peer->address),
                  LOG_STR("method", method->path), LOG_STR("allowed", names));
    if (reason == REASON_IDENTITY)
        return err_set(e, ERR_UNAUTHENTICATED,
                       "%.80s needs a client certificate of an identity with a role of: %s", method->path,
                       names);
    return err_set(e, ERR_DENIED, "%.60s may not call %.64s; roles that may: %s",
                   peer->identity != NULL ? peer->identity : "an insecure caller", method->path, names);
}

void roles_refuse_right(struct roles *r, const char *identity, const char *path, const char *why)
{
    struct method *const method = find_method(r, path);
    const struct repeats_event event = {.who = identity, .what = path, .about = why, .code = ERR_DENIED};
    if (method != NULL)
        atomic_fetch_add(&method->refused[REASON_RIGHT], 1);
    if (repeats_first(r->refusals, &event, clock_monotonic_ms()))
        log_event(LOG_WARN, "call refused", LOG_STR("reason", reason_names[REASON_RIGHT]),
                  LOG_STR("identity", identity), LOG_STR("method", path), LOG_STR("why", why));
}

enum err_code roles_authorise(void *roles, const struct rpc_peer *peer, const char *path, struct err *e)
{
    struct roles *const r = roles;
    struct method *const method = find_method(r, path);
    if (method == NULL)
        return err_set(e, ERR_DENIED, "%.100s has no row in the table of roles", path);
    if (!r->insecure && peer->identity == NULL)
        return refuse(r, method, REASON_IDENTITY, peer, e);
    if ((roles_of(r, peer->identity) & method->allowed) == 0)
        return refuse(r, method, REASON_ROLE, peer, e);
    return ERR_OK;
}

void roles_print(struct roles *r, FILE *out)
{
    if (r->insecure) {
        roles_print_holders(r->rights, &r->insecure_caller, 1, out);
        return;
    }
    pthread_rwlock_rdlock(&r->granting);
    struct roles_holders *const held = roles_holders_hold(r->holders);
    pthread_rwlock_unlock(&r->granting);
    roles_print_holders(r->rights, held->items, held->count, out);
    roles_holders_free(held);
}

void roles_metrics(const struct roles *roles, struct prometheus *page)
{
    prometheus_family(page, "posward_refusals_total", PROMETHEUS_COUNTER,
                      "Calls, and items of batches, refused for want of an identity, a role, or a right (may, zones, pin_pairs).");
    for (size_t i = 0; i < roles->method_count; i++)
        for (int reason = 0; reason < REASON_COUNT; reason++) {
            const struct prometheus_label labels[] = {
                {"method", roles->methods[i].path + 1}, {"reason", reason_names[reason]}, {0}};
            prometheus_count(page, labels, atomic_load(&roles->methods[i].refused[reason]));
        }
}

#include "run/roles.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LOG_WINDOW_MS    1000
#define ROLE_NAMES_BYTES 64 /* every name once */

static const struct {
    const char *name;
    enum role role;
} role_names[] = {
    {"issuer", ROLE_ISSUER},     {"posp", ROLE_POSP},       {"posv", ROLE_POSV},
    {"operator", ROLE_OPERATOR}, {"auditor", ROLE_AUDITOR}, {"monitor", ROLE_MONITOR},
};
#define ROLE_COUNT (sizeof role_names / sizeof role_names[0])

/* Reflection tells no secret but draws the map; where callers are known it is for those who look. */
#define REFLECTION_ROLES (ROLE_OPERATOR | ROLE_AUDITOR | ROLE_MONITOR)
static const struct roles_row common_rows[] = {
    {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", REFLECTION_ROLES},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", REFLECTION_ROLES},
};
#define COMMON_ROWS (sizeof common_rows / sizeof common_rows[0])

enum reason { REASON_IDENTITY, REASON_ROLE, REASON_COUNT };
static const char *const reason_names[REASON_COUNT] = {"unauthenticated", "denied"};

struct method {
    const char *path;
    unsigned allowed;
    atomic_uint_fast64_t refused[REASON_COUNT];
};

struct holder {
    char *identity;
    unsigned roles;
};

struct holders {
    struct holder *items; /* by identity */
    size_t count;
};

static void holders_drop(struct holders *h)
{
    for (size_t i = 0; i < h->count; i++)
        free(h->items[i].identity);
    free(h->items);
    *h = (struct holders){0};
}

struct roles {
    struct method *methods; /* by path */
    size_t method_count;
    bool insecure;
    unsigned insecure_roles;

    pthread_rwlock_t granting;
    struct holders holders;

    pthread_mutex_t lock; /* what follows */
    int64_t window_ms;
    unsigned lines;
    uint64_t unlogged;
};

static const struct conf_row grant_rows[] = {
    {.key = "identity",
     .type = CONF_STRING,
     .offset = offsetof(struct roles_grant, identity),
     .required = true,
     .help = "SPIFFE URI of a certificate, such as spiffe://posward/posp; without one, its common name."},
    {.key = "roles",
     .type = CONF_STRING,
     .offset = offsetof(struct roles_grant, roles),
     .required = true,
     .help = "One or more of issuer, posp, posv, operator, auditor, monitor, separated by spaces or commas."},
    CONF_END,
};
const struct conf_list roles_grant_list = {.rows = grant_rows, .item_bytes = sizeof(struct roles_grant)};

static void name_roles(unsigned roles, char out_names[ROLE_NAMES_BYTES])
{
    size_t len = 0;
    out_names[0] = '\0';
    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (roles & role_names[i].role)
            len += (size_t)snprintf(out_names + len, ROLE_NAMES_BYTES - len, "%s%s", len > 0 ? ", " : "",
                                    role_names[i].name);
    if (len == 0)
        snprintf(out_names, ROLE_NAMES_BYTES, "none");
}

static unsigned role_of(const char *word, size_t len)
{
    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (strlen(role_names[i].name) == len && strncmp(word, role_names[i].name, len) == 0)
            return role_names[i].role;
    return 0;
}

static enum err_code parse_roles(const char *text, unsigned *out_roles, struct err *e)
{
    static const char separators[] = " ,\t";
    unsigned roles = 0;
    for (const char *at = text + strspn(text, separators); *at != '\0'; at += strspn(at, separators)) {
        const size_t len = strcspn(at, separators);
        const unsigned role = role_of(at, len);
        if (role == 0)
            return err_set(e, ERR_INPUT,
                           "'%.*s' is no role; there are issuer, posp, posv, operator, auditor and monitor",
                           (int)(len > 20 ? 20 : len), at);
        roles |= role;
        at += len;
    }
    if (roles == 0)
        return err_set(e, ERR_INPUT, "no role is named");
    *out_roles = roles;
    return ERR_OK;
}

static int by_identity(const void *a, const void *b)
{
    return strcmp(((const struct holder *)a)->identity, ((const struct holder *)b)->identity);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct method *)a)->path, ((const struct method *)b)->path);
}

static enum err_code take_grant(struct holders *h, const struct roles_grant *grant, struct err *e)
{
    struct holder *const holder = &h->items[h->count];
    TRY(parse_roles(grant->roles, &holder->roles, e));
    holder->identity = strdup(grant->identity);
    if (holder->identity == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    h->count++;
    return ERR_OK;
}

static enum err_code take_grants(bool insecure, const struct roles_grant *grants, size_t count,
                                 struct holders *out_holders, struct err *e)
{
    AUTO(holders) h = {0};
    if (!insecure && count == 0)
        return err_set(e, ERR_INPUT,
                       "roles is empty: nobody could call; name identities and their roles, such as "
                       "identity: spiffe://posward/posp, roles: posp");
    h.items = calloc(count + 1, sizeof *h.items);
    if (h.items == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    for (size_t i = 0; i < count; i++)
        if (take_grant(&h, &grants[i], e) != ERR_OK)
            return err_context(e, "roles[%zu]", i);
    qsort(h.items, h.count, sizeof *h.items, by_identity);
    for (size_t i = 1; i < h.count; i++)
        if (by_identity(&h.items[i - 1], &h.items[i]) == 0)
            return err_set(e, ERR_INPUT,
                           "roles: identity %.100s stands twice; name all its roles in one item",
                           h.items[i].identity);
    *out_holders = h;
    h = (struct holders){0};
    return ERR_OK;
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
        r->methods[r->method_count++] =
            (struct method){.path = options->rows[i].path, .allowed = options->rows[i].allowed};
    for (size_t i = 0; i < COMMON_ROWS; i++)
        r->methods[r->method_count++] = (struct method){
            .path = common_rows[i].path, .allowed = options->reflection ? common_rows[i].allowed : 0};
    qsort(r->methods, r->method_count, sizeof *r->methods, by_path);
    for (size_t i = 1; i < r->method_count; i++)
        if (by_path(&r->methods[i - 1], &r->methods[i]) == 0)
            return err_set(e, ERR_INTERNAL, "%s has two rows in the table of roles", r->methods[i].path);
    return ERR_OK;
}

static enum err_code take_options(struct roles *r, const struct roles_options *options, struct err *e)
{
    r->insecure = options->insecure;
    if (strcmp(options->insecure_role, "all") == 0)
        r->insecure_roles = ROLE_ALL;
    else if (parse_roles(options->insecure_role, &r->insecure_roles, e) != ERR_OK)
        return err_context(e, "insecure_role (which may also be all)");
    TRY(take_rows(r, options, e));
    return take_grants(r->insecure, options->grants, options->grant_count, &r->holders, e);
}

enum err_code roles_new(const struct roles_options *options, struct roles **out_roles, struct err *e)
{
    struct roles *const r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    pthread_mutex_init(&r->lock, NULL);
    pthread_rwlock_init(&r->granting, NULL);
    const enum err_code code = take_options(r, options, e);
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
    holders_drop(&roles->holders);
    free(roles->methods);
    pthread_rwlock_destroy(&roles->granting);
    pthread_mutex_destroy(&roles->lock);
    free(roles);
}

enum err_code roles_replace(struct roles *roles, const struct roles_grant *grants, size_t grant_count,
                            struct err *e)
{
    struct holders fresh;
    TRY(take_grants(roles->insecure, grants, grant_count, &fresh, e));
    pthread_rwlock_wrlock(&roles->granting);
    struct holders old = roles->holders;
    roles->holders = fresh;
    pthread_rwlock_unlock(&roles->granting);
    holders_drop(&old);
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

enum err_code roles_check_served(const struct roles *roles, const struct rpc_server *server, struct err *e)
{
    const char *served;
    for (size_t i = 0; (served = rpc_server_guarded_path(server, i)) != NULL; i++)
        if (find_method(roles, served) == NULL)
            return err_set(e, ERR_INTERNAL, "%s is served but has no row in the table of roles", served);
    for (size_t i = 0; i < roles->method_count; i++)
        if (!is_served(server, roles->methods[i].path))
            return err_set(e, ERR_INTERNAL, "%s has a row in the table of roles but is not served",
                           roles->methods[i].path);
    return ERR_OK;
}

size_t roles_count(struct roles *r, enum role role)
{
    size_t count = 0;
    pthread_rwlock_rdlock(&r->granting);
    for (size_t i = 0; !r->insecure && i < r->holders.count; i++)
        count += (r->holders.items[i].roles & (unsigned)role) != 0;
    pthread_rwlock_unlock(&r->granting);
    return count;
}

static unsigned roles_of(struct roles *r, const char *identity)
{
    if (r->insecure)
        return r->insecure_roles;
    struct holder key = {.identity = (char *)identity};
    pthread_rwlock_rdlock(&r->granting);
    const struct holder *const holder =
        bsearch(&key, r->holders.items, r->holders.count, sizeof key, by_identity);
    const unsigned roles = holder != NULL ? holder->roles : 0;
    pthread_rwlock_unlock(&r->granting);
    return roles;
}

/* True when this refusal has a line; *out_unlogged is then how many before it had none. */
static bool may_log(struct roles *r, uint64_t *out_unlogged)
{
    const int64_t now_ms = clock_monotonic_ms();
    pthread_mutex_lock(&r->lock);
    if (now_ms - r->window_ms >= LOG_WINDOW_MS) {
        r->window_ms = now_ms;
        r->lines = 0;
    }
    const bool may = r->lines < ROLES_LOG_BURST;
    if (may) {
        r->lines++;
        *out_unlogged = r->unlogged;
        r->unlogged = 0;
    } else {
        r->unlogged++;
    }
    pthread_mutex_unlock(&r->lock);
    return may;
}

static enum err_code refuse(struct roles *r, struct method *method, enum reason reason,
                            const struct rpc_peer *peer, struct err *e)
{
    char names[ROLE_NAMES_BYTES];
    uint64_t unlogged = 0;
    name_roles(method->allowed, names);
    atomic_fetch_add(&method->refused[reason], 1);
    if (may_log(r, &unlogged))
        log_event(LOG_WARN, "call refused", LOG_STR("reason", reason_names[reason]),
                  LOG_STR("identity", peer->identity), LOG_STR("peer", peer->address),
                  LOG_STR("method", method->path), LOG_STR("allowed", names), LOG_INT("unlogged", unlogged));
    if (reason == REASON_IDENTITY)
        return err_set(e, ERR_UNAUTHENTICATED,
                       "%.80s needs a client certificate of an identity with a role of: %s", method->path,
                       names);
    return err_set(e, ERR_DENIED, "%.60s may not call %.64s; roles that may: %s",
                   peer->identity != NULL ? peer->identity : "an insecure caller", method->path, names);
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

void roles_metrics(const struct roles *roles, struct prometheus *page)
{
    prometheus_family(page, "posward_refusals_total", PROMETHEUS_COUNTER,
                      "Calls refused for want of an identity or of a role.");
    for (size_t i = 0; i < roles->method_count; i++)
        for (int reason = 0; reason < REASON_COUNT; reason++) {
            const struct prometheus_label labels[] = {
                {"method", roles->methods[i].path + 1}, {"reason", reason_names[reason]}, {0}};
            prometheus_count(page, labels, atomic_load(&roles->methods[i].refused[reason]));
        }
}

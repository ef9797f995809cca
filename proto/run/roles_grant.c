#include "run/roles_inside.h"

#include "base/nearest.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum role role;
} role_names[] = {
    {"issuer", ROLE_ISSUER},     {"posp", ROLE_POSP},       {"posv", ROLE_POSV},
    {"operator", ROLE_OPERATOR}, {"auditor", ROLE_AUDITOR}, {"monitor", ROLE_MONITOR},
};
#define ROLE_COUNT (sizeof role_names / sizeof role_names[0])

static const struct conf_row name_rows[] = {
    {.key = "", .type = CONF_STRING, .offset = offsetof(struct roles_name, text), .required = true},
    CONF_END,
};
static const struct conf_list name_list = {.rows = name_rows, .item_bytes = sizeof(struct roles_name)};

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
    {.key = "may",
     .type = CONF_LIST,
     .offset = offsetof(struct roles_grant, may),
     .most = ROLES_MAY_MAX,
     .list = &name_list,
     .help = "HSM service only: its rights; without the key, those that its roles have by default. "
             "--check-config prints what each identity may do."},
    {.key = "zones",
     .type = CONF_LIST,
     .offset = offsetof(struct roles_grant, zones),
     .most = ROLES_ZONES_MAX,
     .list = &name_list,
     .help = "HSM service only: the zones whose keys it may use; without the key all, [] none."},
    {.key = "pin_pairs",
     .type = CONF_LIST,
     .offset = offsetof(struct roles_grant, pin_pairs),
     .most = ROLES_PIN_PAIRS_MAX,
     .list = &name_list,
     .help = "HSM service only: from>to, zones between which it may have PINs translated; without the key "
             "none."},
    CONF_END,
};
const struct conf_list roles_grant_list = {.rows = grant_rows, .item_bytes = sizeof(struct roles_grant)};

/* ---- Roles ---- */

void roles_name(unsigned roles, char out_names[ROLE_NAMES_BYTES])
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

enum err_code roles_parse(const char *text, unsigned *out_roles, struct err *e)
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

/* ---- Rights ---- */

unsigned roles_with_rights(const struct roles_right *rights)
{
    unsigned roles = 0;
    for (const struct roles_right *right = rights; right != NULL && right->name != NULL; right++)
        roles |= right->roles;
    return roles;
}

static unsigned default_rights(const struct roles_right *rights, unsigned roles)
{
    unsigned bits = 0;
    for (const struct roles_right *right = rights; right != NULL && right->name != NULL; right++)
        bits |= (right->defaults & roles) != 0 ? right->bit : 0;
    return bits;
}

static const struct roles_right *right_of(const struct roles_right *rights, const char *name)
{
    for (const struct roles_right *right = rights; right->name != NULL; right++)
        if (strcmp(right->name, name) == 0)
            return right;
    return NULL;
}

static enum err_code refuse_right(const struct roles_right *rights, const char *name, struct err *e)
{
    struct nearest near = {.word = name};
    char all[200] = "";
    size_t len = 0;
    for (const struct roles_right *right = rights; right->name != NULL; right++) {
        nearest_offer(&near, right->name);
        len += (size_t)snprintf(all + len, sizeof all - len, "%s%s", len > 0 ? ", " : "", right->name);
        if (len >= sizeof all)
            len = sizeof all - 1;
    }
    if (nearest_found(&near) == NULL)
        return err_set(e, ERR_INPUT, "may: '%.20s' is none of %s", name, all);
    return err_set(e, ERR_INPUT, "may: '%.40s' is no right; did you mean '%s'?", name, near.best);
}

static enum err_code take_rights(struct roles_holder *h, const struct roles_right *rights,
                                 const struct conf_items *may, struct err *e)
{
    const struct roles_name *const names = may->items;
    for (size_t i = 0; i < may->count; i++) {
        const struct roles_right *const right = right_of(rights, names[i].text);
        if (right == NULL)
            return refuse_right(rights, names[i].text, e);
        char able[ROLE_NAMES_BYTES];
        roles_name(right->roles, able);
        if ((right->roles & h->roles) == 0)
            return err_set(e, ERR_INPUT, "may: %s is of no use to %.60s, which lacks the role: %s",
                           right->name, h->identity, able);
        if (h->rights & right->bit)
            return err_set(e, ERR_INPUT, "may: %s stands twice", right->name);
        h->rights |= right->bit;
    }
    return ERR_OK;
}

/* ---- Zones and pairs ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_drop(struct roles_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    *names = (struct roles_names){0};
}

bool roles_names_have(const struct roles_names *names, const char *name)
{
    return names->count > 0 &&
           bsearch(&name, names->items, names->count, sizeof names->items[0], by_name) != NULL;
}

static enum err_code take_names(struct roles_names *names, const char *key, const struct conf_items *from,
                                struct err *e)
{
    const struct roles_name *const texts = from->items;
    names->items = calloc(from->count + 1, sizeof names->items[0]);
    if (names->items == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    for (; names->count < from->count; names->count++) {
        names->items[names->count] = strdup(texts[names->count].text);
        if (names->items[names->count] == NULL)
            return err_set(e, ERR_LIMIT, "out of memory");
    }
    qsort(names->items, names->count, sizeof names->items[0], by_name);
    for (size_t i = 1; i < names->count; i++)
        if (strcmp(names->items[i - 1], names->items[i]) == 0)
            return err_set(e, ERR_INPUT, "%s: %.70s stands twice", key, names->items[i]);
    return ERR_OK;
}

static bool is_zone(const char *text, size_t len)
{
    return len > 0 && len <= ROLES_ZONE_MAX && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") >= len;
}

static enum err_code take_zones(struct roles_holder *h, const struct conf_items *zones, struct err *e)
{
    TRY(take_names(&h->zones, "zones", zones, e));
    for (size_t i = 0; i < h->zones.count; i++)
        if (!is_zone(h->zones.items[i], strlen(h->zones.items[i])))
            return err_set(e, ERR_INPUT, "zones: '%.40s' is no zone: 1 to %d characters a-z 0-9 -",
                           h->zones.items[i], ROLES_ZONE_MAX);
    return ERR_OK;
}

static enum err_code check_pair(const struct roles_holder *h, const char *pair, struct err *e)
{
    const char *const sign = strchr(pair, '>');
    if (sign == NULL || !is_zone(pair, (size_t)(sign - pair)) || !is_zone(sign + 1, strlen(sign + 1)))
        return err_set(e, ERR_INPUT,
                       "pin_pairs: '%.70s' is no pair: write from>to, two zones of 1 to %d characters "
                       "a-z 0-9 -",
                       pair, ROLES_ZONE_MAX);
    char from[ROLES_ZONE_MAX + 1];
    snprintf(from, sizeof from, "%.*s", (int)(sign - pair), pair);
    const char *const ends[] = {from, sign + 1};
    for (size_t i = 0; i < 2; i++)
        if (!h->all_zones && !roles_names_have(&h->zones, ends[i]))
            return err_set(e, ERR_INPUT, "pin_pairs: %s needs the zone %s in zones of this identity", pair,
                           ends[i]);
    return ERR_OK;
}

static enum err_code take_pairs(struct roles_holder *h, const struct conf_items *pairs, struct err *e)
{
    TRY(take_names(&h->pin_pairs, "pin_pairs", pairs, e));
    for (size_t i = 0; i < h->pin_pairs.count; i++)
        TRY(check_pair(h, h->pin_pairs.items[i], e));
    return ERR_OK;
}

/* ---- One item of the list ---- */

enum err_code roles_holder_grant(struct roles_holder *h, const struct roles_right *rights,
                                 const struct roles_grant *grant, struct err *e)
{
    const unsigned able = roles_with_rights(rights);
    const bool any = grant->may.given || grant->zones.given || grant->pin_pairs.given;
    if (any && rights == NULL)
        return err_set(e, ERR_INPUT,
                       "may, zones and pin_pairs say what may be done with keys: they belong into the HSM "
                       "service's configuration; remove them here");
    char names[ROLE_NAMES_BYTES];
    roles_name(able, names);
    if (any && (able & h->roles) == 0)
        return err_set(
            e, ERR_INPUT,
            "%.60s has may, zones or pin_pairs, but none of its roles can use a key; one that can: "
            "%s",
            h->identity, names);
    h->defaults = !grant->may.given;
    h->rights = h->defaults ? default_rights(rights, h->roles) : 0;
    h->all_zones = !grant->zones.given && (able & h->roles) != 0;
    TRY(take_rights(h, rights, &grant->may, e));
    TRY(take_zones(h, &grant->zones, e));
    return take_pairs(h, &grant->pin_pairs, e);
}

void roles_holder_drop(struct roles_holder *h)
{
    free(h->identity);
    names_drop(&h->zones);
    names_drop(&h->pin_pairs);
    *h = (struct roles_holder){0};
}

enum err_code roles_insecure_caller(const struct roles_right *rights, const char *insecure_role,
                                    struct roles_holder *out_caller, struct err *e)
{
    const bool all = strcmp(insecure_role, "all") == 0;
    struct roles_holder h = {.roles = ROLE_ALL, .all_pin_pairs = all, .defaults = !all};
    if (!all && roles_parse(insecure_role, &h.roles, e) != ERR_OK)
        return err_context(e, "insecure_role (which may also be all)");
    h.all_zones = (roles_with_rights(rights) & h.roles) != 0;
    h.rights = default_rights(rights, h.roles);
    for (const struct roles_right *right = rights; all && right != NULL && right->name != NULL; right++)
        h.rights |= right->bit;
    *out_caller = h;
    return ERR_OK;
}

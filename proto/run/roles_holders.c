#include "run/roles_inside.h"

#include <stdlib.h>
#include <string.h>

static int by_identity(const void *a, const void *b)
{
    return strcmp(((const struct roles_holder *)a)->identity, ((const struct roles_holder *)b)->identity);
}

static enum err_code take_grant(struct roles_holders *holders, const struct roles_right *rights,
                                const struct roles_grant *grant, struct err *e)
{
    struct roles_holder *const h = &holders->items[holders->count];
    TRY(roles_parse(grant->roles, &h->roles, e));
    h->identity = strdup(grant->identity);
    if (h->identity == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    holders->count++;
    return roles_holder_grant(h, rights, grant, e);
}

static enum err_code fill(struct roles_holders *holders, const struct roles_right *rights,
                          const struct roles_grant *grants, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++)
        if (take_grant(holders, rights, &grants[i], e) != ERR_OK)
            return err_context(e, "roles[%zu]", i);
    qsort(holders->items, holders->count, sizeof holders->items[0], by_identity);
    for (size_t i = 1; i < holders->count; i++)
        if (by_identity(&holders->items[i - 1], &holders->items[i]) == 0)
            return err_set(e, ERR_INPUT,
                           "roles: identity %.100s stands twice; name all its roles in one item",
                           holders->items[i].identity);
    return ERR_OK;
}

enum err_code roles_holders_new(const struct roles_right *rights, const struct roles_grant *grants,
                                size_t count, struct roles_holders **out_holders, struct err *e)
{
    struct roles_holders *const holders = calloc(1, sizeof *holders);
    if (holders == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    atomic_init(&holders->held, 1);
    holders->items = calloc(count + 1, sizeof holders->items[0]);
    const enum err_code code = holders->items != NULL ? fill(holders, rights, grants, count, e)
                                                      : err_set(e, ERR_LIMIT, "out of memory");
    if (code != ERR_OK)
        roles_holders_free(holders);
    else
        *out_holders = holders;
    return code;
}

struct roles_holders *roles_holders_hold(struct roles_holders *holders)
{
    atomic_fetch_add(&holders->held, 1);
    return holders;
}

void roles_holders_free(struct roles_holders *holders)
{
    if (holders == NULL || atomic_fetch_sub(&holders->held, 1) > 1)
        return;
    for (size_t i = 0; i < holders->count; i++)
        roles_holder_drop(&holders->items[i]);
    free(holders->items);
    free(holders);
}

const struct roles_holder *roles_holders_find(const struct roles_holders *holders, const char *identity)
{
    const struct roles_holder key = {.identity = (char *)identity};
    return bsearch(&key, holders->items, holders->count, sizeof key, by_identity);
}

#include "tests/unit/run/grants_yaml.h"

#include "tests/support/suite.h"

#include <string.h>

const struct roles_right grants_rights[] = {
    {.name = "paint", .bit = PAINT, .roles = ROLE_POSP, .defaults = ROLE_POSP},
    {.name = "sand", .bit = SAND, .roles = ROLE_POSP | ROLE_POSV},
    {.name = "glue-hot", .bit = GLUE, .roles = ROLE_POSP, .defaults = ROLE_POSP},
    {0},
};

const struct roles_row grants_no_rows[] = {{0}};

struct config {
    struct conf_items roles;
};
static const struct conf_row config_rows[] = {
    {.key = "roles", .type = CONF_LIST, .offset = offsetof(struct config, roles), .list = &roles_grant_list},
    CONF_END};

static struct config config_of(const char *yaml)
{
    struct config c = {0};
    struct err e = {0};
    ck_assert_ok(conf_parse("t", yaml, strlen(yaml), config_rows, &c, &e), e);
    return c;
}

enum err_code grants_try(const char *yaml, const struct roles_right *rights, struct roles **out_roles,
                         struct err *e)
{
    struct config c = config_of(yaml);
    const struct roles_options options = {.rows = grants_no_rows,
                                          .grants = c.roles.items,
                                          .grant_count = c.roles.count,
                                          .insecure_role = "all",
                                          .rights = rights};
    const enum err_code code = roles_new(&options, out_roles, e);
    conf_drop(config_rows, &c);
    return code;
}

struct roles *grants_make(const char *yaml)
{
    struct roles *roles = NULL;
    struct err e = {0};
    ck_assert_ok(grants_try(yaml, grants_rights, &roles, &e), e);
    return roles;
}

enum err_code grants_replace(struct roles *roles, const char *yaml, struct err *e)
{
    struct config c = config_of(yaml);
    const enum err_code code = roles_replace(roles, c.roles.items, c.roles.count, e);
    conf_drop(config_rows, &c);
    return code;
}

/* Grants from text, as daemons read them, for a service whose rights are to paint, to sand and to glue. */
#ifndef POSWARD_TESTS_UNIT_RUN_GRANTS_YAML_H
#define POSWARD_TESTS_UNIT_RUN_GRANTS_YAML_H

#include "run/roles.h"

enum { PAINT = 1, SAND = 2, GLUE = 4 };

extern const struct roles_right grants_rights[];
extern const struct roles_row grants_no_rows[]; /* a service without methods */

/* Roles of callers who are known; `rights` may be NULL. As roles_new. */
enum err_code grants_try(const char *yaml, const struct roles_right *rights, struct roles **out_roles,
                         struct err *e) MUST_CHECK;
struct roles *grants_make(const char *yaml); /* with grants_rights, and it must do */
enum err_code grants_replace(struct roles *roles, const char *yaml, struct err *e) MUST_CHECK;

#endif

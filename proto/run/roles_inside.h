/* Inside run/roles*.c only: who holds what, as the configuration said at one moment. */
#ifndef POSWARD_RUN_ROLES_INSIDE_H
#define POSWARD_RUN_ROLES_INSIDE_H

#include "run/roles.h"

#include <stdatomic.h>

#define ROLE_NAMES_BYTES 64 /* every name once */

/* In order and each once, so that they can be searched. */
struct roles_names {
    char **items;
    size_t count;
};

struct roles_holder {
    char *identity; /* NULL: the insecure caller */
    unsigned roles, rights;
    bool defaults; /* `may` is absent */
    bool all_zones, all_pin_pairs;
    struct roles_names zones, pin_pairs;
};

/* Does not change once it is made: a view may hold it while another takes its place. */
struct roles_holders {
    atomic_size_t held; /* free at 0 */
    size_t count;
    struct roles_holder *items; /* by identity */
};

/* roles_grant.c. "operator, monitor"; "none". */
void roles_name(unsigned roles, char out_names[ROLE_NAMES_BYTES]);
/* ERR_INPUT: a word is no role, or there is none. */
enum err_code roles_parse(const char *text, unsigned *out_roles, struct err *e) MUST_CHECK;
bool roles_names_have(const struct roles_names *names, const char *name);
/* Sum of the roles that can be granted any right; 0 without rights. */
unsigned roles_with_rights(const struct roles_right *rights);

/* roles_grant.c: the rest of a holder that has identity and roles, as its item of the list says. ERR_INPUT as
 * of roles_new; what was filled is the caller's to drop. */
enum err_code roles_holder_grant(struct roles_holder *holder, const struct roles_right *rights,
                                 const struct roles_grant *grant, struct err *e) MUST_CHECK;
void roles_holder_drop(struct roles_holder *holder);
/* What insecure_role gives: "all" is every role, right, zone and pair. */
enum err_code roles_insecure_caller(const struct roles_right *rights, const char *insecure_role,
                                    struct roles_holder *out_caller, struct err *e) MUST_CHECK;

/* roles_holders.c. Held once. ERR_INPUT as of roles_new. */
enum err_code roles_holders_new(const struct roles_right *rights, const struct roles_grant *grants,
                                size_t count, struct roles_holders **out_holders, struct err *e) MUST_CHECK;
/* Hold them once more. */
struct roles_holders *roles_holders_hold(struct roles_holders *holders);
/* Let go of them. Accepts NULL. */
void roles_holders_free(struct roles_holders *holders);
/* NULL: nobody of that name. */
const struct roles_holder *roles_holders_find(const struct roles_holders *holders, const char *identity);

/* What roles_print prints: of `holders`, or of one of them, the insecure caller. */
void roles_print_holders(const struct roles_right *rights, const struct roles_holder *holders, size_t count,
                         FILE *out);

#endif

/* Who may call what: a daemon's table of method x role, and the roles that its configuration gives to
 * identities.
 *
 * Deny by default: a call passes when its peer's identity has a role that the method's row names. The rows of
 * the daemon stand beside its services; those of reflection are here; health is open to everyone
 * (rpc/server.h). */
#ifndef POSWARD_RUN_ROLES_H
#define POSWARD_RUN_ROLES_H

#include "base/conf.h"
#include "rpc/server.h"
#include "run/prometheus.h"

/* A set of roles is their sum. */
enum role {
    ROLE_ISSUER = 1,   /* the issuing unit: card keys, registration of devices */
    ROLE_POSP = 2,     /* the terminal front end */
    ROLE_POSV = 4,     /* the registry of terminals */
    ROLE_OPERATOR = 8, /* a person who runs the estate */
    ROLE_AUDITOR = 16, /* a person who looks, and changes nothing */
    ROLE_MONITOR = 32, /* probes and dashboards */
    ROLE_ALL = 63
};

/* One method. A table ends with a row without a path. */
struct roles_row {
    const char *path; /* "/package.Service/Method" */
    unsigned allowed; /* sum of enum role */
};

/* One item of the configuration's list "roles". */
struct roles_grant {
    char *identity; /* SPIFFE URI, or common name of a certificate without one */
    char *roles;    /* names, separated by spaces or commas */
};
extern const struct conf_list roles_grant_list;

struct roles_options {
    const struct roles_row *rows;
    const struct roles_grant *grants;
    size_t grant_count;
    bool insecure;             /* no peer has an identity: all have `insecure_role` */
    const char *insecure_role; /* "all", or names as in a grant */
    bool reflection;           /* false: nobody may ask for it */
};

struct roles;

/* ERR_INPUT names what is wrong in the configuration: an unknown role, an identity that stands twice, no
 * grant although callers prove who they are. ERR_INTERNAL: a method has two rows. Nothing of the options is
 * kept but the rows. */
enum err_code roles_new(const struct roles_options *options, struct roles **out_roles,
                        struct err *e) MUST_CHECK;
/* Accepts NULL. */
void roles_free(struct roles *roles);
/* Before start, after the last add: ERR_INTERNAL names a served method without a row, or a row whose method
 * is not served. */
enum err_code roles_check_served(const struct roles *roles, const struct rpc_server *server,
                                 struct err *e) MUST_CHECK;
/* As rpc_authorise_fn, `roles` being a struct roles: ERR_UNAUTHENTICATED without an identity, ERR_DENIED
 * without the role; the note names identity, method and the roles that would do. Counts each refusal, and
 * logs it, at most ROLES_LOG_BURST lines in a second. Any thread. */
enum err_code roles_authorise(void *roles, const struct rpc_peer *peer, const char *path,
                              struct err *e) MUST_CHECK;
#define ROLES_LOG_BURST 10
/* Other grants from now on, all at once; on failure, as of roles_new, the ones before stay. The rest of what
 * roles_new was given stays too. Any thread. */
enum err_code roles_replace(struct roles *roles, const struct roles_grant *grants, size_t grant_count,
                            struct err *e) MUST_CHECK;
/* How many identities have the role now; 0 under tls.insecure, where nobody has one. Any thread. */
size_t roles_count(struct roles *roles, enum role role);
/* posward_refusals_total, by method and reason. Any thread. */
void roles_metrics(const struct roles *roles, struct prometheus *page);

#endif

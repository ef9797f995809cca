/* Who may call what: a daemon's table of method x role, and the roles that its configuration gives to
 * identities.
 *
 * Deny by default: a call passes when its peer's identity has a role that the method's row names. The rows of
 * the daemon stand beside its services; those of reflection are here; health is open to everyone
 * (rpc/server.h).
 *
 * A service may let identities of one role do different things: it names rights, which the configuration
 * grants, and asks for them while it serves a call that its role let pass. A right never gives more than the
 * table does. */
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
    unsigned server;  /* which of the daemon's servers has it (service_spec.servers); 0 where there is one */
};

/* What a service lets single identities do beyond their methods. A table ends with a row without a name. */
struct roles_right {
    const char *name;
    unsigned bit;
    unsigned roles;    /* sum of enum role that can call what it is about: to others it cannot be granted */
    unsigned defaults; /* sum of enum role that have it where `may` is absent */
    const char *help;
};

/* One item of the configuration's list "roles". The lists are for services with rights; absent and empty are
 * not the same. */
struct roles_grant {
    char *identity;              /* SPIFFE URI, or common name of a certificate without one */
    char *roles;                 /* names, separated by spaces or commas */
    struct conf_items may;       /* struct roles_name: rights; absent: the defaults of its roles */
    struct conf_items zones;     /* struct roles_name: zones whose keys it may use; absent: all */
    struct conf_items pin_pairs; /* struct roles_name: "from>to"; absent: none */
};
struct roles_name {
    char *text;
};
extern const struct conf_list roles_grant_list;
#define ROLES_MAY_MAX       32  /* of one identity */
#define ROLES_ZONES_MAX     64  /* likewise */
#define ROLES_PIN_PAIRS_MAX 256 /* likewise */
#define ROLES_ZONE_MAX      31  /* characters of a zone's name: a-z 0-9 - */

struct roles_options {
    const struct roles_row *rows;
    const struct roles_grant *grants;
    size_t grant_count;
    bool insecure;                    /* no peer has an identity: all have `insecure_role` */
    const char *insecure_role;        /* "all", or names as in a grant */
    bool reflection;                  /* false: nobody may ask for it */
    const struct roles_right *rights; /* NULL: the service has none, and may, zones, pin_pairs are refused */
};

struct roles;

/* ERR_INPUT names what is wrong in the configuration: an unknown role, an identity that stands twice, no
 * grant although callers prove who they are, a right that does not exist or that its roles cannot use, a zone
 * that is none or stands twice. ERR_INTERNAL: a method has two rows. Nothing of the options is kept but the
 * rows and the rights. */
enum err_code roles_new(const struct roles_options *options, struct roles **out_roles,
                        struct err *e) MUST_CHECK;
/* Accepts NULL. */
void roles_free(struct roles *roles);
/* Before start, after the last add: ERR_INTERNAL names a served method without a row for its server, or a row
 * whose method is not served there. `servers` are the daemon's, in order. */
enum err_code roles_check_served(const struct roles *roles, struct rpc_server *const *servers, size_t count,
                                 struct err *e) MUST_CHECK;
/* As rpc_authorise_fn, `roles` being a struct roles: ERR_UNAUTHENTICATED without an identity, ERR_DENIED
 * without the role; the note names identity, method and the roles that would do. Counts each refusal, and
 * logs it: the first of an identity, method and reason at once, equal ones after it joined, with their
 * number. Any thread. */
enum err_code roles_authorise(void *roles, const struct rpc_peer *peer, const char *path,
                              struct err *e) MUST_CHECK;
/* A service refused a call that its role let pass, or an item of it, for want of a right, a zone or a pair:
 * counted and logged likewise. `why` says what is missing, equal for equal reasons. Any thread. */
void roles_refuse_right(struct roles *roles, const char *identity, const char *path, const char *why);
/* Now and then: log the refusals that were joined and are due. roles_free logs the rest. */
void roles_tick(struct roles *roles);
/* What an identity may do at one moment: a call asks once, decides all of its items by it, and lets it go.
 * What it shows does not change with roles_replace. */
struct roles_view {
    unsigned roles, rights;            /* sums of enum role and of the bits of rights; 0 for nobody */
    bool insecure;                     /* of the caller that nobody knows: insecure_role */
    const struct roles_holder *holder; /* inside; NULL: nobody */
    struct roles_holders *held;        /* inside */
};
/* `identity` NULL: nobody, but under insecure. Any thread. */
void roles_view_init(struct roles_view *out_view, struct roles *roles, const char *identity);
/* Before roles_free. Accepts a zeroed one. */
void roles_view_drop(struct roles_view *view);
/* Absent zones: all zones, but for identities none of whose roles has rights; []: none. */
bool roles_view_has_zone(const struct roles_view *view, const char *zone, size_t zone_len);
/* Absent: none; insecure_role all: all. Says nothing of the zones themselves. */
bool roles_view_has_pin_pair(const struct roles_view *view, const char *from, size_t from_len, const char *to,
                             size_t to_len);
/* Other grants from now on, all at once; on failure, as of roles_new, the ones before stay. The rest of what
 * roles_new was given stays too. Any thread. */
enum err_code roles_replace(struct roles *roles, const struct roles_grant *grants, size_t grant_count,
                            struct err *e) MUST_CHECK;
/* Whether an identity has a role now that may call some method of this server; everybody has under
 * tls.insecure, and NULL nowhere else. Logs who has none, within the same bounds. Any thread. */
bool roles_knows(struct roles *roles, unsigned server, const char *identity);
/* How many identities have the role now; 0 under tls.insecure, where nobody has one. Any thread. */
size_t roles_count(struct roles *roles, enum role role);
/* A table for people: each identity, its roles and, where the service has rights, what it may do; under
 * insecure the one caller that there is. Any thread. */
void roles_print(struct roles *roles, FILE *out);
/* posward_refusals_total, by method and reason. Any thread. */
void roles_metrics(const struct roles *roles, struct prometheus *page);

#endif

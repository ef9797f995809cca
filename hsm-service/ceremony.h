/* A key ceremony: `posward key init` and `posward key load-components` work on the token themselves, on the
 * HSM host, by the service's own configuration file. The process locks its memory, dumps no core and cannot
 * be traced. */
#ifndef POSWARD_HSM_SERVICE_CEREMONY_H
#define POSWARD_HSM_SERVICE_CEREMONY_H

#include "hsm-service/config.h"
#include "p11/keys/keys.h"

struct audit_store;
struct cli;

struct ceremony {
    struct hsm_config config;
    struct tok *tok;           /* open, keys loaded */
    struct audit_store *audit; /* NULL: audit.path is empty */
};
/* Read the configuration, harden the process, log in, find the keys. */
enum err_code ceremony_init(struct ceremony *c, const char *config_path, struct err *e) MUST_CHECK;
/* Records that it begins, so that a log that cannot be written stops it (ERR_UNAVAILABLE); that a key was
 * made or loaded; and that it ends, signed by the token once there is an audit key. */
enum err_code ceremony_audit_open(struct ceremony *c, struct err *e) MUST_CHECK;
enum err_code ceremony_record(struct ceremony *c, const char *what, const struct tok_key_info *key,
                              struct err *e) MUST_CHECK;
enum err_code ceremony_record_notice(struct ceremony *c, const char *notice, struct err *e) MUST_CHECK;
void ceremony_record_failure(struct ceremony *c, const struct err *failure);
enum err_code ceremony_audit_end(struct ceremony *c, struct err *e) MUST_CHECK;
/* Keep the token's folder as it is now, where the configuration wants that; says so when it cannot. */
void ceremony_back_up(struct ceremony *c);
/* Accepts a zeroed one. */
void ceremony_drop(struct ceremony *c);
/* The key of that name, when the token has it. */
bool ceremony_find(const struct ceremony *c, const struct tok_key_name *name, struct tok_key_info *out_info);
/* "05A1F2", or "-" for a key without. */
void ceremony_kcv_text(const struct tok_key_info *info, char out_text[7]);
/* What to do so that the service sees the change. */
void ceremony_say_next(void);

/* A zone's name for `name`, of which the role tells whether it needs one. */
enum err_code ceremony_zone(const char *zone, struct tok_key_name *name, struct err *e) MUST_CHECK;

/* The commands; as struct cli_command's run. */
enum err_code ceremony_key_init(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;
enum err_code ceremony_load_components(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;

#endif

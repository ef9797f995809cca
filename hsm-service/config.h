/* The HSM service's configuration: what every daemon has, then its own. Documented in deploy/config/hsm.yaml.
 */
#ifndef POSWARD_HSM_SERVICE_CONFIG_H
#define POSWARD_HSM_SERVICE_CONFIG_H

#include "run/service.h"

#define HSM_KEEPERS_MOST       32
#define HSM_SESSIONS_MOST      64
#define HSM_KEEPER_DESCRIPTORS 4 /* of one keeper in the front, while it starts */
#define HSM_TOKENS_MOST        8
#define HSM_NAME_BYTES         64 /* of a token's name here, with its end */
#define HSM_MAK_SINGLE         8 /* bytes of a TDES terminal's MAC key: single DES, as sign-in layout 003 has it */
#define HSM_MAK_DOUBLE         16

/* One item of the list limits.quotas. */
struct hsm_quota {
    char *identity;
    int64_t per_second, burst;
};

/* One item of the list token.replicas, as it stands in the file; NULL: absent. */
struct hsm_replica {
    char *name, *module, *label, *serial, *pin_file, *init_string, *lock_file, *directory, *backup_dir;
    struct conf_items environment; /* struct hsm_variable */
};
struct hsm_variable {
    char *text; /* NAME=VALUE */
};

struct hsm_config {
    struct service_config service; /* first */
    char *token_module, *token_label, *token_serial, *token_pin_file, *token_init_string, *token_lock_file;
    char *token_directory, *token_backup_dir; /* SoftHSM's: tokendir.h */
    struct conf_items replicas;               /* struct hsm_replica */
    int64_t keeper_count, keeper_sessions, retire_after, hang_ms, start_ms, probe_ms, retire_mib;
    char *keeper_environment; /* names of variables, separated by spaces */
    int64_t pin_terminal_per_minute, pin_terminal_per_hour, pin_account_per_minute, pin_account_per_hour;
    int64_t pin_terminal_accounts_per_hour, pin_zone_per_minute, pin_zone_per_hour;
    int64_t pin_failures_key_per_hour, pin_failures_account_per_hour, pin_failures_caller_per_hour;
    int64_t caller_per_second, caller_burst;
    struct conf_items quotas;   /* struct hsm_quota */
    char *exposure;             /* "any", "in_token" */
    char *flows_missing;        /* "refuse", "allow" */
    int64_t tdes_mak_bytes_min; /* HSM_MAK_SINGLE or HSM_MAK_DOUBLE */
    char *blob_form1_until;     /* "YYYY-MM-DD", or "" */
    char *control_listen;       /* the control plane */
    int64_t control_max_in_flight;
    char *keymgmt_path;         /* "": no key management by gRPC */
    int64_t keymgmt_approvals, keymgmt_expire_seconds;
    char *audit_path;                                     /* "": no audit log */
    char *audit_use;                                      /* "none", "sampled", "all" */
    char *audit_use_pin, *audit_use_mac, *audit_use_data; /* the same, or "": as audit_use */
    int64_t audit_sample_every, audit_checkpoint_records, audit_checkpoint_seconds, audit_rotate_bytes;
};

extern const struct conf_row hsm_config_rows[];

/* What rows cannot say: values of settings that are words, and that the RPC limit fits the keepers' packets.
 * `config` is a struct hsm_config. */
enum err_code hsm_config_check(const void *config, struct err *e) MUST_CHECK;
/* A token of the pool, with what it takes from `token`; strings are the configuration's, NULL where there is
 * none. Module, PIN file, initialisation string and, with the label, the serial number are inherited. Lock
 * file, directory and backup are not: they belong to one token. */
struct hsm_token {
    char name[HSM_NAME_BYTES]; /* in logs and metrics: the label, or LABEL-N from the second on */
    const char *module, *label, *serial, *pin_file, *init_string, *lock_file, *directory, *backup_dir;
    const struct conf_items *environment; /* struct hsm_variable, before keepers.environment; NULL: none */
};
size_t hsm_config_tokens(const struct hsm_config *config); /* 1..HSM_TOKENS_MOST */
/* `index` 0 is `token` itself. */
void hsm_config_token(const struct hsm_config *config, size_t index, struct hsm_token *out_token);
/* config_token.c: no token twice, no lock or backup of two tokens. ERR_INPUT. */
enum err_code hsm_config_check_tokens(const struct hsm_config *config, struct err *e) MUST_CHECK;
/* config_policy.c: values of `policy` that are words or only some numbers. ERR_INPUT. */
enum err_code hsm_config_check_policy(const struct hsm_config *config, struct err *e) MUST_CHECK;
/* policy.blob_form1_until: when that day ends, in milliseconds since 1970 UTC; 0: no date. ERR_INPUT: no date
 * of the calendar. */
enum err_code hsm_config_form1_until(const struct hsm_config *config, int64_t *out_ms,
                                     struct err *e) MUST_CHECK;
/* As service_spec.descriptors: for the keepers of all tokens, each with a successor beside it. */
size_t hsm_config_descriptors(const void *config, const char **out_key);
/* What counts for one class of uses: its own setting, or audit.use. */
const char *hsm_config_use(const struct hsm_config *config, const char *of_class);
/* policy.exposure = in_token. */
bool hsm_config_in_token(const struct hsm_config *config);
/* policy.flows_missing = allow. */
bool hsm_config_missing_allowed(const struct hsm_config *config);

#endif

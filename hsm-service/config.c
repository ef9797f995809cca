#include "hsm-service/config.h"

#include "hsm-service/ipc.h"
#include "hsm-service/limits/limits.h"

#include <stddef.h>
#include <string.h>

#define TEXT(field)   .type = CONF_STRING, .offset = offsetof(struct hsm_config, field)
#define NUMBER(field) .type = CONF_INT, .offset = offsetof(struct hsm_config, field)

#define COUNT_ROW(field, text, value)                                                                        \
    {                                                                                                        \
        .key = "limits." #field, NUMBER(field), .fallback = (value), .least = 0, .most = LIMITS_MOST,        \
        .help = (text)                                                                                       \
    }

#define CLASS_ROW(name, text)                                                                                \
    {                                                                                                        \
        .key = "audit.use_" #name, TEXT(audit_use_##name), .fallback = "",                                   \
        .help = "audit.use where " text "; empty: as audit.use says. A transaction is each of its parts."    \
    }

static const struct conf_row quota_rows[] = {
    {.key = "identity",
     .type = CONF_STRING,
     .offset = offsetof(struct hsm_quota, identity),
     .required = true,
     .help = "SPIFFE URI, or common name of a certificate without one."},
    {.key = "per_second",
     .type = CONF_INT,
     .offset = offsetof(struct hsm_quota, per_second),
     .required = true,
     .least = 0,
     .most = 1000000,
     .help = "Operations a second; the items of a batch count one by one. 0: no limit."},
    {.key = "burst",
     .type = CONF_INT,
     .offset = offsetof(struct hsm_quota, burst),
     .fallback = "0",
     .least = 0,
     .most = 1000000,
     .help = "Operations that may come at once after a pause; 0: as many as in a second."},
    CONF_END,
};
static const struct conf_list quota_list = {.rows = quota_rows, .item_bytes = sizeof(struct hsm_quota)};

#define REPLICA_ROW(field, text)                                                                             \
    {                                                                                                        \
        .key = #field, .type = CONF_STRING, .offset = offsetof(struct hsm_replica, field), .help = (text)    \
    }

static const struct conf_row variable_rows[] = {
    {.key = "",
     .type = CONF_STRING,
     .offset = offsetof(struct hsm_variable, text),
     .required = true,
     .help = "NAME=VALUE"},
    CONF_END,
};
static const struct conf_list variable_list = {.rows = variable_rows,
                                               .item_bytes = sizeof(struct hsm_variable)};
static const struct conf_row replica_rows[] = {
    REPLICA_ROW(name,
                "What logs and metrics call it; else its label, with -2, -3 where a label stands twice."),
    REPLICA_ROW(label, "Label of the token; else as token.label."),
    REPLICA_ROW(serial, "Serial number; else, without a label of its own, as token.serial."),
    REPLICA_ROW(module, "PKCS#11 module; else as token.module."),
    REPLICA_ROW(pin_file, "File of its user PIN; else as token.pin_file."),
    REPLICA_ROW(init_string, "What its module takes at initialisation; else, without a module of its own, as "
                             "token.init_string."),
    REPLICA_ROW(lock_file, "Lock of this token alone; needed where token.lock_file is set."),
    REPLICA_ROW(directory, "SoftHSM only: its directories.tokendir; else as its SOFTHSM2_CONF says."),
    REPLICA_ROW(backup_dir, "SoftHSM only: folder of the second copy of this token; else none."),
    {.key = "environment",
     .type = CONF_LIST,
     .offset = offsetof(struct hsm_replica, environment),
     .most = 16,
     .list = &variable_list,
     .help = "Variables that its keepers get besides, and before, those of keepers.environment."},
    CONF_END,
};
static const struct conf_list replica_list = {.rows = replica_rows, .item_bytes = sizeof(struct hsm_replica)};

const struct conf_row hsm_config_rows[] = {
    SERVICE_CONFIG_ROWS("127.0.0.1:7001", "127.0.0.1:7101"),
    {.key = "control_listen",
     TEXT(control_listen),
     .fallback = "127.0.0.1:7011",
     .help = "Address and port of the control plane: reports, key management. A server of its own, so that "
             "operators and monitors do not hold up payments, which call `listen`."},
    {.key = "token.module",
     TEXT(token_module),
     .required = true,
     .help = "The PKCS#11 module: the vendor's library."},
    {.key = "token.label",
     TEXT(token_label),
     .required = true,
     .help = "Label of the token; slot numbers change."},
    {.key = "token.serial",
     TEXT(token_serial),
     .help = "Serial number, where several tokens have the label."},
    {.key = "token.pin_file",
     TEXT(token_pin_file),
     .required = true,
     .help = "File of mode 0400 or 0600 whose first line is the token's user PIN."},
    {.key = "token.init_string",
     TEXT(token_init_string),
     .help = "What the module takes at initialisation, such as NSS softoken's configdir='sql:DIR'."},
    {.key = "token.lock_file",
     TEXT(token_lock_file),
     .help =
         "Lock held while a process initialises and logs in; all processes of a token must name the same."},
    {.key = "token.backup_dir",
     TEXT(token_backup_dir),
     .fallback = "",
     .help = "SoftHSM only: folder that keeps a second copy of the token, from which a token.object that a "
             "kill left empty is restored; empty: none."},
    {.key = "token.directory",
     TEXT(token_directory),
     .fallback = "",
     .help = "SoftHSM only: its directories.tokendir; empty: as SOFTHSM2_CONF says."},
    {.key = "token.replicas",
     .type = CONF_LIST,
     .offset = offsetof(struct hsm_config, replicas),
     .most = HSM_TOKENS_MOST - 1,
     .list = &replica_list,
     .help = "More tokens with the same keys: all serve as one, and one that has other keys is kept out."},
    {.key = "keepers.count",
     NUMBER(keeper_count),
     .fallback = "2",
     .least = 1,
     .most = HSM_KEEPERS_MOST,
     .help = "Processes that hold each token; 32 in all. One per core for a software token."},
    {.key = "keepers.sessions",
     NUMBER(keeper_sessions),
     .fallback = "2",
     .least = 1,
     .most = HSM_SESSIONS_MOST,
     .help = "Sessions and threads of each keeper: few for a software token, about 30 for a network HSM."},
    {.key = "keepers.retire_after",
     NUMBER(retire_after),
     .fallback = "200000",
     .least = 1,
     .most = INT64_MAX,
     .help = "Operations after which a keeper is replaced; bounds what a module leaks."},
    {.key = "keepers.hang_ms",
     NUMBER(hang_ms),
     .fallback = "10000",
     .least = 20,
     .most = 600000,
     .help =
         "A call that a keeper works on for longer is taken for hung: the keeper is killed and replaced."},
    {.key = "keepers.start_ms",
     NUMBER(start_ms),
     .fallback = "60000",
     .least = 1000,
     .most = 600000,
     .help = "Time that a keeper has to log in, try the token and load the keys."},
    {.key = "keepers.probe_ms",
     NUMBER(probe_ms),
     .fallback = "2000",
     .least = 20,
     .most = 600000,
     .help = "How often each keeper is asked for a real operation of the token; health follows the answers."},
    {.key = "keepers.retire_mib",
     NUMBER(retire_mib),
     .fallback = "512",
     .least = 16,
     .most = 1048576,
     .help = "Resident memory, in MiB, at which a keeper is replaced like after keepers.retire_after."},
    {.key = "keepers.environment",
     TEXT(keeper_environment),
     .fallback = "SOFTHSM2_CONF HOME TZ",
     .help = "Variables that keepers inherit, separated by spaces; they get no others."},
    {.key = "policy.exposure",
     TEXT(exposure),
     .fallback = "any",
     .help = "in_token refuses every way that shows a clear key or PIN to the keeper; any allows it, and "
             "says so."},
    {.key = "policy.flows_missing",
     TEXT(flows_missing),
     .fallback = "refuse",
     .help =
         "A flow that the token has no way for: refuse does not start and names it; allow starts with what "
         "works, and calls that need it answer UNIMPLEMENTED."},
    {.key = "policy.tdes_mak_bytes_min",
     NUMBER(tdes_mak_bytes_min),
     .fallback = "8",
     .least = HSM_MAK_SINGLE,
     .most = HSM_MAK_DOUBLE,
     .help = "Bytes that a TDES terminal's MAC key has at least, made or used: 8 (single DES, which sign-in "
             "layout 003 "
             "asks for) or 16. PIN and data keys always have 16."},
    {.key = "policy.blob_form1_until",
     TEXT(blob_form1_until),
     .fallback = "",
     .help = "Last day, YYYY-MM-DD in UTC, on which key blobs of form 1 serve, which say no sign-in; empty: "
             "they do "
             "not. For an upgrade, until every terminal has signed in again."},
    COUNT_ROW(pin_terminal_per_minute, "PIN operations of one terminal in a minute; 0: no limit.", "30"),
    COUNT_ROW(pin_terminal_per_hour, "PIN operations of one terminal in an hour; 0: no limit.", "600"),
    COUNT_ROW(pin_account_per_minute, "PIN operations of one account in a minute; 0: no limit.", "5"),
    COUNT_ROW(pin_account_per_hour, "PIN operations of one account in an hour; 0: no limit.", "20"),
    COUNT_ROW(pin_terminal_accounts_per_hour,
              "Different accounts that one terminal may show in an hour; 0: no limit.", "300"),
    COUNT_ROW(pin_zone_per_minute, "PIN operations from one zone's key in a minute; 0: no limit.", "600"),
    COUNT_ROW(pin_zone_per_hour, "PIN operations from one zone's key in an hour; 0: no limit.", "30000"),
    COUNT_ROW(pin_failures_key_per_hour,
              "PIN blocks of one terminal or zone that do not decode, in an hour; then nothing of it is "
              "decoded. 0: "
              "no limit.",
              "20"),
    COUNT_ROW(pin_failures_account_per_hour,
              "PIN blocks of one account that do not decode, in an hour; likewise. 0: no limit.", "10"),
    COUNT_ROW(pin_failures_caller_per_hour,
              "PIN blocks of one caller that do not decode, in an hour; likewise. 0: no limit.", "1000"),
    {.key = "limits.caller_per_second",
     NUMBER(caller_per_second),
     .fallback = "0",
     .least = 0,
     .most = 1000000,
     .help = "Operations a second of all callers together that have no quota of their own; 0: no limit."},
    {.key = "limits.caller_burst",
     NUMBER(caller_burst),
     .fallback = "0",
     .least = 0,
     .most = 1000000,
     .help = "Those that may come at once after a pause; 0: as many as in a second."},
    {.key = "limits.control_max_in_flight",
     NUMBER(control_max_in_flight),
     .fallback = "64",
     .least = 1,
     .most = 65536,
     .help = "Calls in flight on the control plane, in place of limits.max_in_flight. Some of them wait for "
             "keepers, as payments do: few of them keep the wait of payments short."},
    {.key = "limits.quotas",
     .type = CONF_LIST,
     .offset = offsetof(struct hsm_config, quotas),
     .most = LIMITS_CALLERS - 1,
     .list = &quota_list,
     .help = "Quotas of single callers."},
    {.key = "keymgmt.path",
     .formerly = "control.path",
     TEXT(keymgmt_path),
     .fallback = "",
     .help =
         "File of proposals, approvals and policy; empty: keys are managed by ceremonies on this host only."},
    {.key = "keymgmt.approvals",
     .formerly = "control.approvals",
     NUMBER(keymgmt_approvals),
     .fallback = "2",
     .least = 2,
     .most = 8,
     .help = "Operators who must agree to a change of keys or policy, the one who proposes it included."},
    {.key = "keymgmt.expire_seconds",
     .formerly = "control.expire_seconds",
     NUMBER(keymgmt_expire_seconds),
     .fallback = "86400",
     .least = 60,
     .most = 2592000,
     .help = "Time after which a proposal that waits still is closed."},
    {.key = "audit.path",
     TEXT(audit_path),
     .fallback = "",
     .help = "Folder of the audit log; empty: no audit log, which is not for production."},
    {.key = "audit.checkpoint_records",
     NUMBER(audit_checkpoint_records),
     .fallback = "1000",
     .least = 1,
     .most = 32768,
     .help = "Records after which the token signs where the log stands."},
    {.key = "audit.checkpoint_seconds",
     NUMBER(audit_checkpoint_seconds),
     .fallback = "60",
     .least = 1,
     .most = 86400,
     .help = "Time after which it does when there are fewer."},
    {.key = "audit.rotate_bytes",
     NUMBER(audit_rotate_bytes),
     .fallback = "67108864",
     .least = 4096,
     .most = 1099511627776,
     .help = "Size at which a file of the log ends and the next one begins."},
    {.key = "audit.use",
     TEXT(audit_use),
     .fallback = "sampled",
     .help = "Which uses of working keys are recorded: none, sampled or all. Making of keys and refusals "
             "always are."},
    CLASS_ROW(pin, "PINs are translated"),
    CLASS_ROW(mac, "MACs are made or checked"),
    CLASS_ROW(data, "data are enciphered or deciphered"),
    {.key = "audit.sample_every",
     NUMBER(audit_sample_every),
     .fallback = "1000",
     .least = 1,
     .most = 1000000000,
     .help = "With audit.use sampled: one use in so many."},
    CONF_END};

const char *hsm_config_use(const struct hsm_config *config, const char *of_class)
{
    return of_class[0] != '\0' ? of_class : config->audit_use;
}

static enum err_code check_use(const char *key, const char *value, struct err *e)
{
    if (strcmp(value, "none") == 0 || strcmp(value, "sampled") == 0 || strcmp(value, "all") == 0)
        return ERR_OK;
    return err_set(e, ERR_INPUT, "%s is '%.20s'; it must be none, sampled or all", key, value);
}

enum err_code hsm_config_check(const void *config, struct err *e)
{
    const struct hsm_config *const c = config;
    TRY(hsm_config_check_policy(c, e));
    TRY(hsm_config_check_tokens(c, e));
    TRY(check_use("audit.use", c->audit_use, e));
    TRY(check_use("audit.use_pin", hsm_config_use(c, c->audit_use_pin), e));
    TRY(check_use("audit.use_mac", hsm_config_use(c, c->audit_use_mac), e));
    TRY(check_use("audit.use_data", hsm_config_use(c, c->audit_use_data), e));
    if (c->service.max_message_bytes > IPC_REQUEST_BYTES)
        return err_set(e, ERR_INPUT, "limits.max_message_bytes is %lld; keepers take at most %d",
                       (long long)c->service.max_message_bytes, IPC_REQUEST_BYTES);
    return ERR_OK;
}

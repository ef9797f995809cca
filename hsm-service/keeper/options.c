#include "hsm-service/keeper/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static enum err_code set_sessions(struct keeper_options *o, const char *value, struct err *e)
{
    char *end = NULL;
    const long count = strtol(value, &end, 10);
    if (end == value || *end != '\0' || count < 1 || count > 256)
        return err_set(e, ERR_INPUT, "--sessions=%.20s is no number from 1 to 256", value);
    o->token.session_count = (size_t)count;
    return ERR_OK;
}

static enum err_code set_exposure(struct keeper_options *o, const char *value, struct err *e)
{
    const bool any = strcmp(value, "any") == 0;
    if (!any && strcmp(value, "in_token") != 0)
        return err_set(e, ERR_INPUT, "--exposure=%.20s must be any or in_token", value);
    o->exposure = any ? TOK_EXPOSURE_ANY : TOK_EXPOSURE_IN_TOKEN;
    return ERR_OK;
}

static enum err_code set_missing(struct keeper_options *o, const char *value, struct err *e)
{
    o->missing_allowed = strcmp(value, "allow") == 0;
    if (!o->missing_allowed && strcmp(value, "refuse") != 0)
        return err_set(e, ERR_INPUT, "--flows-missing=%.20s must be refuse or allow", value);
    return ERR_OK;
}

static enum err_code set_mak_bytes(struct keeper_options *o, const char *value, struct err *e)
{
    const bool single = strcmp(value, "8") == 0;
    if (!single && strcmp(value, "16") != 0)
        return err_set(e, ERR_INPUT, "--tdes-mak-bytes-min=%.20s must be 8 or 16", value);
    o->policy.tdes_mak_bytes_min = single ? 8 : 16;
    return ERR_OK;
}

static enum err_code set_form1_until(struct keeper_options *o, const char *value, struct err *e)
{
    char *end = NULL;
    errno = 0;
    const long long until_ms = strtoll(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || until_ms < 0)
        return err_set(e, ERR_INPUT, "--blob-form1-until-ms=%.20s is no time in milliseconds", value);
    o->policy.blob_form1_until_ms = until_ms;
    return ERR_OK;
}

static enum err_code set_log_level(struct keeper_options *o, const char *value, struct err *e)
{
    return log_level_parse(value, &o->log_level, e);
}

static enum err_code set_log_format(struct keeper_options *o, const char *value, struct err *e)
{
    (void)e;
    o->log_json = strcmp(value, "json") == 0;
    return ERR_OK;
}

/* Both are installed together, but an upgrade under a running service replaces the one file before the
 * other process. */
static enum err_code check_version(struct keeper_options *o, const char *value, struct err *e)
{
    (void)o;
    if (strcmp(value, POSWARD_VERSION) == 0)
        return ERR_OK;
    return err_set(e, ERR_STATE, "this keeper is of version %s, posward-hsm of %.40s: restart posward-hsm",
                   POSWARD_VERSION, value);
}

static const struct option_row {
    const char *name;
    size_t text; /* offset of a const char * that takes the value as it is; used where `set` is NULL */
    enum err_code (*set)(struct keeper_options *o, const char *value, struct err *e);
} rows[] = {
    {"--module", .text = offsetof(struct keeper_options, token.module_path)},
    {"--label", .text = offsetof(struct keeper_options, token.token_label)},
    {"--serial", .text = offsetof(struct keeper_options, token.token_serial)},
    {"--pin-file", .text = offsetof(struct keeper_options, token.pin_path)},
    {"--init-string", .text = offsetof(struct keeper_options, token.init_string)},
    {"--lock-file", .text = offsetof(struct keeper_options, token.lock_path)},
    {"--token-directory", .text = offsetof(struct keeper_options, tokendir.directory)},
    {"--backup-dir", .text = offsetof(struct keeper_options, tokendir.backup)},
    {"--sessions", .set = set_sessions},
    {"--exposure", .set = set_exposure},
    {"--flows-missing", .set = set_missing},
    {"--tdes-mak-bytes-min", .set = set_mak_bytes},
    {"--blob-form1-until-ms", .set = set_form1_until},
    {"--front-version", .set = check_version},
    {"--log-level", .set = set_log_level},
    {"--log-format", .set = set_log_format},
};

static enum err_code apply(const struct option_row *row, struct keeper_options *o, const char *value,
                           struct err *e)
{
    if (row->set != NULL)
        return row->set(o, value, e);
    const char **const field = (const char **)(void *)((char *)o + row->text);
    *field = value;
    return ERR_OK;
}

static enum err_code read_one(const char *word, struct keeper_options *o, struct err *e)
{
    const char *const equals = strchr(word, '=');
    for (size_t i = 0; equals != NULL && i < sizeof rows / sizeof rows[0]; i++) {
        const size_t len = strlen(rows[i].name);
        if ((size_t)(equals - word) == len && strncmp(word, rows[i].name, len) == 0)
            return apply(&rows[i], o, equals + 1, e);
    }
    return err_set(e, ERR_INPUT, "'%.60s' is no option of a keeper", word);
}

enum err_code keeper_options_read(int argc, char **argv, struct keeper_options *out_options, struct err *e)
{
    struct keeper_options o = {.log_level = LOG_INFO, .exposure = TOK_EXPOSURE_IN_TOKEN};
    o.token.session_count = 1;
    o.policy.tdes_mak_bytes_min = 16;
    for (int i = 1; i < argc; i++)
        TRY(read_one(argv[i], &o, e));
    if (o.token.module_path == NULL || o.token.token_label == NULL || o.token.pin_path == NULL)
        return err_set(e, ERR_INPUT,
                       "a keeper needs --module, --label and --pin-file; posward-hsm starts keepers "
                       "by itself");
    o.policy.in_token_only = o.exposure == TOK_EXPOSURE_IN_TOKEN;
    o.tokendir.label = o.token.token_label;
    o.tokendir.lock_path = o.token.lock_path;
    *out_options = o;
    return ERR_OK;
}

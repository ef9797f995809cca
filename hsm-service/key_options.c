#include "hsm-service/key_propose_inside.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define OPTIONS_MOST 24

/* One table for all of these commands. */
static const struct word_row {
    const char *name;
    bool has_value;
    size_t field; /* offset of a const char *, or of a bool where the option has no value */
} word_rows[] = {
    {"role", true, offsetof(struct key_words, role)},
    {"suite", true, offsetof(struct key_words, suite)},
    {"zone", true, offsetof(struct key_words, zone)},
    {"version", true, offsetof(struct key_words, version)},
    {"reason", true, offsetof(struct key_words, reason)},
    {"kcv", true, offsetof(struct key_words, kcv)},
    {"components", true, offsetof(struct key_words, components)},
    {"format", true, offsetof(struct key_words, format)},
    {"wrapped", true, offsetof(struct key_words, wrapped)},
    {"key-block", true, offsetof(struct key_words, key_block)},
    {"under-suite", true, offsetof(struct key_words, under_suite)},
    {"under-version", true, offsetof(struct key_words, under_version)},
    {"export-format", true, offsetof(struct key_words, export_format)},
    {"exposure", true, offsetof(struct key_words, exposure)},
    {"approvals", true, offsetof(struct key_words, approvals)},
    {"expires", true, offsetof(struct key_words, expires)},
    {"pin-terminal-per-minute", true, offsetof(struct key_words, terminal_minute)},
    {"pin-terminal-per-hour", true, offsetof(struct key_words, terminal_hour)},
    {"pin-account-per-minute", true, offsetof(struct key_words, account_minute)},
    {"pin-account-per-hour", true, offsetof(struct key_words, account_hour)},
    {"id", true, offsetof(struct key_words, id)},
    {"pre-active", false, offsetof(struct key_words, pre_active)},
    {"break-use", false, offsetof(struct key_words, break_use)},
    {"all", false, offsetof(struct key_words, all)},
};
#define ROW_COUNT (sizeof word_rows / sizeof word_rows[0])

#define ROLES                                                                                                \
    "psam-master|card-control|storage|blob-tag|zone-pin|zone-mac|zone-data|zone-master|transport|component|" \
    "audit"

/* Which of them a command takes. */
#define KEY_NAME                                                                                             \
    {"role", ROLES, "What the key is for."},                                                                 \
        {"suite", "tdes|aes-128|aes-256|rsa-3072|ec-p256", "Its algorithm and length."},                     \
    {                                                                                                        \
        "zone", "NAME", "Whose, for zone keys."                                                              \
    }
#define KEY_VERSION                                                                                          \
    {                                                                                                        \
        "version", "NUMBER", "1 to 255."                                                                     \
    }
#define NEW_VERSION                                                                                          \
    {                                                                                                        \
        "version", "NUMBER", "1 to 255; left out: the next one."                                             \
    }
#define REASON                                                                                               \
    {                                                                                                        \
        "reason", "TEXT", "For the approvers and the audit log."                                             \
    }
#define PRE_ACTIVE                                                                                           \
    {                                                                                                        \
        "pre-active", NULL, "Not to be used before it is activated."                                         \
    }
#define BREAK_USE                                                                                            \
    {                                                                                                        \
        "break-use", NULL, "Although something depends on it; the approvers see what."                       \
    }
#define UNDER                                                                                                \
    {"under-suite", "tdes|aes-128|aes-256|rsa-3072", "Suite of the key that wraps it."},                     \
    {                                                                                                        \
        "under-version", "NUMBER", "Its version; left out: the newest."                                      \
    }

const struct cli_option key_create_options[] = {
    KEY_NAME,
    NEW_VERSION,
    REASON,
    PRE_ACTIVE,
    {"export-format", KEY_FORMATS,
     "Hand a new zone key out, under the zone's master key; only now, never later."},
    UNDER,
    {0}};
const struct cli_option key_rotate_options[] = {KEY_NAME, REASON, PRE_ACTIVE, {0}};
const struct cli_option key_import_options[] = {
    KEY_NAME,
    NEW_VERSION,
    REASON,
    PRE_ACTIVE,
    {"kcv", "HEX", "The check value that it must have, 6 digits."},
    {"components", "NUMBER", "It comes in so many parts: posward key submit-component."},
    {"format", KEY_FORMATS, "Or it comes wrapped, in this form."},
    {"wrapped", "FILE", "The wrapped key, in hexadecimal."},
    {"key-block", "FILE", "The key block's characters (TR-31)."},
    UNDER,
    {0}};
const struct cli_option key_activate_options[] = {KEY_NAME, KEY_VERSION, REASON, {0}};
const struct cli_option key_deactivate_options[] = {KEY_NAME, KEY_VERSION, REASON, BREAK_USE, {0}};
const struct cli_option key_destroy_options[] = {KEY_NAME, KEY_VERSION, REASON, BREAK_USE, {0}};
const struct cli_option key_policy_options[] = {
    REASON,
    {"exposure", "any|in_token", "in_token: no way that shows a clear key or PIN to a keeper."},
    {"approvals", "NUMBER", "Operators who must agree, 2 to 8."},
    {"expires", "SECONDS", "Time after which a proposal that waits is closed."},
    {"pin-terminal-per-minute", "NUMBER", "PIN operations of a terminal."},
    {"pin-terminal-per-hour", "NUMBER", "PIN operations of a terminal."},
    {"pin-account-per-minute", "NUMBER", "PIN operations of an account."},
    {"pin-account-per-hour", "NUMBER", "PIN operations of an account."},
    {0}};
const struct cli_option key_proposals_options[] = {{"all", NULL, "Those that have ended too."}, {0}};
const struct cli_option key_approve_options[] = {{"id", "ID", "Of the proposal; may stand without --id."},
                                                 {0}};
const struct cli_option key_reject_options[] = {
    {"id", "ID", "Of the proposal; may stand without --id."}, {"reason", "TEXT", "Why."}, {0}};
const struct cli_option key_show_options[] = {KEY_NAME, KEY_VERSION, {0}};

void key_command_help(const struct key_command *c)
{
    printf("Usage: posward key %s [--OPTION VALUE ...]\n%s\n\n", c->name, c->about);
    for (const struct cli_option *o = c->options; o->name != NULL; o++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->value != NULL ? " " : "",
                 o->value == NULL                ? ""
                 : strchr(o->value, '|') != NULL ? "WORD"
                                                 : o->value);
        printf("  %-32s %s\n", left, o->help != NULL ? o->help : "");
        if (o->value != NULL && strchr(o->value, '|') != NULL)
            printf("  %-32s %s\n", "", o->value);
    }
    printf("  %-32s %s\n", "--json", "print JSON");
}

static const struct word_row *row_of(const char *name)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (strcmp(word_rows[i].name, name) == 0)
            return &word_rows[i];
    return NULL;
}

static void set_word(struct key_words *w, const struct word_row *row, const char *value)
{
    char *const field = (char *)w + row->field;
    if (row->has_value)
        *(const char **)(void *)field = value;
    else
        *(bool *)field = true;
}

enum err_code key_words_read(const struct key_command *c, int argc, char **argv, struct key_words *out_words,
                             struct err *e)
{
    struct option known[OPTIONS_MOST] = {{"help", no_argument, NULL, 0}};
    size_t count = 1;
    for (const struct cli_option *o = c->options; o->name != NULL; o++)
        known[count++] =
            (struct option){o->name, o->value != NULL ? required_argument : no_argument, NULL, 0};
    struct key_words w = {0};
    int index = 0;
    opterr = 0;
    optind = 1;
    for (int got; (got = getopt_long(argc + 1, argv - 1, ":h", known, &index)) != -1;) {
        if (got == 'h' || (got == 0 && index == 0))
            w.help = true;
        else if (got == 0)
            set_word(&w, row_of(known[index].name), optarg);
        else
            return err_set(e, ERR_INPUT,
                           "'%.40s' is no option, or lacks its value; see posward key %s --help",
                           argv[optind - 2], c->name);
    }
    if (optind < argc + 1 && c->options[0].name != NULL && strcmp(c->options[0].name, "id") == 0 &&
        w.id == NULL)
        w.id = argv[optind++ - 1];
    if (optind < argc + 1)
        return err_set(e, ERR_INPUT, "'%.40s' is no option; see posward key %s --help", argv[optind - 1],
                       c->name);
    *out_words = w;
    return ERR_OK;
}

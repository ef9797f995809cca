/* posward key init: make the keys of the estate that are missing, by the token's own generator. */
#include "hsm-service/ceremony.h"

#include "hsm-service/cli.h"
#include "posward/hsm/v1/hsm.pb-c.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZONES_MOST 64
#define KEYS_MOST  4096 /* that --json prints */

static const struct {
    enum tok_role role;
    enum tok_suite suite;
} estate_keys[] = {
    {TOK_PSAM_MASTER, TOK_TDES},     {TOK_PSAM_MASTER, TOK_AES_256}, {TOK_CARD_CONTROL, TOK_TDES},
    {TOK_CARD_CONTROL, TOK_AES_256}, {TOK_STORAGE, TOK_AES_256},     {TOK_BLOB_TAG, TOK_AES_256},
    {TOK_AUDIT, TOK_EC_P256},
};
static const enum tok_role zone_roles[] = {TOK_ZONE_PIN, TOK_ZONE_MAC, TOK_ZONE_DATA};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct zone {
    char name[TOK_ZONE_BYTES];
    enum tok_suite suite;
};

struct init_options {
    const char *config_path;
    struct zone zones[ZONES_MOST];
    size_t zone_count;
    bool help;
};

static void print_help(void)
{
    puts("Usage: posward key init --hsm-config FILE [--zone NAME[:tdes|aes-128] ...]\n\n"
         "Make the keys of the estate that the token does not have yet, by the token's own generator: PSAM "
         "master and\n"
         "card control master (tdes and aes-256), storage, blob tag and audit key; with --zone a business "
         "unit's PIN, MAC\n"
         "and data key (suite tdes when none is given). Keys that are there already stay as they are: a "
         "master that was\n"
         "loaded from components is kept.\n\n"
         "  --hsm-config FILE  the HSM service's configuration: which token\n"
         "  --zone NAME        a business unit; several times for several\n"
         "  --json             print JSON\n\n"
         "This is a ceremony on the HSM host: the command logs in to the token itself, locks its memory and "
         "dumps no\n"
         "core. No key leaves the token.");
}

static enum err_code add_zone(struct init_options *options, const char *text, struct err *e)
{
    if (options->zone_count == ZONES_MOST)
        return err_set(e, ERR_LIMIT, "at most %d zones at once", ZONES_MOST);
    struct zone *const zone = &options->zones[options->zone_count];
    const size_t len = strcspn(text, ":");
    if (len == 0 || len >= sizeof zone->name)
        return err_set(e, ERR_INPUT, "a zone's name has 1 to %d characters a-z 0-9 -", TOK_ZONE_BYTES - 1);
    memcpy(zone->name, text, len);
    zone->name[len] = '\0';
    zone->suite = TOK_TDES;
    if (text[len] == ':')
        TRY(tok_suite_parse(text + len + 1, &zone->suite, e));
    options->zone_count++;
    return ERR_OK;
}

static enum err_code read_options(int argc, char **argv, struct init_options *out_options, struct err *e)
{
    static const struct option known[] = {{"hsm-config", required_argument, NULL, 'c'},
                                          {"zone", required_argument, NULL, 'z'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    optind = 1;
    for (int option; (option = getopt_long(argc + 1, argv - 1, "h", known, NULL)) != -1;) {
        if (option == 'c')
            out_options->config_path = optarg;
        else if (option == 'z')
            TRY(add_zone(out_options, optarg, e));
        else if (option == 'h')
            out_options->help = true;
        else
            return err_set(e, ERR_INPUT, "see posward key init --help");
    }
    if (optind < argc + 1)
        return err_set(e, ERR_INPUT, "'%.40s' is no option; see posward key init --help", argv[optind - 1]);
    return ERR_OK;
}

/* A key that the token cannot make is skipped where the service would start without what it is for. */
static enum err_code without_key(struct ceremony *c, const struct tok_key_name *name, bool json,
                                 struct err *e)
{
    char label[TOK_LABEL_BYTES];
    tok_key_label(name, label);
    if (e->code != ERR_UNSUPPORTED || !hsm_config_missing_allowed(&c->config))
        return err_context(e, "cannot make %s", label);
    fprintf(json ? stderr : stdout, "%-48s  %-6s  not made: %s\n", label, "-", e->note);
    *e = (struct err){0};
    return ERR_OK;
}

static enum err_code make_key(struct ceremony *c, struct tok_key_name *name, bool json, struct err *e)
{
    struct tok_key_info info;
    char kcv[7];
    /* Any version counts: a master of version 3 that was loaded needs no version 1 beside it. */
    const unsigned newest = tok_keys_newest(c->tok, name->role, name->suite, name->zone);
    name->version = newest > 0 ? newest : 1;
    const bool there = newest > 0 && ceremony_find(c, name, &info);
    if (!there) {
        if (tok_key_generate(c->tok, name, TOK_KEY_ACTIVE, &info, e) != ERR_OK)
            return without_key(c, name, json, e);
        TRY(ceremony_record(c, "key init: made", &info, e));
    }
    ceremony_kcv_text(&info, kcv);
    if (!json)
        printf("%-48s  %-6s  %s\n", info.label, kcv, there ? "already there" : "made");
    return ERR_OK;
}

static enum err_code make_all(struct ceremony *c, const struct init_options *options, bool json,
                              struct err *e)
{
    if (!json)
        printf("%-48s  %-6s  %s\n", "LABEL", "KCV", "RESULT");
    for (size_t i = 0; i < COUNT(estate_keys); i++) {
        struct tok_key_name name = {.role = estate_keys[i].role, .suite = estate_keys[i].suite};
        TRY(make_key(c, &name, json, e));
    }
    for (size_t i = 0; i < options->zone_count * COUNT(zone_roles); i++) {
        const struct zone *const zone = &options->zones[i / COUNT(zone_roles)];
        struct tok_key_name name = {.role = zone_roles[i % COUNT(zone_roles)], .suite = zone->suite};
        TRY(ceremony_zone(zone->name, &name, e));
        TRY(make_key(c, &name, json, e));
    }
    return ERR_OK;
}

/* What ListKeys of the service would answer. */
struct key_list {
    Posward__Hsm__V1__ListKeysResponse message;
    Posward__Hsm__V1__Key *rows[KEYS_MOST];
    Posward__Hsm__V1__Key keys[KEYS_MOST];
    struct tok_key_info infos[KEYS_MOST];
    char roles[KEYS_MOST][TOK_LABEL_BYTES], suites[KEYS_MOST][TOK_LABEL_BYTES];
};

static void fill_row(struct key_list *list, size_t i)
{
    Posward__Hsm__V1__Key *const key = &list->keys[i];
    struct tok_key_info *const info = &list->infos[i];
    posward__hsm__v1__key__init(key);
    snprintf(list->roles[i], sizeof list->roles[i], "%s", tok_role_name(info->name.role));
    key->role = list->roles[i];
    snprintf(list->suites[i], sizeof list->suites[i], "%s", tok_suite_name(info->name.suite));
    key->suite = list->suites[i];
    key->version = info->name.version;
    key->zone = info->name.zone;
    key->kcv = (ProtobufCBinaryData){.len = info->has_kcv ? sizeof info->kcv : 0, .data = info->kcv};
    list->rows[i] = key;
}

static enum err_code print_json(struct cli *cli, struct ceremony *c, struct err *e)
{
    TRY(tok_keys_load(c->tok, e));
    const size_t count = tok_keys_count(c->tok);
    if (count > KEYS_MOST)
        return err_set(e, ERR_LIMIT, "the token has %zu keys; at most %d are printed", count, KEYS_MOST);
    struct key_list *const list = calloc(1, sizeof *list);
    if (list == NULL)
        return err_set(e, ERR_LIMIT, "no memory to print %zu keys", count);
    posward__hsm__v1__list_keys_response__init(&list->message);
    for (size_t i = 0; i < count; i++) {
        tok_keys_info(c->tok, i, &list->infos[i]);
        fill_row(list, i);
    }
    list->message.n_keys = count;
    list->message.keys = list->rows;
    const enum err_code code = cli_print(cli, &list->message.base, e);
    free(list);
    return code;
}

enum err_code ceremony_key_init(struct cli *cli, int argc, char **argv, struct err *e)
{
    struct init_options options = {0};
    AUTO(ceremony) ceremony = {0};
    TRY(read_options(argc, argv, &options, e));
    if (options.help) {
        print_help();
        return ERR_OK;
    }
    TRY(ceremony_init(&ceremony, options.config_path, e));
    TRY(make_all(&ceremony, &options, cli_json(cli), e));
    ceremony_back_up(&ceremony);
    TRY(ceremony_audit_end(&ceremony, e));
    if (cli_json(cli))
        TRY(print_json(cli, &ceremony, e));
    ceremony_say_next();
    return ERR_OK;
}

/* posward key load-components: load a key from what its custodians hold. */
#include "hsm-service/ceremony.h"

#include "base/hex.h"
#include "base/terms.h"
#include "hsm-service/cli.h"
#include "hsm-service/components.h"
#include "hsm-service/custodian.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct load_options {
    const char *config_path, *role, *suite, *zone, *version, *custodians;
    const char *paths[COMPONENTS_MOST];
    size_t path_count;
    bool odd_parity, help;
};

static void print_help(void)
{
    puts("Usage: posward key load-components --hsm-config FILE --role ROLE --suite SUITE [--zone NAME] "
         "[--version N]\n"
         "         --component FILE --component FILE ... | [--custodians N]\n\n"
         "Load a key into the token from components: their exclusive-or is the key. With --component each is "
         "the first\n"
         "line of a file of mode 0400 or 0600, in hexadecimal. Without, custodians type them at the terminal "
         "one after\n"
         "the other: not shown, twice each, the screen cleared in between. The check value of each component "
         "and of the\n"
         "key is printed, to be compared with the custodians' papers. TDES keys get odd parity.\n\n"
         "  --hsm-config FILE   the HSM service's configuration: which token\n"
         "  --role ROLE         psam-master, card-control, storage, blob-tag, zone-pin, zone-mac, zone-data\n"
         "  --suite SUITE       tdes, aes-128, aes-256\n"
         "  --zone NAME         whose, for zone keys\n"
         "  --version N         1 to 255; needed when the key is there already, higher than its newest "
         "version\n"
         "  --component FILE    a component; 2 to 9 of them\n"
         "  --custodians N      how many will type; 2 when not given\n"
         "  --odd-parity        refuse a TDES component that has a byte of even parity\n\n"
         "This is a ceremony on the HSM host: the command logs in to the token itself, locks its memory and "
         "dumps no\n"
         "core. The clear key is in its memory for the moment of the import.");
}

static enum err_code add_path(struct load_options *o, const char *path, struct err *e)
{
    if (o->path_count == COMPONENTS_MOST)
        return err_set(e, ERR_INPUT, "a key has at most %d components", COMPONENTS_MOST);
    o->paths[o->path_count++] = path;
    return ERR_OK;
}

static enum err_code take_option(struct load_options *o, int option, struct err *e)
{
    switch (option) {
    case 'c':
        o->config_path = optarg;
        return ERR_OK;
    case 'r':
        o->role = optarg;
        return ERR_OK;
    case 's':
        o->suite = optarg;
        return ERR_OK;
    case 'z':
        o->zone = optarg;
        return ERR_OK;
    case 'v':
        o->version = optarg;
        return ERR_OK;
    case 'n':
        o->custodians = optarg;
        return ERR_OK;
    case 'p':
        o->odd_parity = true;
        return ERR_OK;
    case 'f':
        return add_path(o, optarg, e);
    case 'h':
        o->help = true;
        return ERR_OK;
    default:
        return err_set(e, ERR_INPUT, "see posward key load-components --help");
    }
}

static enum err_code read_options(int argc, char **argv, struct load_options *out_options, struct err *e)
{
    static const struct option known[] = {{"hsm-config", required_argument, NULL, 'c'},
                                          {"role", required_argument, NULL, 'r'},
                                          {"suite", required_argument, NULL, 's'},
                                          {"zone", required_argument, NULL, 'z'},
                                          {"version", required_argument, NULL, 'v'},
                                          {"custodians", required_argument, NULL, 'n'},
                                          {"odd-parity", no_argument, NULL, 'p'},
                                          {"component", required_argument, NULL, 'f'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    optind = 1;
    for (int option; (option = getopt_long(argc + 1, argv - 1, "h", known, NULL)) != -1;)
        TRY(take_option(out_options, option, e));
    if (optind < argc + 1)
        return err_set(e, ERR_INPUT, "'%.40s' is no option; see posward key load-components --help",
                       argv[optind - 1]);
    return ERR_OK;
}

static enum err_code read_number(const char *text, const char *option, unsigned least, unsigned most,
                                 unsigned *out_number, struct err *e)
{
    char *end = NULL;
    const unsigned long number = strtoul(text, &end, 10);
    if (!digits_only(text, strlen(text)) || end == text || number < least || number > most)
        return err_set(e, ERR_INPUT, "%s is '%.20s'; it must be a number from %u to %u", option, text, least,
                       most);
    *out_number = (unsigned)number;
    return ERR_OK;
}

static enum err_code make_name(const struct load_options *o, struct tok_key_name *out_name, struct err *e)
{
    struct tok_key_name name = {0};
    if (o->role == NULL || o->suite == NULL)
        return err_set(e, ERR_INPUT, "--role and --suite are needed; see posward key load-components --help");
    TRY(tok_role_parse(o->role, &name.role, e));
    if (tok_role_is_pair(name.role))
        return err_set(e, ERR_INPUT,
                       "the audit key is a key pair that only the token makes: posward key init");
    TRY(tok_suite_parse(o->suite, &name.suite, e));
    TRY(ceremony_zone(o->zone, &name, e));
    if (o->version != NULL)
        TRY(read_number(o->version, "--version", 1, KEY_VERSION_MAX, &name.version, e));
    *out_name = name;
    return ERR_OK;
}

/* A key that is there is never replaced; the next version stands beside it. */
static enum err_code choose_version(const struct ceremony *c, struct tok_key_name *name, struct err *e)
{
    const unsigned newest = tok_keys_newest(c->tok, name->role, name->suite, name->zone);
    if (newest > 0 && c->config.keymgmt_path[0] != '\0')
        return err_set(
            e, ERR_DENIED,
            "there is such a key, and keymgmt.path puts the next one under dual control: posward key import");
    if (newest > 0 && name->version <= newest)
        return err_set(e, ERR_EXISTS, "the token has version %u of this key; %s", newest,
                       newest < KEY_VERSION_MAX ? "give a higher --version to load the next one"
                                                : "there is no higher version");
    if (name->version == 0)
        name->version = 1;
    return ERR_OK;
}

static enum err_code kcv_text(struct ceremony *c, enum tok_suite suite, const struct secret *value,
                              char out_text[7], struct err *e)
{
    uint8_t kcv[3];
    TRY(tok_value_kcv(c->tok, suite, value, kcv, e));
    hex_encode(kcv, sizeof kcv, out_text);
    return ERR_OK;
}

static enum err_code add_file(struct ceremony *c, enum tok_suite suite, const char *path, bool odd_parity,
                              struct components *parts, struct err *e)
{
    AUTO(secret) text = {0};
    char kcv[7];
    TRY(secret_init_file(&text, path, e));
    if (components_add(parts, &text, odd_parity, e) != ERR_OK)
        return err_context(e, "component %zu", parts->count + 1);
    TRY(kcv_text(c, suite, &parts->parts[parts->count - 1], kcv, e));
    printf("component %zu  check value %s\n", parts->count, kcv);
    return ERR_OK;
}

static enum err_code ask_one(struct ceremony *c, struct custodian_terminal *t, enum tok_suite suite,
                             unsigned count, bool odd_parity, struct components *parts, struct err *e)
{
    const unsigned number = (unsigned)parts->count + 1;
    char kcv[7];
    for (;;) {
        AUTO(secret) text = {0};
        TRY(custodian_ask(t, number, count, 2 * parts->key_bytes, &text, e));
        if (components_add(parts, &text, odd_parity, e) == ERR_OK)
            break;
        if (e->code != ERR_INPUT)
            return e->code;
        custodian_refuse(t, e->note);
    }
    TRY(kcv_text(c, suite, &parts->parts[parts->count - 1], kcv, e));
    TRY(custodian_hand_over(t, number, kcv, e));
    printf("component %u  check value %s\n", number, kcv);
    return ERR_OK;
}

static enum err_code ask_all(struct ceremony *c, const struct load_options *o, enum tok_suite suite,
                             struct components *parts, struct err *e)
{
    unsigned count = COMPONENTS_LEAST;
    if (o->custodians != NULL)
        TRY(read_number(o->custodians, "--custodians", COMPONENTS_LEAST, COMPONENTS_MOST, &count, e));
    AUTO(custodian_terminal) terminal = {.fd = -1};
    TRY(custodian_open(&terminal, e));
    while (parts->count < count)
        TRY(ask_one(c, &terminal, suite, count, o->odd_parity, parts, e));
    return ERR_OK;
}

static enum err_code collect(struct ceremony *c, const struct load_options *o, enum tok_suite suite,
                             struct components *parts, struct err *e)
{
    if (o->path_count == 0)
        return ask_all(c, o, suite, parts, e);
    for (size_t i = 0; i < o->path_count; i++)
        TRY(add_file(c, suite, o->paths[i], o->odd_parity, parts, e));
    return ERR_OK;
}

static enum err_code cannot_load(const struct tok_key_name *name, struct err *e)
{
    char label[TOK_LABEL_BYTES];
    tok_key_label(name, label);
    return err_context(e, "cannot load %s", label);
}

static enum err_code load(struct ceremony *c, const struct load_options *o, struct tok_key_name *name,
                          struct err *e)
{
    AUTO(components) parts = {.key_bytes = tok_key_bytes(name->role, name->suite)};
    AUTO(secret) key = {0};
    struct tok_key_info info;
    char kcv[7];
    TRY(choose_version(c, name, e));
    TRY(collect(c, o, name->suite, &parts, e));
    TRY(components_combine(&parts, &key, e));
    if (tok_key_import(c->tok, name, &key, TOK_KEY_ACTIVE, &info, e) != ERR_OK)
        return cannot_load(name, e);
    TRY(ceremony_record(c, "load-components: loaded", &info, e));
    ceremony_kcv_text(&info, kcv);
    printf("%s  check value %s  loaded\n", info.label, kcv);
    return ERR_OK;
}

enum err_code ceremony_load_components(struct cli *cli, int argc, char **argv, struct err *e)
{
    (void)cli;
    struct load_options options = {0};
    struct tok_key_name name = {0};
    AUTO(ceremony) ceremony = {0};
    TRY(read_options(argc, argv, &options, e));
    if (options.help) {
        print_help();
        return ERR_OK;
    }
    TRY(make_name(&options, &name, e));
    TRY(ceremony_init(&ceremony, options.config_path, e));
    TRY(load(&ceremony, &options, &name, e));
    ceremony_back_up(&ceremony);
    TRY(ceremony_audit_end(&ceremony, e));
    ceremony_say_next();
    return ERR_OK;
}

#include "issuer/cli.h"

#include "base/hex.h"
#include "issuer/issue.h"
#include "issuer/reader.h"
#include "issuer/show.h"
#include "issuer/suites.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char issue_help[] =
    "posward card issue --reader READER --suite SUITE [options]\n"
    "\n"
    "Have the HSM service derive the terminal master key of the card in the reader, write it into the card,\n"
    "check it, and register card and terminal. Can be run again after any failure.\n"
    "\n"
    "  --reader READER      tcp:HOST:PORT, the socket of an emulated card\n"
    "  --suite SUITE        tdes, aes-128 or aes-256\n"
    "  --wrap-version N     what working keys come to the card under: 2, a key of their usage (the default "
    "of AES\n"
    "                       suites), or 1, the master key itself (tdes; AES cards that know no other)\n"
    "  --profile NAME       card profile: aes (default), pboc, or another file of the profiles' folder\n"
    "  --profiles-dir DIR   folder of card profiles (default: /etc/posward/cards, then the installed ones)\n"
    "  --terminal-id ID     register the card with this terminal, 8 characters\n"
    "  --merchant-id ID     its merchant, 15 characters; needed with --terminal-id\n"
    "  --json               print the result as JSON\n";

static const char show_help[] =
    "posward card show --reader READER\n"
    "\n"
    "Print number, files and keys (version, algorithm, KCV) of the card in the reader.\n"
    "\n"
    "  --reader READER      tcp:HOST:PORT, the socket of an emulated card\n"
    "  --json               print as JSON\n";

struct card_options {
    const char *reader, *suite, *wrap_version, *profile, *profiles_dir, *terminal_id, *merchant_id;
    bool help;
};

static enum err_code read_options(int argc, char **argv, struct card_options *o, struct err *e)
{
    static const struct option names[] = {{"reader", required_argument, NULL, 'r'},
                                          {"suite", required_argument, NULL, 's'},
                                          {"wrap-version", required_argument, NULL, 'w'},
                                          {"profile", required_argument, NULL, 'p'},
                                          {"profiles-dir", required_argument, NULL, 'd'},
                                          {"terminal-id", required_argument, NULL, 't'},
                                          {"merchant-id", required_argument, NULL, 'm'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    const struct {
        int letter;
        const char **value;
    } values[] = {{'r', &o->reader},     {'s', &o->suite},        {'w', &o->wrap_version},
                  {'p', &o->profile},    {'d', &o->profiles_dir}, {'t', &o->terminal_id},
                  {'m', &o->merchant_id}};
    opterr = 0;
    optind = 1;
    for (int letter; (letter = getopt_long(argc + 1, argv - 1, ":", names, NULL)) != -1;) {
        if (letter == ':')
            return err_set(e, ERR_INPUT, "%.40s needs a value; see --help", argv[optind - 2]);
        if (letter == '?')
            return err_set(e, ERR_INPUT, "unknown option %.40s; see --help", argv[optind - 2]);
        if (letter == 'h')
            o->help = true;
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
            if (values[i].letter == letter)
                *values[i].value = optarg;
    }
    if (optind < argc + 1)
        return err_set(e, ERR_INPUT, "unexpected argument '%.40s'; see --help", argv[optind - 1]);
    return ERR_OK;
}

static enum err_code check_issue_options(const struct card_options *o, struct err *e)
{
    if (o->reader == NULL)
        return err_set(e, ERR_INPUT, "--reader is missing: where is the card? see --help");
    if (o->suite == NULL)
        return err_set(e, ERR_INPUT, "--suite is missing: tdes, aes-128 or aes-256");
    if (o->terminal_id != NULL && o->merchant_id == NULL)
        return err_set(e, ERR_INPUT, "--terminal-id needs --merchant-id");
    if (o->merchant_id != NULL && o->terminal_id == NULL)
        return err_set(e, ERR_INPUT, "--merchant-id needs --terminal-id");
    return ERR_OK;
}

static void tell(void *context, const char *patent_step, const char *sentence)
{
    if (cli_json(context))
        return;
    printf("%-10s %s\n", patent_step, sentence);
    fflush(stdout); /* as it happens, into a pipe too */
}

static void put_registration(json_t *json, const struct issue_order *order, const struct issue_result *result)
{
    static const char *const words[] = {[ISSUE_UNREGISTERED] = "none",
                                        [ISSUE_REGISTERED] = "registered",
                                        [ISSUE_WAS_REGISTERED] = "unchanged",
                                        [ISSUE_UPDATED] = "updated"};
    json_object_set_new(json, "registration", json_string(words[result->registration]));
    if (order->terminal_id == NULL)
        return;
    char revision[24];
    snprintf(revision, sizeof revision, "%" PRId64, result->revision);
    json_object_set_new(json, "terminalId", json_string(order->terminal_id));
    json_object_set_new(json, "merchantId", json_string(order->merchant_id));
    json_object_set_new(json, "revision", json_string(revision));
}

static void print_result(struct cli *cli, const struct issue_order *order, const struct issue_result *result)
{
    char kcv[2 * sizeof result->kcv + 1];
    hex_encode(result->kcv, result->kcv_bytes, kcv);
    if (!cli_json(cli)) {
        printf("card %s issued: %s, wrap version %u, master version %u, KCV %s, %s\n", result->psam_number,
               suite_name(order->suite), result->wrap_version, result->master_version, kcv,
               grade_name(result->grade));
        return;
    }
    json_t *json = json_object();
    json_object_set_new(json, "psamNumber", json_string(result->psam_number));
    json_object_set_new(json, "suite", json_string(suite_name(order->suite)));
    json_object_set_new(json, "profile", json_string(order->profile->name));
    json_object_set_new(json, "wrapVersion", json_integer(result->wrap_version));
    json_object_set_new(json, "masterVersion", json_integer(result->master_version));
    json_object_set_new(json, "kcv", json_string(kcv));
    json_object_set_new(json, "grade", json_string(grade_name(result->grade)));
    put_registration(json, order, result);
    json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(json);
}

static enum err_code parse_wrap_version(const char *text, uint32_t *out_version, struct err *e)
{
    if (text == NULL)
        return ERR_OK; /* 0: by the suite */
    if (strcmp(text, "1") != 0 && strcmp(text, "2") != 0)
        return err_set(e, ERR_INPUT, "--wrap-version must be 1 or 2, got '%.20s'", text);
    *out_version = (uint32_t)(text[0] - '0');
    return ERR_OK;
}

static enum err_code issue_with(struct cli *cli, const struct card_options *o,
                                const struct card_profile *profile, struct err *e)
{
    struct issue_order order = {
        .profile = profile, .terminal_id = o->terminal_id, .merchant_id = o->merchant_id};
    struct issue_parts parts = {.timeout_ms = cli_timeout_ms(cli), .tell = tell, .context = cli};
    struct issue_result result = {0};
    TRY(suite_parse("--suite", o->suite, &order.suite, e));
    TRY(parse_wrap_version(o->wrap_version, &order.wrap_version, e));
    TRY(card_profile_check_suite(profile, order.suite, e));
    parts.posp = cli_channel(cli, "posp", e);
    if (parts.posp == NULL)
        return e->code;
    if (o->terminal_id != NULL && (parts.posv = cli_channel(cli, "posv", e)) == NULL)
        return e->code;
    AUTO(card_link) card = {0};
    TRY(reader_open(o->reader, &card, e));
    parts.card = &card;
    TRY(issue_card(&order, &parts, &result, e));
    print_result(cli, &order, &result);
    return ERR_OK;
}

static enum err_code run_issue(struct cli *cli, int argc, char **argv, struct err *e)
{
    struct card_options options = {.profile = "aes"};
    struct card_profile profile;
    TRY(read_options(argc, argv, &options, e));
    if (options.help) {
        fputs(issue_help, stdout);
        return ERR_OK;
    }
    TRY(check_issue_options(&options, e));
    TRY(card_profile_load(options.profiles_dir, options.profile, &profile, e));
    return issue_with(cli, &options, &profile, e);
}

static enum err_code run_show(struct cli *cli, int argc, char **argv, struct err *e)
{
    struct card_options options = {0};
    TRY(read_options(argc, argv, &options, e));
    if (options.help) {
        fputs(show_help, stdout);
        return ERR_OK;
    }
    if (options.reader == NULL)
        return err_set(e, ERR_INPUT, "--reader is missing: where is the card? see --help");
    AUTO(card_link) card = {0};
    json_t *json = NULL;
    TRY(reader_open(options.reader, &card, e));
    TRY(show_read(&card, &json, e));
    if (cli_json(cli)) {
        json_dumpf(json, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        show_print(json, stdout);
    }
    json_decref(json);
    return ERR_OK;
}

static const struct cli_option issue_options[] = {
    {"reader", "READER", "tcp:HOST:PORT, the socket of an emulated card."},
    {"suite", "tdes|aes-128|aes-256", "Algorithm and length of the master key."},
    {"wrap-version", "1|2", "What working keys come under; AES suites: 2, a key of their usage."},
    {"profile", "NAME", "Card profile: aes (default), pboc, or another file of the profiles' folder."},
    {"profiles-dir", "DIR", "Folder of card profiles."},
    {"terminal-id", "ID", "Register the card with this terminal, 8 characters."},
    {"merchant-id", "ID", "Its merchant, 15 characters; needed with a terminal."},
    {0},
};
static const struct cli_option show_options[] = {
    {"reader", "READER", "tcp:HOST:PORT, the socket of an emulated card."}, {0}};

const cli_table issuer_commands = {
    {.group = "card",
     .name = "issue",
     .help = "Write the master key into a PSAM card and register it.",
     .run = run_issue,
     .options = issue_options},
    {.group = "card",
     .name = "show",
     .help = "Print what the card in a reader tells.",
     .run = run_show,
     .options = show_options},
    {.group = NULL},
};

/* posward-terminal: an emulated POS terminal with a PSAM card in its slot. */
#include "base/hex.h"
#include "base/log.h"
#include "card-emu/options/options.h"
#include "card-emu/terminal/terminal.h"

#include <stdlib.h>
#include <string.h>

#define AMOUNT_MAX 999999999999 /* F4 has 12 digits */
#define AT(member) .offset = offsetof(struct terminal_options, member)

static const struct option_row rows[] = {
    {.name = "COMMAND",
     .value = "",
     .type = OPTION_WORD,
     AT(command),
     .required = true,
     .help = "see --help"},
    {.name = "posp",
     .value = "HOST:PORT",
     AT(posp),
     .fallback = "127.0.0.1:7800",
     .help = "POSP's terminal port."},
    {.name = "psam",
     .value = "HOST:PORT",
     AT(psam),
     .fallback = "127.0.0.1:7900",
     .help = "The card's reader line."},
    {.name = "terminal-id",
     .value = "ID",
     AT(terminal_id),
     .required = true,
     .help = "Terminal number, 8 characters."},
    {.name = "merchant-id",
     .value = "ID",
     AT(merchant_id),
     .required = true,
     .help = "Merchant number, 15 characters."},
    {.name = "state",
     .value = "FILE",
     AT(state),
     .required = true,
     .help = "Batch, trace counter and key version; made when absent."},
    {.name = "suite",
     .value = "SUITE",
     AT(suite),
     .fallback = "tdes",
     .help = "tdes or aes, as the card was issued."},
    {.name = "timeout-ms",
     .value = "MS",
     .type = OPTION_NUMBER,
     AT(timeout_ms),
     .fallback = "10000",
     .help = "How long an answer may take."},
    {.name = "json", .type = OPTION_FLAG, AT(json), .help = "One JSON object a step."},
    {.name = "keys",
     .value = "LAYOUT",
     AT(keys),
     .help = "signin: single, double, track or slots (F60.3 001, 003, 004, 005); default track, AES slots. A "
             "host that gives no single DES refuses single with F39 A7."},
    {.name = "send-psam-number",
     .type = OPTION_FLAG,
     AT(send_psam_number),
     .help = "signin: F62 carries the card's number instead of the terminal's serial number."},
    {.name = "amount",
     .value = "CENTS",
     .type = OPTION_NUMBER,
     AT(amount),
     .fallback = "100",
     .help = "purchase, run: amount in cents."},
    {.name = "pan",
     .value = "DIGITS",
     AT(pan),
     .fallback = "6225758326736419",
     .help = "purchase, run: card number; track 2 is made from it."},
    {.name = "expiry",
     .value = "YYMM",
     AT(expiry),
     .fallback = "3012",
     .help = "purchase, run: expiry date."},
    {.name = "track2",
     .value = "TRACK",
     AT(track2),
     .help = "purchase, run: the whole track instead, '=' or 'D'."},
    {.name = "pin",
     .value = "PIN",
     AT(pin),
     .help = "purchase, run: typed at the PIN pad; none: a purchase without."},
    {.name = "track-only", .type = OPTION_FLAG, AT(track_only), .help = "purchase, run: leave field 2 out."},
    {.name = "tamper-amount",
     .type = OPTION_FLAG,
     AT(tamper_amount),
     .help = "purchase: change field 4 after the MAC was made, as an attacker on the line would."},
    {.name = "repeat",
     .type = OPTION_FLAG,
     AT(repeat),
     .help = "purchase: send the same message again; the same answer has to come."},
    {.name = "count",
     .value = "N",
     .type = OPTION_NUMBER,
     AT(count),
     .fallback = "1",
     .help = "run: purchases."},
    {.name = "seconds",
     .value = "MAX",
     .type = OPTION_NUMBER,
     AT(seconds),
     .fallback = "60",
     .help = "run: give up after that time."},
    {0},
};

static const struct command {
    const char *name, *help;
    terminal_flow *run;
} commands[] = {
    {"signin", "0800: ask for working keys and write them into the card.", flow_signin},
    {"signoff", "0820, F60.3 002.", flow_signoff},
    {"echo", "0820, F60.3 301.", flow_echo},
    {"purchase", "0200: PIN block, track and MAC from the card; the answer's MAC is verified.",
     flow_purchase},
    {"run", "Purchases in a row, each sent again until it is answered; a line each: trace F39 F37.",
     flow_run},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static int help(FILE *out, int status)
{
    fprintf(out,
            "posward-terminal %s: an emulated POS terminal\n\nusage: posward-terminal OPTIONS COMMAND "
            "OPTIONS\n\n",
            POSWARD_VERSION);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\n");
    options_print(rows, out);
    fprintf(
        out,
        "\nExit status: 0 F39 00 (signin: and the card has the keys); 3 another F39; 4 the card refused the\n"
        "working keys; 1 a line, the card or the answer failed (the reason on standard error); 2 usage.\n");
    return status;
}

static enum err_code check(const struct terminal_options *o, struct err *e)
{
    if (strlen(o->terminal_id) != 8)
        return err_set(e, ERR_INPUT, "--terminal-id needs 8 characters");
    if (strlen(o->merchant_id) != 15)
        return err_set(e, ERR_INPUT, "--merchant-id needs 15 characters");
    if (strcmp(o->suite, "tdes") != 0 && strcmp(o->suite, "aes") != 0)
        return err_set(e, ERR_INPUT, "--suite is tdes or aes");
    if (strlen(o->expiry) != 4 || !digits_only(o->expiry, 4))
        return err_set(e, ERR_INPUT, "--expiry needs 4 digits, YYMM");
    if (o->amount > AMOUNT_MAX)
        return err_set(e, ERR_INPUT, "--amount has at most 12 digits");
    if (o->timeout_ms < 1 || o->timeout_ms > 600000)
        return err_set(e, ERR_INPUT, "--timeout-ms is 1 to 600000");
    return ERR_OK;
}

static enum err_code find_command(const struct terminal_options *o, const struct command **out, struct err *e)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, o->command) == 0) {
            *out = &commands[i];
            return ERR_OK;
        }
    }
    return err_set(e, ERR_INPUT, "unknown command \"%.40s\"; see --help", o->command);
}

static int run(const struct terminal_options *o, const struct command *command)
{
    struct err e = {0};
    enum outcome outcome = OUTCOME_FAILED;
    struct terminal t = {.options = o,
                         .pad = {.address = o->psam,
                                 .suite = strcmp(o->suite, "aes") == 0 ? SUITE_AES : SUITE_TDES,
                                 .timeout_ms = (int)o->timeout_ms},
                         .host = {.address = o->posp, .timeout_ms = (int)o->timeout_ms, .fd = -1}};
    enum err_code code = state_load(o->state, &t.state, &e);
    if (code == ERR_OK)
        code = command->run(&t, &outcome, &e);
    pad_drop(&t.pad);
    host_drop(&t.host);
    if (code == ERR_OK)
        return (int)outcome;
    fprintf(stderr, "posward-terminal: %s: %s\n", command->name, e.note);
    return OUTCOME_FAILED;
}

int main(int argc, char **argv)
{
    struct terminal_options o = {0};
    struct err e = {0};
    bool wants_help = false;
    const struct command *command = NULL;
    log_setup("posward-terminal", LOG_INFO, false);
    if (argc < 2)
        return help(stderr, OUTCOME_USAGE);
    if (strcmp(argv[1], "--version") == 0)
        return puts("posward-terminal " POSWARD_VERSION) < 0 ? OUTCOME_FAILED : OUTCOME_DONE;
    enum err_code code = options_parse(rows, argc, argv, 1, &o, &wants_help, &e);
    if (code == ERR_OK && wants_help)
        return help(stdout, OUTCOME_DONE);
    if (code == ERR_OK)
        code = check(&o, &e);
    if (code == ERR_OK)
        code = find_command(&o, &command, &e);
    if (code == ERR_OK)
        return run(&o, command);
    fprintf(stderr, "posward-terminal: %s\n", e.note);
    return OUTCOME_USAGE;
}

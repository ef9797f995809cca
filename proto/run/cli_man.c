/* `posward man`: the manual page in roff's man macros, made from the tables. */
#include "run/cli_internal.h"

#include <stdlib.h>
#include <string.h>

struct page {
    const struct cli *cli;
    FILE *out;
};

/* A line that begins with a dot or a quote would be a request; a plain - would be a hyphen. */
static void put(FILE *out, const char *text)
{
    if (text[0] == '.' || text[0] == '\'')
        fputs("\\&", out);
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else if (*text == '|')
            fputs("|\\:", out); /* a line may break there */
        else
            fputc(*text, out);
    }
}

static void put_option(void *context, const struct cli_option *option)
{
    FILE *const out = ((const struct page *)context)->out;
    fputs(".TP\n\\fB\\-\\-", out);
    put(out, option->name);
    fputs("\\fR", out);
    if (option->value != NULL) {
        fputs(" \\fI", out);
        put(out, option->value);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    if (option->help != NULL)
        put(out, option->help);
    if (option->several)
        fputs(option->help != NULL ? " May be given several times." : "May be given several times.", out);
    fputs(option->help != NULL || option->several ? "\n" : "\\&\n", out);
}

static void put_command(void *context, const struct cli_command *command)
{
    const struct page *const page = context;
    fputs(".SS \"posward ", page->out);
    put(page->out, command->group);
    fputc(' ', page->out);
    put(page->out, command->name);
    if (command->positional != NULL) {
        char name[CLI_OPTION_BYTES];
        cli_option_name("", command->positional, name);
        fputs(" [", page->out);
        put(page->out, name);
        fputc(']', page->out);
    }
    fputs("\"\n", page->out);
    put(page->out, command->help != NULL ? command->help : "");
    fputc('\n', page->out);
    cli_each_option(command, put_option, context);
}

static void put_group(void *context, const struct cli_command *first)
{
    cli_each_command(((const struct page *)context)->cli, first->group, put_command, context);
}

static void put_options(struct page *page, const struct cli_option *options)
{
    for (const struct cli_option *o = options; o->name != NULL; o++)
        put_option(page, o);
}

static void put_configuration(FILE *out)
{
    for (const struct conf_row *row = cli_config_rows; row->key != NULL; row++) {
        fprintf(out, ".TP\n\\fB%s\\fR", row->key);
        if (row->fallback != NULL) {
            fputs(" (default ", out);
            put(out, row->fallback);
            fputc(')', out);
        }
        fputc('\n', out);
        put(out, row->help);
        fputc('\n', out);
    }
}

static void put_methods(struct page *page)
{
    fputs(".PP\nMethods of \\fBcall\\fR:\n.nf\n", page->out);
    for (const struct cli_service *s = page->cli->services; s->service != NULL; s++)
        for (unsigned i = 0; i < s->service->n_methods; i++)
            fprintf(page->out, "%s/%s\n", s->service->name, s->service->methods[i].name);
    fputs(".fi\n", page->out);
}

static const char head[] =
    ".SH NAME\n"
    "posward \\- operate Posward's services: keys, cards, devices, transactions\n"
    ".SH SYNOPSIS\n"
    ".B posward\n"
    "\\fIGROUP COMMAND\\fR [\\fB\\-\\-\\fIOPTION VALUE\\fR ...]\n"
    ".SH DESCRIPTION\n"
    "A command is mostly one call of a service: the fields of its request are the options, and its answer is "
    "printed as a table, or as JSON.\n"
    "Bytes are given in hexadecimal or as @FILE, a nested message as JSON or by the options with a dot.\n"
    "The name in brackets behind a command may be given without its option name.\n"
    ".SH OPTIONS OF EVERY COMMAND\n";

static const char built_in[] = ".SH OTHER COMMANDS\n"
                               ".SS \"posward status\"\nAsk every service for its health and counters.\n"
                               ".SS \"posward call SERVICE/METHOD [JSON | @FILE | @\\-]\"\n"
                               "Call any RPC; the request is proto3 JSON, {} when it is left out.\n";

static const char after_call[] =
    ".SS \"posward help [GROUP [COMMAND]]\"\nExplain.\n"
    ".SS \"posward completion bash\"\nPrint a completion script: source <(posward completion bash)\n"
    ".SS \"posward man\"\nPrint this page: posward man | man \\-l \\-\n"
    ".SH CONFIGURATION\nA YAML file with these keys:\n";

static const char tail[] =
    ".SH EXIT STATUS\n0: done. 1: refused or failed; the reason is on standard error. 2: wrong usage.\n"
    ".SH ENVIRONMENT\n.TP\n.B POSWARD_CONFIG\nThe client configuration, when \\-\\-config does not name "
    "one.\n"
    ".SH FILES\n.TP\n.I /etc/posward/posward.yaml\nThe client configuration, when nothing names one.\n"
    ".SH SEE ALSO\nEvery daemon explains itself with \\-\\-help and \\-\\-help\\-config.\n";

int cli_run_man(const struct cli *cli)
{
    struct page page = {.cli = cli, .out = stdout};
    fprintf(stdout, ".TH POSWARD 1 \"\" \"Posward %s\" \"Posward\"\n", POSWARD_VERSION);
    fputs(head, stdout);
    put_options(&page, cli_global_options);
    fputs(".SH COMMANDS\n", stdout);
    cli_each_command(cli, NULL, put_group, &page);
    fputs(built_in, stdout);
    put_options(&page, cli_call_options);
    put_methods(&page);
    fputs(after_call, stdout);
    put_configuration(stdout);
    fputs(tail, stdout);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#include "run/cli_internal.h"

#include <string.h>

#define NAME_WIDTH 25

static void print_entry(const char *name, const char *help, FILE *out)
{
    fprintf(out, "  %-*s  %s\n", NAME_WIDTH, name, help != NULL ? help : "");
}

static void print_command_line(void *out, const struct cli_command *c)
{
    char name[CLI_OPTION_BYTES];
    snprintf(name, sizeof name, "%s %s", c->group, c->name);
    print_entry(name, c->help, out);
}

struct overview {
    const struct cli *cli;
    FILE *out;
};

static void print_commands(void *context, const struct cli_command *first)
{
    const struct overview *const o = context;
    cli_each_command(o->cli, first->group, print_command_line, o->out);
}

static void print_global_options(FILE *out)
{
    fputs("\nOptions of every command:\n"
          "  --config FILE  client configuration; else $POSWARD_CONFIG, else /etc/posward/posward.yaml,\n"
          "                 else the default ports on 127.0.0.1 without TLS\n"
          "  --json         print JSON\n"
          "  --help         explain the command\n",
          out);
}

void cli_print_overview(const struct cli *cli, FILE *out)
{
    fputs("Usage: posward GROUP COMMAND [--OPTION VALUE ...]\n\n", out);
    cli_each_command(cli, NULL, print_commands, &(struct overview){cli, out});
    print_entry("status", "Ask every service for its health and counters.", out);
    print_entry("call SERVICE/METHOD", "Call any RPC with a request in JSON.", out);
    print_entry("help [GROUP [COMMAND]]", "Explain.", out);
    print_entry("completion bash", "Print a completion script.", out);
    print_entry("man", "Print the manual page.", out);
    print_global_options(out);
    fputs("  --help-config  list the keys of the client configuration\n"
          "  --version      print the version\n",
          out);
}

void cli_print_group(const struct cli *cli, const char *group, FILE *out)
{
    fprintf(out, "Usage: posward %s COMMAND [--OPTION VALUE ...]\n\n", group);
    cli_each_command(cli, group, print_command_line, out);
    print_global_options(out);
}

static void print_option(void *out, const struct cli_option *option)
{
    fprintf(out, "  --%s %s%s\n", option->name, option->value, option->several ? "  (several times)" : "");
}

void cli_print_command(const struct cli_command *command, FILE *out)
{
    const ProtobufCMethodDescriptor *const method =
        command->service != NULL ? cli_method_of(command->service, command->method) : NULL;
    char positional[CLI_OPTION_BYTES] = "";
    if (command->positional != NULL)
        cli_option_name("", command->positional, positional);
    fprintf(out, "Usage: posward %s %s%s%s%s%s\n%s\n", command->group, command->name,
            positional[0] != '\0' ? " [" : "", positional, positional[0] != '\0' ? "]" : "",
            method != NULL && method->input->n_fields > 0 ? " [--OPTION VALUE ...]" : "",
            command->help != NULL ? command->help : "");
    if (method != NULL && method->input->n_fields > 0) {
        fputs("\nOptions:\n", out);
        cli_each_option(command, print_option, out);
    }
    print_global_options(out);
}

#include "run/cli.h"

#include "base/nearest.h"
#include "base/trace.h"
#include "rpc/status.h"
#include "run/cli_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ARGUMENTS 256
#define LABEL_BYTES   128

/* The command line without the options that every command has. */
struct arguments {
    char *list[MAX_ARGUMENTS + 1]; /* ends with NULL */
    int count;
    const char *config_path;
    bool json, help, help_config, version;
};

/* --version and --help-config speak of the whole program in front of a command only: behind it they may be
 * its own. */
static bool take_flag(struct arguments *a, const char *argument)
{
    const struct {
        const char *name;
        bool *flag;
        bool anywhere;
    } flags[] = {{"--json", &a->json, true},
                 {"--help", &a->help, true},
                 {"-h", &a->help, true},
                 {"--help-config", &a->help_config, false},
                 {"--version", &a->version, false}};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (strcmp(argument, flags[i].name) == 0 && (flags[i].anywhere || a->count == 0)) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

static enum err_code read_arguments(int argc, char **argv, struct arguments *a, struct err *e)
{
    for (int i = 1; i < argc; i++) {
        if (take_flag(a, argv[i]))
            continue;
        if (strncmp(argv[i], "--config=", 9) == 0) {
            a->config_path = argv[i] + 9;
        } else if (strcmp(argv[i], "--config") == 0) {
            if (++i == argc)
                return err_set(e, ERR_INPUT, "--config needs a file");
            a->config_path = argv[i];
        } else {
            if (a->count == MAX_ARGUMENTS)
                return err_set(e, ERR_LIMIT, "more than %d arguments", MAX_ARGUMENTS);
            a->list[a->count++] = argv[i];
        }
    }
    return ERR_OK;
}

/* `group` NULL: the unknown word stands for a group. */
static int refuse_word(const struct cli *cli, const char *group, const char *word)
{
    struct nearest near = {.word = word};
    for (size_t i = 0; group == NULL && cli_built_in[i] != NULL; i++)
        nearest_offer(&near, cli_built_in[i]);
    for (size_t i = 0; i < cli->table_count; i++) {
        for (const struct cli_command *c = cli->tables[i]; c->group != NULL; c++) {
            if (group == NULL)
                nearest_offer(&near, c->group);
            else if (strcmp(group, c->group) == 0)
                nearest_offer(&near, c->name);
        }
    }
    const char *const meant = nearest_found(&near), *const space = group != NULL ? " " : "";
    const char *const before = group != NULL ? group : "";
    fprintf(stderr, "posward %s%s'%s' is no command", before, space, word);
    if (meant != NULL)
        fprintf(stderr, "; did you mean 'posward %s%s%s'?\n", before, space, meant);
    else
        fprintf(stderr, "; see 'posward %s%s--help'\n", before, space);
    return CLI_EXIT_USAGE;
}

static int run_own(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
    struct err e = {0};
    if (command->run(cli, argc, argv, &e) == ERR_OK)
        return EXIT_SUCCESS;
    char label[LABEL_BYTES];
    snprintf(label, sizeof label, "%s %s", command->group, command->name);
    cli_complain(label, &e);
    return EXIT_FAILURE;
}

/* What needs the client configuration. `command` NULL: built in. */
static int run_configured(struct cli *cli, const struct arguments *a, const struct cli_command *command)
{
    struct err e = {0};
    char **const list = (char **)a->list;
    if (cli_config_load(a->config_path, &cli->config, &e) != ERR_OK) {
        fprintf(stderr, "posward: %s\n", e.note);
        return EXIT_FAILURE;
    }
    int status;
    if (command == NULL)
        status =
            (strcmp(list[0], "status") == 0 ? cli_run_status : cli_run_call)(cli, a->count - 1, list + 1);
    else if (command->run != NULL)
        status = run_own(cli, command, a->count - 2, list + 2);
    else
        status = cli_run_rpc(cli, command, a->count - 2, list + 2);
    cli_drop(cli);
    if (fflush(stdout) != 0 && status == EXIT_SUCCESS)
        status = EXIT_FAILURE;
    return status;
}

static int run_help(struct cli *cli, char **words, int count)
{
    if (count == 0) {
        cli_print_overview(cli, stdout);
        return EXIT_SUCCESS;
    }
    if (cli_find_command(cli, words[0], NULL) == NULL)
        return refuse_word(cli, NULL, words[0]);
    if (count == 1) {
        cli_print_group(cli, words[0], stdout);
        return EXIT_SUCCESS;
    }
    const struct cli_command *const command = cli_find_command(cli, words[0], words[1]);
    if (command == NULL)
        return refuse_word(cli, words[0], words[1]);
    cli_print_command(command, stdout);
    return EXIT_SUCCESS;
}

static int run_command(struct cli *cli, struct arguments *a)
{
    const struct cli_command *const command =
        a->count > 1 ? cli_find_command(cli, a->list[0], a->list[1]) : NULL;
    if (command == NULL || (cli->help && command->run == NULL))
        return run_help(cli, a->list, a->count);
    if (cli->help) { /* own code explains itself */
        static char help[] = "--help";
        a->list[2] = help;
        a->list[3] = NULL;
        a->count = 3;
    }
    return run_configured(cli, a, command);
}

static int dispatch(struct cli *cli, struct arguments *a)
{
    const char *const first = a->count > 0 ? a->list[0] : "help";
    if (a->version) {
        printf("posward %s\n", POSWARD_VERSION);
        return EXIT_SUCCESS;
    }
    if (a->help_config) {
        conf_print_help(cli_config_rows, stdout);
        return EXIT_SUCCESS;
    }
    if (strcmp(first, "help") == 0)
        return run_help(cli, a->list + (a->count > 0 ? 1 : 0), a->count > 0 ? a->count - 1 : 0);
    if (strcmp(first, "status") == 0 || strcmp(first, "call") == 0)
        return run_configured(cli, a, NULL);
    if (strcmp(first, "completion") == 0)
        return cli_run_completion(cli, a->count - 1, a->list + 1);
    if (strcmp(first, "man") == 0 && !cli->help)
        return cli_run_man(cli);
    return run_command(cli, a);
}

int cli_main(const struct cli_command *const *tables, size_t table_count, const struct cli_service *services,
             int argc, char **argv)
{
    struct err e = {0};
    struct arguments a = {0};
    if (read_arguments(argc, argv, &a, &e) != ERR_OK) {
        fprintf(stderr, "posward: %s\n", e.note);
        return CLI_EXIT_USAGE;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    struct cli cli = {
        .tables = tables, .table_count = table_count, .services = services, .json = a.json, .help = a.help};
    (void)trace_enter(trace_new()); /* one trace a command */
    return dispatch(&cli, &a);
}

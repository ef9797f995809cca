/* `posward completion bash`: one shell function with a case a position, made from the tables. */
#include "run/cli_internal.h"

#include <stdlib.h>
#include <string.h>

struct script {
    const struct cli *cli;
    FILE *out;
    const struct cli_command *command;
};

/* What comes before a word is in `group`, `name` and `prev`; "--option=value" arrives as three words. */
static const char head[] =
    "# bash completion for posward, made by: posward completion bash\n"
    "# Try it with: source <(posward completion bash)\n"
    "_posward()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=\"\" group=\"\" name=\"\" words=\"\" i\n"
    "    [ \"$COMP_CWORD\" -gt 0 ] && prev=${COMP_WORDS[COMP_CWORD-1]}\n"
    "    [ \"$prev\" = = ] && [ \"$COMP_CWORD\" -gt 1 ] && prev=${COMP_WORDS[COMP_CWORD-2]}\n"
    "    [ \"$cur\" = = ] && cur=\"\"\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        case ${COMP_WORDS[i]} in\n"
    "        --config) [ \"${COMP_WORDS[i+1]}\" = = ] && i=$((i + 1)); i=$((i + 1)) ;;\n"
    "        -*) ;;\n"
    "        *) if [ -z \"$group\" ]; then group=${COMP_WORDS[i]}\n"
    "           elif [ -z \"$name\" ]; then name=${COMP_WORDS[i]}; fi ;;\n"
    "        esac\n"
    "    done\n"
    "    COMPREPLY=()\n"
    "    case \"$group $name $prev\" in\n"
    "    *' --config') mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n";

static const char middle[] = "    esac\n"
                             "    if [ -n \"$words\" ]; then\n"
                             "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
                             "        return\n"
                             "    fi\n"
                             "    case \"$group $name\" in\n";

static const char tail[] = "    esac\n"
                           "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
                           "}\n"
                           "complete -F _posward posward\n";

static void put_words(const char *choices, FILE *out)
{
    for (; *choices != '\0'; choices++)
        fputc(*choices == '|' ? ' ' : *choices, out);
}

static bool has_capital(const char *text)
{
    return strpbrk(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != NULL;
}

/* After an option: its values when they are known, files, or nothing, so that no option is offered. */
static void put_value_case(const char *group, const char *name, const struct cli_option *option, FILE *out)
{
    if (option->value == NULL || option->value[0] == '[')
        return; /* no value, or one that may be left out */
    fprintf(out, "    '%s %s --%s') ", group, name, option->name);
    if (!has_capital(option->value)) {
        fputs("words='", out);
        put_words(option->value, out);
        fputs("' ;;\n", out);
    } else if (strstr(option->value, "FILE") != NULL || strstr(option->value, "DIR") != NULL) {
        fputs("mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n", out);
    } else {
        fputs("return ;;\n", out);
    }
}

static void option_values(void *context, const struct cli_option *option)
{
    const struct script *const s = context;
    put_value_case(s->command->group, s->command->name, option, s->out);
}

static void command_values(void *context, const struct cli_command *command)
{
    struct script s = *(const struct script *)context;
    s.command = command;
    cli_each_option(command, option_values, &s);
}

static void group_values(void *context, const struct cli_command *first)
{
    const struct script *const s = context;
    cli_each_command(s->cli, first->group, command_values, context);
}

static void put_option(void *context, const struct cli_option *option)
{
    fprintf(((const struct script *)context)->out, "--%s ", option->name);
}

static void put_globals(const struct script *s)
{
    for (const struct cli_option *o = cli_global_options; o->name != NULL; o++)
        fprintf(s->out, "%s--%s", o == cli_global_options ? "" : " ", o->name);
}

static void command_words(void *context, const struct cli_command *command)
{
    const struct script *const s = context;
    fprintf(s->out, "    '%s %s') words='", command->group, command->name);
    cli_each_option(command, put_option, context);
    put_globals(s);
    fputs("' ;;\n", s->out);
}

static void put_command_name(void *context, const struct cli_command *command)
{
    fprintf(((const struct script *)context)->out, "%s ", command->name);
}

static void put_group_name(void *context, const struct cli_command *first)
{
    fprintf(((const struct script *)context)->out, "%s ", first->group);
}

static void group_words(void *context, const struct cli_command *first)
{
    const struct script *const s = context;
    fprintf(s->out, "    '%s ' | 'help %s') words='", first->group, first->group);
    cli_each_command(s->cli, first->group, put_command_name, context);
    put_globals(s);
    fputs("' ;;\n", s->out);
    cli_each_command(s->cli, first->group, command_words, context);
}

static void built_in_words(struct script *s)
{
    fputs("    ' ') words='", s->out);
    cli_each_command(s->cli, NULL, put_group_name, s);
    for (const char *const *word = cli_built_in; *word != NULL; word++)
        fprintf(s->out, "%s ", *word);
    put_globals(s);
    fputs(" --help-config --version' ;;\n    'help ') words='", s->out);
    cli_each_command(s->cli, NULL, put_group_name, s);
    fputs("' ;;\n    'completion ') words='bash' ;;\n    'call ') words='", s->out);
    for (const struct cli_service *service = s->cli->services; service->service != NULL; service++)
        for (unsigned i = 0; i < service->service->n_methods; i++)
            fprintf(s->out, "%s/%s ", service->service->name, service->service->methods[i].name);
    fputs("' ;;\n    'call '*) words='", s->out);
    for (const struct cli_option *o = cli_call_options; o->name != NULL; o++)
        put_option(s, o);
    put_globals(s);
    fputs("' ;;\n", s->out);
}

int cli_run_completion(const struct cli *cli, int argc, char **argv)
{
    if (cli->help || argc != 1 || strcmp(argv[0], "bash") != 0) {
        fputs("Usage: posward completion bash\n"
              "Print the completion script for the shell; load it with: source <(posward completion bash)\n",
              cli->help ? stdout : stderr);
        return cli->help ? EXIT_SUCCESS : CLI_EXIT_USAGE;
    }
    struct script s = {.cli = cli, .out = stdout};
    fputs(head, stdout);
    for (const struct cli_option *o = cli_call_options; o->name != NULL; o++) {
        fprintf(stdout, "    'call '*' --%s') words='", o->name);
        put_words(o->value, stdout);
        fputs("' ;;\n", stdout);
    }
    cli_each_command(cli, NULL, group_values, &s);
    fputs(middle, stdout);
    built_in_words(&s);
    cli_each_command(cli, NULL, group_words, &s);
    fputs(tail, stdout);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

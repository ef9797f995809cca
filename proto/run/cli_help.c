#include "run/cli_internal.h"

#include <string.h>

#define NAME_WIDTH   25
#define MAX_NESTING  3
#define OPTION_BYTES 160

const ProtobufCMethodDescriptor *cli_method_of(const ProtobufCServiceDescriptor *service, const char *name)
{
    return protobuf_c_service_descriptor_get_method_by_name(service, name);
}

static void print_entry(const char *name, const char *help, FILE *out)
{
    fprintf(out, "  %-*s  %s\n", NAME_WIDTH, name, help != NULL ? help : "");
}

static void print_commands(const struct cli *cli, const char *group, FILE *out)
{
    for (size_t i = 0; i < cli->table_count; i++) {
        for (const struct cli_command *c = cli->tables[i]; c->group != NULL; c++) {
            if (strcmp(group, c->group) != 0)
                continue;
            char name[OPTION_BYTES];
            snprintf(name, sizeof name, "%s %s", c->group, c->name);
            print_entry(name, c->help, out);
        }
    }
}

/* Several folders may add to one group: it stands together, where its first command does. */
static void print_groups(const struct cli *cli, FILE *out)
{
    for (size_t i = 0; i < cli->table_count; i++) {
        for (const struct cli_command *c = cli->tables[i]; c->group != NULL; c++) {
            if (cli_find_command(cli, c->group, NULL) == c)
                print_commands(cli, c->group, out);
        }
    }
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
    print_groups(cli, out);
    print_entry("status", "Ask every service for its health and counters.", out);
    print_entry("call SERVICE/METHOD", "Call any RPC with a request in JSON.", out);
    print_entry("help [GROUP [COMMAND]]", "Explain.", out);
    print_global_options(out);
    fputs("  --help-config  list the keys of the client configuration\n"
          "  --version      print the version\n",
          out);
}

void cli_print_group(const struct cli *cli, const char *group, FILE *out)
{
    fprintf(out, "Usage: posward %s COMMAND [--OPTION VALUE ...]\n\n", group);
    print_commands(cli, group, out);
    print_global_options(out);
}

static void print_choices(const ProtobufCEnumDescriptor *descriptor, FILE *out)
{
    const char *between = "";
    for (unsigned i = 0; i < descriptor->n_values; i++) {
        char name[CLI_ENUM_BYTES];
        cli_enum_short(descriptor, &descriptor->values[i], name);
        if (strcmp(name, "unspecified") == 0)
            continue;
        fprintf(out, "%s%s", between, name);
        between = "|";
    }
}

static const char *type_name(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_BOOL:
        return "[true|false]";
    case PROTOBUF_C_TYPE_STRING:
        return "TEXT";
    case PROTOBUF_C_TYPE_BYTES:
        return "HEX|@FILE";
    case PROTOBUF_C_TYPE_MESSAGE:
        return "JSON";
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return "NUMBER";
    }
    return "VALUE";
}

static void option_name(const char *prefix, const char *field, char out_name[OPTION_BYTES])
{
    snprintf(out_name, OPTION_BYTES, "%s%s", prefix, field);
    for (char *c = out_name; *c != '\0'; c++)
        *c = *c == '_' ? '-' : *c;
}

static void print_options(const ProtobufCMessageDescriptor *descriptor, const char *prefix, unsigned level,
                          FILE *out)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *const field = &descriptor->fields[i];
        const bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
        char name[OPTION_BYTES];
        option_name(prefix, field->name, name);
        fprintf(out, "  --%s ", name);
        if (field->type == PROTOBUF_C_TYPE_ENUM)
            print_choices(field->descriptor, out);
        else
            fputs(type_name(field->type), out);
        fputs(repeated ? "  (several times)\n" : "\n", out);
        if (field->type != PROTOBUF_C_TYPE_MESSAGE || repeated || level == MAX_NESTING)
            continue;
        char inner[OPTION_BYTES + 1];
        snprintf(inner, sizeof inner, "%s.", name);
        print_options(field->descriptor, inner, level + 1, out);
    }
}

void cli_print_command(const struct cli_command *command, FILE *out)
{
    const ProtobufCMethodDescriptor *const method =
        command->service != NULL ? cli_method_of(command->service, command->method) : NULL;
    char positional[OPTION_BYTES] = "";
    if (command->positional != NULL)
        option_name("", command->positional, positional);
    fprintf(out, "Usage: posward %s %s%s%s%s%s\n%s\n", command->group, command->name,
            positional[0] != '\0' ? " [" : "", positional, positional[0] != '\0' ? "]" : "",
            method != NULL && method->input->n_fields > 0 ? " [--OPTION VALUE ...]" : "",
            command->help != NULL ? command->help : "");
    if (method != NULL && method->input->n_fields > 0) {
        fputs("\nOptions:\n", out);
        print_options(method->input, "", 0, out);
    }
    print_global_options(out);
}

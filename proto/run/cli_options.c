#include "run/cli_internal.h"

#include <string.h>

#define MAX_NESTING 3

const char *const cli_built_in[] = {"status", "call", "help", "completion", "man", NULL};

const struct cli_option cli_global_options[] = {
    {"config", "FILE",
     "Client configuration; else $POSWARD_CONFIG, else /etc/posward/posward.yaml, else the default ports on "
     "127.0.0.1 without TLS."},
    {"json", NULL, "Print JSON."},
    {"help", NULL, "Explain the command."},
    {0},
};

const struct cli_option cli_call_options[] = {{"endpoint", CLI_ENDPOINT_WORDS, "Where to call it."}, {0}};

struct walk {
    cli_option_fn each;
    void *context;
};

static void put_choices(const ProtobufCEnumDescriptor *descriptor, char out_value[CLI_VALUE_BYTES])
{
    size_t len = 0;
    out_value[0] = '\0';
    for (unsigned i = 0; i < descriptor->n_values; i++) {
        char name[CLI_ENUM_BYTES];
        cli_enum_short(descriptor, &descriptor->values[i], name);
        if (strcmp(name, "unspecified") == 0 || len + strlen(name) + 2 > CLI_VALUE_BYTES)
            continue;
        len += (size_t)snprintf(out_value + len, CLI_VALUE_BYTES - len, "%s%s", len > 0 ? "|" : "", name);
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

void cli_option_name(const char *prefix, const char *field, char out_name[CLI_OPTION_BYTES])
{
    snprintf(out_name, CLI_OPTION_BYTES, "%s%s", prefix, field);
    for (char *c = out_name; *c != '\0'; c++)
        *c = *c == '_' ? '-' : *c;
}

static void walk_fields(const struct walk *walk, const ProtobufCMessageDescriptor *descriptor,
                        const char *prefix, unsigned level)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *const field = &descriptor->fields[i];
        const bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
        char name[CLI_OPTION_BYTES], value[CLI_VALUE_BYTES];
        cli_option_name(prefix, field->name, name);
        if (field->type == PROTOBUF_C_TYPE_ENUM)
            put_choices(field->descriptor, value);
        else
            snprintf(value, sizeof value, "%s", type_name(field->type));
        const struct cli_option option = {name, value, NULL, .several = repeated};
        walk->each(walk->context, &option);
        if (field->type != PROTOBUF_C_TYPE_MESSAGE || repeated || level == MAX_NESTING)
            continue;
        char inner[CLI_OPTION_BYTES + 1];
        snprintf(inner, sizeof inner, "%s.", name);
        walk_fields(walk, field->descriptor, inner, level + 1);
    }
}

void cli_each_option(const struct cli_command *command, cli_option_fn each, void *context)
{
    const ProtobufCMethodDescriptor *const method =
        command->service != NULL ? cli_method_of(command->service, command->method) : NULL;
    if (method != NULL)
        walk_fields(&(struct walk){each, context}, method->input, "", 0);
    for (const struct cli_option *o = command->options; o != NULL && o->name != NULL; o++)
        each(context, o);
}

void cli_each_command(const struct cli *cli, const char *group, cli_command_fn each, void *context)
{
    for (size_t i = 0; i < cli->table_count; i++)
        for (const struct cli_command *c = cli->tables[i]; c->group != NULL; c++)
            if (group != NULL ? strcmp(group, c->group) == 0 : cli_find_command(cli, c->group, NULL) == c)
                each(context, c);
}

#include "rpc/status.h"
#include "run/cli_internal.h"

#include <stdio.h>
#include <string.h>

const struct cli_command *cli_find_command(const struct cli *cli, const char *group, const char *name)
{
    for (size_t i = 0; i < cli->table_count; i++) {
        for (const struct cli_command *c = cli->tables[i]; c->group != NULL; c++) {
            if (strcmp(c->group, group) == 0 && (name == NULL || strcmp(c->name, name) == 0))
                return c;
        }
    }
    return NULL;
}

const ProtobufCMethodDescriptor *cli_method_of(const ProtobufCServiceDescriptor *service, const char *name)
{
    return protobuf_c_service_descriptor_get_method_by_name(service, name);
}

void cli_complain(const char *command, const struct err *e)
{
    fprintf(stderr, "posward %s: %s: ", command, rpc_status_name(rpc_status_of(e->code)));
    for (const unsigned char *c = (const unsigned char *)e->note; *c != '\0'; c++)
        fputc(*c < 0x20 || *c >= 0x7F ? '?' : *c, stderr);
    fputc('\n', stderr);
}

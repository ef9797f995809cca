/* The issuing unit's commands of the `posward` CLI: card issue, card show. */
#ifndef POSWARD_ISSUER_CLI_H
#define POSWARD_ISSUER_CLI_H

#include "run/cli.h"

extern const cli_table issuer_commands;

#endif

/* POSP's commands of the `posward` program. */
#ifndef POSWARD_POSP_CLI_H
#define POSWARD_POSP_CLI_H

#include "run/cli.h"

extern const cli_table posp_commands;

#endif

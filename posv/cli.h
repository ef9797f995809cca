/* The registry's commands of the `posward` CLI: device register, replace-card, suspend, resume, ... */
#ifndef POSWARD_POSV_CLI_H
#define POSWARD_POSV_CLI_H

#include "run/cli.h"

extern const cli_table posv_commands;

#endif

/* The HSM service's commands of `posward`: key ceremonies on the HSM host, and every RPC. */
#ifndef POSWARD_HSM_SERVICE_CLI_H
#define POSWARD_HSM_SERVICE_CLI_H

#include "run/cli.h"

extern cli_table hsm_commands;

#endif

/* `posward posp reseal`: runs Operations.ResealStore, with a bar on standard error. */
#ifndef POSWARD_POSP_RESEAL_CLI_H
#define POSWARD_POSP_RESEAL_CLI_H

#include "run/cli.h"

extern const struct cli_option reseal_cli_options[];
enum err_code reseal_cli(struct cli *cli, int argc, char **argv, struct err *e);

#endif

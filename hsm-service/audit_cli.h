/* `posward audit verify` and `posward audit show`; as struct cli_command's run. */
#ifndef POSWARD_HSM_SERVICE_AUDIT_CLI_H
#define POSWARD_HSM_SERVICE_AUDIT_CLI_H

#include "run/cli.h"

enum err_code audit_cli_verify(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;
enum err_code audit_cli_show(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;

#endif

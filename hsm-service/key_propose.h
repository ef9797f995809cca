/* `posward key create | rotate | import | activate | deactivate | destroy | policy-change` and what shows
 * proposals: key management by gRPC, under dual control; as struct cli_command's run. */
#ifndef POSWARD_HSM_SERVICE_KEY_PROPOSE_H
#define POSWARD_HSM_SERVICE_KEY_PROPOSE_H

#include "run/cli.h"

enum err_code key_propose_create(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;
enum err_code key_propose_rotate(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;
enum err_code key_propose_import(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;
enum err_code key_propose_activate(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;
enum err_code key_propose_deactivate(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;
enum err_code key_propose_destroy(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;
enum err_code key_propose_policy(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;
enum err_code key_proposals(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;
enum err_code key_approve(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;
enum err_code key_reject(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;
enum err_code key_show(struct cli *cli, int argc, char **argv, struct err *e) MUST_CHECK;

/* For help, completion and the manual page. */
extern const struct cli_option key_create_options[], key_rotate_options[], key_import_options[],
    key_activate_options[], key_deactivate_options[], key_destroy_options[], key_policy_options[],
    key_proposals_options[], key_approve_options[], key_reject_options[], key_show_options[];

#endif

/* What the files of the command line engine share. */
#ifndef POSWARD_RUN_CLI_INTERNAL_H
#define POSWARD_RUN_CLI_INTERNAL_H

#include "base/conf.h"
#include "run/cli.h"

#include <jansson.h>

#define CLI_EXIT_USAGE 2
#define CLI_MAX_INPUT  1048576 /* bytes of an @FILE or of JSON text */

enum cli_endpoint { CLI_HSM, CLI_HSM_CONTROL, CLI_POSP, CLI_POSV, CLI_BANK, CLI_ENDPOINT_COUNT };

struct cli_config {
    char *endpoints[CLI_ENDPOINT_COUNT]; /* addresses; "": not in use */
    char *tls_ca, *tls_cert, *tls_key, *tls_server_name;
    bool insecure;
    int64_t timeout_ms;
};

struct cli {
    const struct cli_command *const *tables;
    size_t table_count;
    const struct cli_service *services;
    struct cli_config config;
    struct rpc_channel *channels[CLI_ENDPOINT_COUNT];
    bool json, help;
};

/* One line on standard error: "posward device register: ALREADY_EXISTS: note". */
void cli_complain(const char *command, const struct err *e);

/* The first command of these names; `name` NULL: the first of the group. NULL: none. */
const struct cli_command *cli_find_command(const struct cli *cli, const char *group, const char *name);

/* cli_config.c */
extern const struct conf_row cli_config_rows[];
extern const char *const cli_endpoint_names[CLI_ENDPOINT_COUNT];
#define CLI_ENDPOINT_WORDS "hsm|hsm_control|posp|posv|bank" /* the same, as a choice */
#define CLI_ENDPOINT_WIDTH 11                               /* of the longest */
/* From `path`, $POSWARD_CONFIG, /etc/posward/posward.yaml if it is there; else loopback in plain text. */
enum err_code cli_config_load(const char *path, struct cli_config *out_config, struct err *e) MUST_CHECK;
/* Close channels and drop the configuration. */
void cli_drop(struct cli *cli);

/* cli_options.c: the tables, walked for help, completion and the manual page. */
#define CLI_OPTION_BYTES 160
#define CLI_VALUE_BYTES  1024
extern const char *const cli_built_in[];                                 /* ends with NULL */
extern const struct cli_option cli_global_options[], cli_call_options[]; /* end with one without a name */
typedef void (*cli_option_fn)(void *context, const struct cli_option *option);
typedef void (*cli_command_fn)(void *context, const struct cli_command *command);
/* The fields of the request, nested ones behind theirs, then the command's own options. */
void cli_each_option(const struct cli_command *command, cli_option_fn each, void *context);
/* The commands of `group`; NULL: the first command of each group. Several folders may add to one group: it
 * stands where its first command does. */
void cli_each_command(const struct cli *cli, const char *group, cli_command_fn each, void *context);
/* "terminal_id" -> "terminal-id", behind `prefix`. */
void cli_option_name(const char *prefix, const char *field, char out_name[CLI_OPTION_BYTES]);

/* cli_complete.c, cli_man.c: exit statuses. */
int cli_run_completion(const struct cli *cli, int argc, char **argv);
int cli_run_man(const struct cli *cli);

/* cli_help.c */
void cli_print_overview(const struct cli *cli, FILE *out);
void cli_print_group(const struct cli *cli, const char *group, FILE *out);
void cli_print_command(const struct cli_command *command, FILE *out);
const ProtobufCMethodDescriptor *cli_method_of(const ProtobufCServiceDescriptor *service, const char *name);

/* cli_enum.c: "SUITE_AES_128" <-> "aes-128": without what all names of the enum begin with. */
#define CLI_ENUM_BYTES 96
void cli_enum_short(const ProtobufCEnumDescriptor *descriptor, const ProtobufCEnumValue *value,
                    char out_name[CLI_ENUM_BYTES]);
/* By short or full name; NULL: none. */
const ProtobufCEnumValue *cli_enum_value(const ProtobufCEnumDescriptor *descriptor, const char *name);

/* cli_request.c */
/* The request for the arguments in `argv`, which ends with NULL. Freed with protobuf_c_message_free_unpacked.
 */
enum err_code cli_request_read(const ProtobufCMessageDescriptor *descriptor, const char *positional,
                               char **argv, ProtobufCMessage **out_request, struct err *e) MUST_CHECK;
/* A file, at most CLI_MAX_INPUT bytes; "-" is standard input. Freed with free; a NUL stands behind it. */
enum err_code cli_read_file(const char *path, char **out_bytes, size_t *out_len, struct err *e) MUST_CHECK;

/* cli_print.c */
/* Lines "name: value" and a table for each repeated message; `indent` in front of each line. */
enum err_code cli_print_text(const ProtobufCMessage *message, const char *indent, FILE *out,
                             struct err *e) MUST_CHECK;
enum err_code cli_print_json(const ProtobufCMessage *message, bool one_line, FILE *out,
                             struct err *e) MUST_CHECK;

/* cli_call.c: exit statuses. */
int cli_run_rpc(struct cli *cli, const struct cli_command *command, int argc, char **argv);
int cli_run_call(struct cli *cli, int argc, char **argv);

/* cli_status.c */
int cli_run_status(struct cli *cli, int argc, char **argv);

#endif

/* The engine of the `posward` command: groups of commands from tables, help, tables and JSON by descriptor.
 *
 * `posward GROUP COMMAND [--field VALUE ...] [--json] [--config FILE]`. A command that is only an RPC needs
 * no code: its request's fields are its options (terminal_id -> --terminal-id; bytes in hex or @FILE; enums
 * by their short name, "tdes"; nested: --device.terminal-id, or JSON; repeated: several times), its response
 * is printed as a table, or as JSON with --json; a stream message by message. Built in: `posward call
 * SERVICE/METHOD [JSON]` reaches every RPC of the listed services without a row; `posward status` asks every
 * endpoint for its health; `posward help`; `posward completion bash` and `posward man` print a completion
 * script and a manual page, made from the same tables. Exit status: 0 done, 1 refused or failed (the note on
 * standard error), 2 usage. */
#ifndef POSWARD_RUN_CLI_H
#define POSWARD_RUN_CLI_H

#include "rpc/client.h"

#include <stdbool.h>

struct cli; /* one invocation: configuration, channels, output mode */

/* What help, completion and the manual page say of an option. */
struct cli_option {
    const char *name;  /* without the dashes */
    const char *value; /* "tdes|aes-128" in lower case: these; "FILE", "TEXT": anything; NULL: none */
    const char *help;  /* one sentence; NULL: none */
    bool several;      /* may be given several times */
};

struct cli_command {
    const char *group, *name; /* "device", "register" */
    const char *help;         /* one sentence */
    /* An RPC: which endpoint of the client configuration ("hsm" is its data plane, "hsm_control" its control
     * plane, "posp", "posv", "bank") and which method. */
    const char *endpoint;
    const ProtobufCServiceDescriptor *service;
    const char *method;
    const char *positional; /* the request field that may be given without its option name; NULL: none */
    /* Or own code: gets the arguments after the command's name; prints its own help on --help. argv[-1] is
     * the name and argv[argc] is NULL, so getopt_long(argc + 1, argv - 1, ...) works. --json and --config are
     * taken out. */
    enum err_code (*run)(struct cli *cli, int argc, char **argv, struct err *e);
    const struct cli_option *options; /* of own code; ends with an option without a name */
};

/* Ends with a row without a group. */
typedef const struct cli_command cli_table[];

/* What `posward call` and `posward status` can reach. A list ends with a row without a service. */
struct cli_service {
    const ProtobufCServiceDescriptor *service;
    const char *endpoint;
    /* `posward status` shows the answer of GetStatus, and of this further method; NULL: none. */
    const char *report_method;
    const char *report_request; /* its request as JSON */
};

/* For own code. */

/* The channel to an endpoint, made at first use; NULL: failed, `e` says why. */
struct rpc_channel *cli_channel(struct cli *cli, const char *endpoint, struct err *e);
bool cli_json(const struct cli *cli);
/* The client configuration's timeout for one call. */
int64_t cli_timeout_ms(const struct cli *cli);
/* Print a response the way the engine would. */
enum err_code cli_print(struct cli *cli, const ProtobufCMessage *message, struct err *e) MUST_CHECK;

int cli_main(const struct cli_command *const *tables, size_t table_count, const struct cli_service *services,
             int argc, char **argv);

#endif

/* A real daemon for a test: started with a configuration in a folder of its own, spoken to over loopback.
 * Failures fail the test that calls. One thread. */
#ifndef POSWARD_TESTS_SUPPORT_DAEMON_H
#define POSWARD_TESTS_SUPPORT_DAEMON_H

#include "rpc/client.h"

#include <jansson.h>
#include <sys/types.h>

#define DAEMON_FOLDER     "@FOLDER@"
#define DAEMON_PATH_BYTES 128

struct daemon {
    char program[32]; /* "posward-posv" */
    char folder[64];  /* config.yaml, log and what the daemon keeps */
    pid_t pid;        /* 0: not running */
    int port, metrics_port;
    struct rpc_channel *channel; /* to `port`; NULL while not running */
};

/* Make the folder. */
void daemon_init(struct daemon *d, const char *program);
/* Start with `config` (YAML), in which "@FOLDER@" stands for the folder, and wait until it serves. Again
 * after a stop or a kill: with the same folder. */
void daemon_start(struct daemon *d, const char *config);
/* Start a program that is no gRPC service: `arguments` ends with NULL, `ready` is what its log says before "
 * port=". */
void daemon_start_plain(struct daemon *d, const char *const *arguments, const char *ready);
/* SIGTERM; returns the exit status. *out_ms (may be NULL): how long it took. */
int daemon_stop(struct daemon *d, int64_t *out_ms);
/* SIGKILL. */
void daemon_kill(struct daemon *d);
/* `name` in the folder. */
void daemon_path(const struct daemon *d, const char *name, char out_path[DAEMON_PATH_BYTES]);
/* Stop when it runs, remove the folder. */
void daemon_drop(struct daemon *d);

/* One call with a request as JSON; ERR_OK or the failure's class. *out_response: NULL or a new reference, may
 * be NULL. */
enum err_code daemon_call(const struct daemon *d, const ProtobufCServiceDescriptor *service,
                          const char *method, const char *request_json, json_t **out_response, struct err *e);
/* The body of http://127.0.0.1:`metrics_port`/metrics; freed with free. */
char *daemon_metrics(const struct daemon *d);

#endif

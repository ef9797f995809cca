#include "hsm-service/front/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STRINGS_MOST 32 /* variables, or options, of a keeper */

/* Strings of an argv or environment; those made here are freed at the end. */
struct strings {
    char *items[STRINGS_MOST + 1];
    size_t count;
};

static void strings_drop(struct strings *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->items[i]);
}

static enum err_code add(struct strings *s, const char *name, const char *value, struct err *e)
{
    if (s->count >= STRINGS_MOST)
        return err_set(e, ERR_LIMIT, "a keeper gets at most %d variables and options", STRINGS_MOST);
    if (asprintf(&s->items[s->count], "%s=%s", name, value) < 0) {
        s->items[s->count] = NULL;
        return err_set(e, ERR_LIMIT, "no memory to start a keeper");
    }
    s->count++;
    return ERR_OK;
}

static bool has_name(const struct strings *s, const char *name)
{
    const size_t len = strlen(name);
    for (size_t i = 0; i < s->count; i++)
        if (strncmp(s->items[i], name, len) == 0 && s->items[i][len] == '=')
            return true;
    return false;
}

/* The token's own variables, then those that keepers.environment names, as they are here. */
static enum err_code make_environment(const struct hsm_config *config, const struct hsm_token *token,
                                      struct strings *s, struct err *e)
{
    char names[1024];
    const int len =
        snprintf(names, sizeof names, "%s", config->keeper_environment ? config->keeper_environment : "");
    if (len < 0 || (size_t)len >= sizeof names)
        return err_set(e, ERR_INPUT, "keepers.environment is longer than %zu characters", sizeof names - 1);
    for (size_t i = 0; token->environment != NULL && i < token->environment->count; i++) {
        char name[256];
        const char *const text = ((const struct hsm_variable *)token->environment->items)[i].text;
        const char *const equals = strchr(text, '=');
        if (equals == NULL || (size_t)(equals - text) >= sizeof name)
            return err_set(e, ERR_INPUT, "token.replicas: an environment is not NAME=VALUE");
        snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
        TRY(add(s, name, equals + 1, e));
    }
    char *rest = NULL;
    for (char *name = strtok_r(names, " ", &rest); name != NULL; name = strtok_r(NULL, " ", &rest)) {
        const char *const value = getenv(name);
        if (value != NULL && !has_name(s, name))
            TRY(add(s, name, value, e));
    }
    return ERR_OK;
}

static enum err_code make_arguments(const struct front *f, const struct hsm_token *token, struct strings *s,
                                    struct err *e)
{
    const struct hsm_config *const c = f->config;
    char sessions[24], mak_bytes[24], form1_until[24];
    int64_t form1_until_ms = 0;
    TRY(hsm_config_form1_until(c, &form1_until_ms, e));
    snprintf(form1_until, sizeof form1_until, "%lld", (long long)form1_until_ms);
    snprintf(sessions, sizeof sessions, "%lld", (long long)c->keeper_sessions);
    snprintf(mak_bytes, sizeof mak_bytes, "%lld", (long long)c->tdes_mak_bytes_min);
    const struct {
        const char *name, *value;
    } options[] = {
        {"--module", token->module},
        {"--label", token->label},
        {"--serial", token->serial},
        {"--pin-file", token->pin_file},
        {"--init-string", token->init_string},
        {"--lock-file", token->lock_file},
        {"--token-directory", token->directory},
        {"--backup-dir", token->backup_dir},
        {"--sessions", sessions},
        {"--exposure", atomic_load(&f->in_token) ? "in_token" : "any"},
        {"--flows-missing", c->flows_missing},
        {"--tdes-mak-bytes-min", mak_bytes},
        {"--blob-form1-until-ms", form1_until},
        {"--front-version", POSWARD_VERSION},
        {"--log-level", c->service.log_level},
        {"--log-format", c->service.log_format},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (options[i].value != NULL)
            TRY(add(s, options[i].name, options[i].value, e));
    return ERR_OK;
}

/* Only the socket and standard error pass on; signals that end the service do not reach a keeper, which ends
 * when its socket closes, after the calls that it has. */
static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int fd)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGHUP);
    int failed = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDWR, 0);
    failed = failed ? failed : posix_spawn_file_actions_adddup2(actions, 0, 1);
    failed = failed ? failed : posix_spawn_file_actions_adddup2(actions, fd, IPC_KEEPER_FD);
    failed = failed ? failed : posix_spawn_file_actions_addclosefrom_np(actions, IPC_KEEPER_FD + 1);
    failed = failed ? failed : posix_spawnattr_setsigmask(attributes, &blocked);
    return failed ? failed : posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK);
}

/* Beside this program, as both are installed. */
static enum err_code find_program(char out_path[PATH_MAX], struct err *e)
{
    static const char name[] = "posward-keeper";
    const ssize_t len = readlink("/proc/self/exe", out_path, PATH_MAX - sizeof name);
    char *const slash = len > 0 ? memrchr(out_path, '/', (size_t)len) : NULL;
    if (slash == NULL)
        return err_errno(e, "find the folder of this program");
    memcpy(slash + 1, name, sizeof name);
    return ERR_OK;
}

static enum err_code spawn(char *const *argv, char *const *environment, int fd, pid_t *out_pid, struct err *e)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char path[PATH_MAX];
    TRY(find_program(path, e));
    if (posix_spawn_file_actions_init(&actions) != 0)
        return err_set(e, ERR_LIMIT, "no memory to start a keeper");
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return err_set(e, ERR_LIMIT, "no memory to start a keeper");
    }
    int failed = prepare(&actions, &attributes, fd);
    if (failed == 0)
        failed = posix_spawn(out_pid, path, &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failed == 0 ? ERR_OK
                       : err_native(e, ERR_IO, failed, "cannot start %.150s: %s", path, strerror(failed));
}

enum err_code front_spawn(const struct front *f, const struct hsm_token *token, int fd, pid_t *out_pid,
                          struct err *e)
{
    AUTO(strings) environment = {0}, options = {0};
    TRY(make_environment(f->config, token, &environment, e));
    TRY(make_arguments(f, token, &options, e));
    char program[] = "posward-keeper";
    char *argv[STRINGS_MOST + 2] = {program};
    memcpy(argv + 1, options.items, options.count * sizeof argv[0]);
    return spawn(argv, environment.items, fd, out_pid, e);
}

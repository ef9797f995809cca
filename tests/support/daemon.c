#include "tests/support/daemon.h"

#include "base/clock.h"
#include "rpc/json.h"
#include "tests/support/suite.h"

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS       10000
#define ARGUMENTS_MOST 15

extern char **environ;

void daemon_init(struct daemon *d, const char *program)
{
    *d = (struct daemon){0};
    snprintf(d->program, sizeof d->program, "%s", program);
    suite_scratch_name("daemon", d->folder, sizeof d->folder);
    ck_assert_ptr_nonnull(mkdtemp(d->folder));
}

void daemon_path(const struct daemon *d, const char *name, char out_path[DAEMON_PATH_BYTES])
{
    snprintf(out_path, DAEMON_PATH_BYTES, "%s/%s", d->folder, name);
}

static void spawn(struct daemon *d, const char *const *arguments, const char *log_path)
{
    const char *build = getenv("POSWARD_BUILD");
    ck_assert_msg(build != NULL, "POSWARD_BUILD is not set: run this test with ctest");
    char program[512];
    const char *argv[ARGUMENTS_MOST + 2] = {program};
    snprintf(program, sizeof program, "%s/bin/%s", build, d->program);
    for (size_t i = 0; arguments[i] != NULL; i++) {
        ck_assert_uint_lt(i, ARGUMENTS_MOST);
        argv[i + 1] = arguments[i];
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_msg(posix_spawn(&d->pid, program, &actions, NULL, (char *const *)argv, environ) == 0,
                  "cannot start %s", program);
    posix_spawn_file_actions_destroy(&actions);
}

static bool read_ports(struct daemon *d, const char *log_path, const char *ready)
{
    char text[8192];
    FILE *log = fopen(log_path, "r");
    if (log == NULL)
        return false;
    text[fread(text, 1, sizeof text - 1, log)] = '\0';
    fclose(log);
    ck_assert_msg(waitpid(d->pid, NULL, WNOHANG) == 0, "%s ended at start: %s", d->program, text);
    const char *line = strstr(text, ready);
    if (line == NULL || strchr(line, '\n') == NULL)
        return false;
    const char *port = strstr(line, " port="), *metrics = strstr(line, " metrics_port=");
    ck_assert_ptr_nonnull(port);
    d->port = atoi(port + strlen(" port="));
    d->metrics_port = metrics != NULL ? atoi(metrics + strlen(" metrics_port=")) : 0;
    return true;
}

static void write_config(const struct daemon *d, const char *config, FILE *out)
{
    const char *place;
    while ((place = strstr(config, DAEMON_FOLDER)) != NULL) {
        fwrite(config, 1, (size_t)(place - config), out);
        fputs(d->folder, out);
        config = place + strlen(DAEMON_FOLDER);
    }
    fputs(config, out);
}

void daemon_start_plain(struct daemon *d, const char *const *arguments, const char *ready)
{
    char log_path[DAEMON_PATH_BYTES];
    daemon_path(d, "log", log_path);
    spawn(d, arguments, log_path);
    const int64_t end_ms = clock_monotonic_ms() + START_MS;
    while (!read_ports(d, log_path, ready)) {
        ck_assert_msg(clock_monotonic_ms() < end_ms, "%s does not serve", d->program);
        clock_sleep_ms(10);
    }
}

void daemon_start(struct daemon *d, const char *config)
{
    char config_path[DAEMON_PATH_BYTES], target[32];
    daemon_path(d, "config.yaml", config_path);
    FILE *file = fopen(config_path, "w");
    ck_assert_ptr_nonnull(file);
    write_config(d, config, file);
    fclose(file);
    daemon_start_plain(d, (const char *const[]){"--config", config_path, NULL}, ": serving ");
    snprintf(target, sizeof target, "127.0.0.1:%d", d->port);
    const struct rpc_channel_options options = {.target = target, .tls = {.insecure = true}};
    struct err e = {0};
    ck_assert_msg(rpc_channel_new(&options, &d->channel, &e) == ERR_OK, "%s", e.note);
}

static int end(struct daemon *d, int signal_number)
{
    int status = 0;
    kill(d->pid, signal_number);
    ck_assert_int_eq(waitpid(d->pid, &status, 0), d->pid);
    d->pid = 0;
    rpc_channel_free(d->channel);
    d->channel = NULL;
    return status;
}

int daemon_stop(struct daemon *d, int64_t *out_ms)
{
    const int64_t start_ms = clock_monotonic_ms();
    const int status = end(d, SIGTERM);
    if (out_ms != NULL)
        *out_ms = clock_monotonic_ms() - start_ms;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void daemon_kill(struct daemon *d)
{
    (void)end(d, SIGKILL);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

void daemon_drop(struct daemon *d)
{
    if (d->pid != 0)
        (void)daemon_stop(d, NULL);
    nftw(d->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static enum err_code call_with(const struct daemon *d, const ProtobufCServiceDescriptor *service,
                               const char *method, const json_t *json, json_t **out_response, struct err *e)
{
    const ProtobufCMethodDescriptor *descriptor =
        protobuf_c_service_descriptor_get_method_by_name(service, method);
    ck_assert_msg(descriptor != NULL, "no method %s", method);
    ProtobufCMessage *request = NULL, *response = NULL;
    TRY(rpc_json_to_message(json, descriptor->input, &request, e));
    const struct rpc_call_options options = {.timeout_ms = 10000};
    enum err_code code = rpc_unary(d->channel, service, method, request, &options, &response, e);
    protobuf_c_message_free_unpacked(request, NULL);
    if (code == ERR_OK && out_response != NULL)
        code = rpc_json_from_message(response, 1, out_response, e);
    if (response != NULL)
        protobuf_c_message_free_unpacked(response, NULL);
    return code;
}

enum err_code daemon_call(const struct daemon *d, const ProtobufCServiceDescriptor *service,
                          const char *method, const char *request_json, json_t **out_response, struct err *e)
{
    json_error_t error;
    json_t *json = json_loads(request_json, 0, &error);
    ck_assert_msg(json != NULL, "%s: %s", request_json, error.text);
    const enum err_code code = call_with(d, service, method, json, out_response, e);
    json_decref(json);
    return code;
}

char *daemon_metrics(const struct daemon *d)
{
    static const char request[] = "GET /metrics HTTP/1.0\r\n\r\n";
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)d->metrics_port),
                                        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(write(fd, request, sizeof request - 1), sizeof request - 1);
    const size_t capacity = 64 * 1024;
    char *text = malloc(capacity);
    size_t len = 0;
    for (ssize_t got; (got = read(fd, text + len, capacity - 1 - len)) > 0;)
        len += (size_t)got;
    text[len] = '\0';
    close(fd);
    return text;
}

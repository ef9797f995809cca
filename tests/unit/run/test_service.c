/* A real daemon in a child process: options, serving, metrics, readiness, signals, orderly stop. */
#include "base/log.h"
#include "rpc/client.h"
#include "run/service.h"
#include "tests/support/suite.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grpc/health/v1/health.pb-c.h>
#include <poll.h>
#include <posward/business/v1/business.pb-c.h>
#include <posward/hsm/v1/hsm.pb-c.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 15000

struct config {
    struct service_config common;
    char *fail;   /* which hook fails: "start", "serve" or "check" */
    char *second; /* address of the second server, where there is one */
};

static const struct conf_row rows[] = {
    SERVICE_CONFIG_ROWS("127.0.0.1:0", "127.0.0.1:0"),
    {.key = "fail", .type = CONF_STRING, .offset = offsetof(struct config, fail), .fallback = "none"},
    {.key = "second",
     .type = CONF_STRING,
     .offset = offsetof(struct config, second),
     .fallback = "127.0.0.1:0"},
    CONF_END};

static const struct config *live; /* of the child: hooks without a state see it too */

static enum err_code fail_at(const char *hook, struct err *e)
{
    return strcmp(live->fail, hook) == 0 ? err_set(e, ERR_STATE, "told to fail in %s", hook) : ERR_OK;
}

static void get_status(Posward__Business__V1__Business_Service *service,
                       const Posward__Business__V1__GetStatusRequest *request,
                       Posward__Business__V1__GetStatusResponse_Closure closure, void *closure_data)
{
    (void)service;
    (void)request;
    Posward__Business__V1__GetStatusResponse response = POSWARD__BUSINESS__V1__GET_STATUS_RESPONSE__INIT;
    response.authorized = 7;
    closure(&response, closure_data);
}

static void refuse_authorize(Posward__Business__V1__Business_Service *service,
                             const Posward__Business__V1__AuthorizeRequest *request,
                             Posward__Business__V1__AuthorizeResponse_Closure closure, void *closure_data)
{
    (void)service;
    (void)request;
    (void)closure;
    struct err e = {0};
    (void)err_set(&e, ERR_UNSUPPORTED, "not in this test");
    rpc_call_fail(rpc_call_of(closure_data), &e);
}

static void refuse_reverse(Posward__Business__V1__Business_Service *service,
                           const Posward__Business__V1__ReverseRequest *request,
                           Posward__Business__V1__ReverseResponse_Closure closure, void *closure_data)
{
    (void)closure;
    refuse_authorize(service, (const void *)request, NULL, closure_data);
}

static Posward__Business__V1__Business_Service business = {.base = POSWARD__BUSINESS__V1__BUSINESS__BASE_INIT,
                                                           .authorize = refuse_authorize,
                                                           .reverse = refuse_reverse,
                                                           .get_status = get_status};

static enum err_code check(const void *config, struct err *e)
{
    if (live == NULL) /* else a reload, whose configuration goes again */
        live = config;
    return fail_at("check", e);
}

static void answer_empty(void *context, struct rpc_call *call, unsigned method_index, const uint8_t *bytes,
                         size_t len)
{
    (void)context;
    (void)method_index;
    (void)bytes;
    (void)len;
    rpc_call_finish(call, (const uint8_t *)"", 0);
}

/* Two servers: the services of the first and, on the second, one more. */
static const struct service_server two_servers[] = {
    {"first", "listen", "port", offsetof(struct config, common.listen)},
    {"second", "second", "second_port", offsetof(struct config, second)},
    {0},
};
static const struct roles_row two_rows[] = {
    {"/posward.business.v1.Business/Authorize", ROLE_ALL},
    {"/posward.business.v1.Business/Reverse", ROLE_ALL},
    {"/posward.business.v1.Business/GetStatus", ROLE_ALL},
    {"/posward.hsm.v1.Control/GetTokenReport", ROLE_ALL, 1},
    {"/posward.hsm.v1.Control/ListKeys", 0, 1},
    {"/posward.hsm.v1.Control/GetStatus", ROLE_ALL, 1},
    {0},
};
static bool two; /* set before the child starts */

static enum err_code start(const void *config, struct rpc_server *const *servers, void **out_state,
                           struct err *e)
{
    live = config;
    TRY(fail_at("start", e));
    TRY(rpc_server_add(servers[0], (ProtobufCService *)&business, e));
    if (two)
        TRY(rpc_server_add_raw(servers[1], &posward__hsm__v1__control__descriptor, answer_empty, NULL, e));
    *out_state = (void *)(uintptr_t)live;
    return ERR_OK;
}

/* The health that a prober sees at this moment. */
static int health_at(int port)
{
    char target[32];
    snprintf(target, sizeof target, "127.0.0.1:%d", port);
    const struct rpc_channel_options options = {.target = target, .tls.insecure = true};
    const struct rpc_call_options how = {0};
    struct rpc_channel *channel = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_channel_new(&options, &channel, &e), e);
    const Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    ck_assert_ok(
        rpc_unary(channel, &grpc__health__v1__health__descriptor, "Check", &request.base, &how, &answer, &e),
        e);
    const int status = (int)((Grpc__Health__V1__HealthCheckResponse *)answer)->status;
    protobuf_c_message_free_unpacked(answer, NULL);
    rpc_channel_free(channel);
    return status;
}

static enum err_code serve(void *state, struct rpc_server *server, struct err *e)
{
    ck_assert_ptr_eq(state, live);
    if (health_at(rpc_server_port(server)) !=
        GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING)
        return err_set(e, ERR_INTERNAL, "serving before it is said");
    log_event(LOG_INFO, "hook serve", LOG_INT("at", rpc_server_port(server)));
    return fail_at("serve", e);
}

static enum err_code authorise(void *state, const struct rpc_peer *peer, const char *path, struct err *e)
{
    (void)peer;
    if (state != live || strstr(path, "/Authorize") != NULL)
        return err_set(e, ERR_DENIED, "no such role");
    return ERR_OK;
}

static void hook_drain(void *state)
{
    log_event(LOG_INFO, "hook drain", LOG_INT("state", state != NULL));
}

static void hook_reload(void *state)
{
    log_event(LOG_INFO, "hook reload", LOG_INT("state", state != NULL));
}

static void hook_stop(void *state)
{
    log_event(LOG_INFO, "hook stop", LOG_INT("state", state != NULL));
}

static void hook_metrics(void *state, struct prometheus *page)
{
    prometheus_family(page, "unit_state", PROMETHEUS_GAUGE, "Whether there is state.");
    prometheus_count(page, NULL, state != NULL);
}

static const struct roles_row role_rows[] = {
    {"/posward.business.v1.Business/Authorize", ROLE_ALL},
    {"/posward.business.v1.Business/Reverse", ROLE_ALL},
    {"/posward.business.v1.Business/GetStatus", ROLE_ALL},
    {0},
};

static struct service_spec spec = {.name = "posward-unit",
                                   .summary = "A daemon for tests.",
                                   .rows = rows,
                                   .config_bytes = sizeof(struct config),
                                   .check = check,
                                   .start = start,
                                   .serve = serve,
                                   .roles = role_rows,
                                   .authorise = authorise,
                                   .drain = hook_drain,
                                   .reload = hook_reload,
                                   .stop = hook_stop,
                                   .metrics = hook_metrics};

/* A running child and what it has said so far, on both streams. */
struct child {
    pid_t pid;
    int output;
    size_t len;
    char said[16384];
};

static void child_start(struct child *c, char **argv)
{
    int fds[2];
    *c = (struct child){0};
    ck_assert_int_eq(pipe(fds), 0);
    c->pid = fork();
    ck_assert_int_ge(c->pid, 0);
    if (c->pid == 0) {
        (void)dup2(fds[1], STDOUT_FILENO);
        (void)dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        int argc = 0;
        while (argv[argc] != NULL)
            argc++;
        exit(service_main(&spec, argc, argv));
    }
    close(fds[1]);
    c->output = fds[0];
}

/* False: the child said all that it will. */
static bool child_read(struct child *c)
{
    struct pollfd wait = {.fd = c->output, .events = POLLIN};
    ck_assert_msg(poll(&wait, 1, WAIT_MS) == 1, "nothing more within %d ms after: %s", WAIT_MS, c->said);
    const ssize_t n = read(c->output, c->said + c->len, sizeof c->said - 1 - c->len);
    c->len += n > 0 ? (size_t)n : 0;
    c->said[c->len] = '\0';
    return n > 0;
}

static void child_expect(struct child *c, const char *text)
{
    while (strstr(c->said, text) == NULL)
        ck_assert_msg(child_read(c), "not said: \"%s\" in: %s", text, c->said);
}

static int child_end(struct child *c)
{
    while (child_read(c))
        continue;
    close(c->output);
    int status = 0;
    ck_assert_int_eq(waitpid(c->pid, &status, 0), c->pid);
    ck_assert_msg(WIFEXITED(status), "ended by signal %d: %s", WTERMSIG(status), c->said);
    return WEXITSTATUS(status);
}

static int number_after(const struct child *c, const char *name)
{
    const char *const at = strstr(c->said, name);
    ck_assert_ptr_nonnull(at);
    return atoi(at + strlen(name));
}

static void write_config(char path[64], const char *text)
{
    suite_scratch_name("config", path, 64);
    const int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static int run_with(const char *config, char *option, struct child *c)
{
    char path[64];
    write_config(path, config);
    char name[] = "posward-unit", config_option[] = "--config";
    char *const argv[] = {name, config_option, path, option, NULL};
    child_start(c, (char **)argv);
    const int status = child_end(c);
    unlink(path);
    return status;
}

static void http(int port, const char *request, char *out, size_t capacity)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(write(fd, request, strlen(request)), strlen(request));
    size_t len = 0;
    for (ssize_t n; (n = read(fd, out + len, capacity - 1 - len)) > 0;)
        len += (size_t)n;
    out[len] = '\0';
    close(fd);
}

static void call_methods(int port)
{
    char target[32];
    snprintf(target, sizeof target, "127.0.0.1:%d", port);
    const struct rpc_channel_options options = {.target = target, .tls.insecure = true};
    const struct rpc_call_options how = {0};
    struct rpc_channel *channel = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_channel_new(&options, &channel, &e), e);
    const Posward__Business__V1__GetStatusRequest request = POSWARD__BUSINESS__V1__GET_STATUS_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    ck_assert_ok(rpc_unary(channel, business.base.descriptor, "GetStatus", &request.base, &how, &answer, &e),
                 e);
    ck_assert_uint_eq(((Posward__Business__V1__GetStatusResponse *)answer)->authorized, 7);
    protobuf_c_message_free_unpacked(answer, NULL);
    const Posward__Business__V1__AuthorizeRequest denied = POSWARD__BUSINESS__V1__AUTHORIZE_REQUEST__INIT;
    ck_assert_int_eq(
        rpc_unary(channel, business.base.descriptor, "Authorize", &denied.base, &how, &answer, &e),
        ERR_DENIED);
    rpc_channel_free(channel);
}

/* The class of one call with an empty request. */
static enum err_code call_empty(int port, const ProtobufCServiceDescriptor *service, const char *method)
{
    char target[32];
    snprintf(target, sizeof target, "127.0.0.1:%d", port);
    const struct rpc_channel_options options = {.target = target, .tls.insecure = true};
    const struct rpc_call_options how = {0};
    struct rpc_channel *channel = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_channel_new(&options, &channel, &e), e);
    /* All requests of these services are messages without fields that must be set. */
    const Posward__Hsm__V1__GetStatusRequest request = POSWARD__HSM__V1__GET_STATUS_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    const enum err_code code = rpc_unary(channel, service, method, &request.base, &how, &answer, &e);
    if (answer != NULL)
        protobuf_c_message_free_unpacked(answer, NULL);
    rpc_channel_free(channel);
    return code;
}

static int notify_listen(char path[64])
{
    suite_scratch_name("notify", path, 64); /* bind takes it as it is: no one else is in the folder */
    unlink(path);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void expect_notice(int fd, const char *text)
{
    char got[64] = "";
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&wait, 1, WAIT_MS), 1);
    ck_assert_int_gt(recv(fd, got, sizeof got - 1, 0), 0);
    ck_assert_str_eq(got, text);
}

START_TEST(service_serves_and_stops_in_order)
{
    char notify[64], path[64];
    const int notices = notify_listen(notify);
    setenv("NOTIFY_SOCKET", notify, 1);
    write_config(path, "tls: {insecure: true}\ndrain: {lame_duck_ms: 0}\n");
    char name[] = "posward-unit", option[] = "--config";
    char *argv[] = {name, option, path, NULL};
    struct child c;
    child_start(&c, argv);
    child_expect(&c, "version=");
    expect_notice(notices, "READY=1");
    ck_assert_ptr_nonnull(strstr(c.said, "hook serve"));
    child_expect(&c, "\n");
    ck_assert_int_eq(health_at(number_after(&c, " port=")),
                     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
    call_methods(number_after(&c, " port="));
    char page[65536];
    http(number_after(&c, "metrics_port="), "GET /metrics HTTP/1.0\r\n\r\n", page, sizeof page);
    ck_assert_ptr_nonnull(strstr(page, "Content-Type: text/plain; version=0.0.4"));
    ck_assert_ptr_nonnull(
        strstr(page, "posward_build_info{program=\"posward-unit\",version=\"" POSWARD_VERSION "\"} 1\n"));
    const char *const ok = strstr(page, "posward_rpc_calls_total{outcome=\"ok\"} ");
    ck_assert_ptr_nonnull(ok);
    ck_assert_int_ge(atoi(strchr(ok, ' ') + 1), 1); /* health checks count too */
    ck_assert_ptr_nonnull(strstr(page, "posward_rpc_calls_total{outcome=\"failed\"} 1\n"));
    ck_assert_ptr_nonnull(strstr(page, "posward_rpc_in_flight 0\n"));
    ck_assert_ptr_nonnull(strstr(page, "\nunit_state 1\n"));
#define BY(family, labels) "posward_rpc_server_" family "{method=\"" labels
#define BUSINESS           "posward.business.v1.Business/"
    static const char *const by_method[] = {
        (BY("handled_total", BUSINESS "GetStatus\",code=\"OK\"} 1\n")),
        (BY("handled_total", BUSINESS "Authorize\",code=\"OK\"} 0\n")),
        (BY("handled_total", BUSINESS "Authorize\",code=\"PERMISSION_DENIED\"} 1\n")),
        (BY("handling_seconds_bucket", BUSINESS "GetStatus\",le=\"+Inf\"} 1\n")),
        (BY("handling_seconds_count", BUSINESS "GetStatus\"} 1\n")),
        (BY("handled_total", "unknown\",code=\"OK\"} 0\n")),
    };
#undef BUSINESS
#undef BY
    for (size_t i = 0; i < sizeof by_method / sizeof by_method[0]; i++)
        ck_assert_msg(strstr(page, by_method[i]) != NULL, "no %s", by_method[i]);
    kill(c.pid, SIGHUP);
    child_expect(&c, "roles are read again");
    child_expect(&c, "hook reload state=1");
    http(number_after(&c, "metrics_port="), "GET /metrics HTTP/1.0\r\n\r\n", page, sizeof page);
    ck_assert_ptr_nonnull(strstr(page, "posward_config_reloads_total{outcome=\"taken\"} 1\n"));
    kill(c.pid, SIGPIPE); /* ignored, as the next */
    kill(c.pid, SIGXFSZ);
    kill(c.pid, SIGTERM);
    expect_notice(notices, "STOPPING=1");
    ck_assert_int_eq(child_end(&c), 0);
    const char *const drain = strstr(c.said, "hook drain state=1"), *const stop =
                                                                        strstr(c.said, "hook stop state=1");
    ck_assert_ptr_nonnull(drain);
    ck_assert_ptr_nonnull(stop);
    ck_assert(drain < stop);
    ck_assert_ptr_nonnull(strstr(stop, "posward-unit: stopped"));
    close(notices);
    unlink(notify);
    unlink(path);
}
END_TEST

/* Each family once, each series of health once a server. */
static void check_two_on_page(const char *page)
{
    static const char *const lines[] = {
        "posward_rpc_in_flight{plane=\"first\"} 0\n",
        "posward_rpc_in_flight{plane=\"second\"} 0\n",
        "{method=\"grpc.health.v1.Health/Check\",code=\"OK\",plane=\"first\"} 2\n",
        "{method=\"grpc.health.v1.Health/Check\",code=\"OK\",plane=\"second\"} 1\n",
        "{method=\"posward.business.v1.Business/GetStatus\",code=\"OK\",plane=\"first\"} 1\n",
        "{method=\"posward.hsm.v1.Control/GetStatus\",code=\"OK\",plane=\"second\"} 1\n",
        "{method=\"unknown\",code=\"UNIMPLEMENTED\",plane=\"second\"} 1\n",
        "posward_refusals_total{method=\"posward.hsm.v1.Control/ListKeys\",reason=\"denied\"} 1\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        ck_assert_msg(strstr(page, lines[i]) != NULL, "no %s in: %s", lines[i], page);
    const char *const family = strstr(page, "# TYPE posward_rpc_server_handled_total ");
    ck_assert_ptr_nonnull(family);
    ck_assert_ptr_null(strstr(family + 1, "# TYPE posward_rpc_server_handled_total "));
}

START_TEST(service_with_two_servers_serves_each_its_own)
{
    char path[64], page[65536];
    const ProtobufCServiceDescriptor *const first = business.base.descriptor,
                                            *const second = &posward__hsm__v1__control__descriptor;
    two = true;
    spec.servers = two_servers;
    spec.roles = two_rows;
    spec.authorise = NULL;
    write_config(path, "tls: {insecure: true}\ndrain: {lame_duck_ms: 0}\n");
    char name[] = "posward-unit", option[] = "--config";
    char *argv[] = {name, option, path, NULL};
    struct child c;
    child_start(&c, argv);
    child_expect(&c, "version=");
    child_expect(&c, "second=127.0.0.1:0 second_port=");
    const int ports[] = {number_after(&c, " port="), number_after(&c, " second_port=")};
    ck_assert_int_ne(ports[0], ports[1]);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(health_at(ports[i]),
                         GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
    ck_assert_int_eq(call_empty(ports[0], first, "GetStatus"), ERR_OK);
    ck_assert_int_eq(call_empty(ports[1], first, "GetStatus"), ERR_UNSUPPORTED);
    ck_assert_int_eq(call_empty(ports[1], second, "GetStatus"), ERR_OK);
    ck_assert_int_eq(call_empty(ports[0], second, "GetStatus"), ERR_UNSUPPORTED);
    ck_assert_int_eq(call_empty(ports[1], second, "ListKeys"), ERR_DENIED);
    http(number_after(&c, "metrics_port="), "GET /metrics HTTP/1.0\r\n\r\n", page, sizeof page);
    check_two_on_page(page);
    kill(c.pid, SIGTERM);
    ck_assert_int_eq(child_end(&c), 0);
    unlink(path);
}
END_TEST

static const struct {
    const char *config, *says;
} two_wrong[] = {
    {"tls.insecure: true\nlisten: 127.0.0.1:7001\nsecond: 127.0.0.1:7001\n",
     "listen and second are both 127.0.0.1:7001; each needs a port of its own"},
    {"tls.insecure: true\nsecond: ''\n", "second is not set; it must be HOST:PORT"},
    {"tls.insecure: true\nsecond: 0.0.0.0:7011\n", "second: "},
};

START_TEST(service_with_two_servers_refuses_addresses)
{
    char option[] = "--check-config";
    struct child c;
    spec.servers = two_servers;
    ck_assert_int_eq(run_with(two_wrong[_i].config, option, &c), 1);
    ck_assert_msg(strstr(c.said, two_wrong[_i].says) != NULL, "\"%s\" not in: %s", two_wrong[_i].says,
                  c.said);
}
END_TEST

/* The first one serves already when the second one's port turns out to be taken. */
START_TEST(service_whose_second_port_is_taken_ends_in_order)
{
    char text[80];
    struct child c;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    two = true;
    spec.servers = two_servers;
    spec.roles = two_rows;
    snprintf(text, sizeof text, "tls.insecure: true\nsecond: 127.0.0.1:%d\n", ntohs(address.sin_port));
    ck_assert_int_eq(run_with(text, NULL, &c), 1);
    ck_assert_msg(strstr(c.said, "is the port taken?") != NULL, "%s", c.said);
    ck_assert_ptr_nonnull(strstr(c.said, "hook stop state=1"));
    close(fd);
}
END_TEST

START_TEST(service_answers_http_strictly)
{
    char path[64], page[1024];
    write_config(path, "tls.insecure: true\n");
    char name[] = "posward-unit", option[] = "--config";
    char *argv[] = {name, option, path, NULL};
    struct child c;
    child_start(&c, argv);
    child_expect(&c, "version=");
    const int port = number_after(&c, "metrics_port=");
    http(port, "GET / HTTP/1.0\r\n\r\n", page, sizeof page);
    ck_assert_ptr_nonnull(strstr(page, " 404 "));
    http(port, "POST /metrics HTTP/1.0\r\nContent-Length: 0\r\n\r\n", page, sizeof page);
    ck_assert_ptr_nonnull(strstr(page, " 405 "));
    http(port, "\x16\x03\x01 nonsense\r\n\r\n", page, sizeof page);
    http(port, "HEAD /metrics HTTP/1.0\r\n\r\n", page, sizeof page);
    ck_assert_ptr_nonnull(strstr(page, " 200 "));
    ck_assert_ptr_null(strstr(page, "posward_build_info"));
    kill(c.pid, SIGINT);
    ck_assert_int_eq(child_end(&c), 0);
    unlink(path);
}
END_TEST

START_TEST(service_shares_its_metrics_port_with_nobody)
{
    char path[64], text[80];
    write_config(path, "tls.insecure: true\n");
    char name[] = "posward-unit", option[] = "--config";
    char *argv[] = {name, option, path, NULL};
    struct child first, second;
    child_start(&first, argv);
    child_expect(&first, "version=");
    snprintf(text, sizeof text, "tls.insecure: true\nmetrics.listen: 127.0.0.1:%d\n",
             number_after(&first, "metrics_port="));
    ck_assert_int_eq(run_with(text, NULL, &second), 1);
    ck_assert_msg(strstr(second.said, "Address already in use") != NULL, "%s", second.said);
    kill(first.pid, SIGTERM);
    ck_assert_int_eq(child_end(&first), 0);
    unlink(path);
}
END_TEST

static const struct {
    const char *config;
    const char *option;
    int status;
    const char *says;
} runs[] = {
    {"tls.insecure: true\n", "--check-config", 0, "posward-unit: the configuration is valid\n"},
    {"tls.insecure: true\ninsecure_role: posp\n", "--check-config", 0,
     "is valid\nevery caller (tls.insecure)  posp\n"},
    {"tls.insecure: true\nroles: [{identity: a, roles: posp, zones: []}]\n", "--check-config", 1,
     "posward-unit: roles[0]: may, zones and pin_pairs say"},
    {"tls.insecure: true\n", "--version", 0, "posward-unit " POSWARD_VERSION "\n"},
    {"tls.insecure: true\n", "--help", 0, "--help-config"},
    {"tls.insecure: true\n", "--help-config", 0, "limits.worker_count  (number within 1 and 256, default 4)"},
    {"tls.insecure: true\n", "--nonsense", 2, "See posward-unit --help"},
    {"tls.insecure: true\n", "word", 2, "'word' is no option"},
    {"tls.insecur: true\n", NULL, 1, ":1: unknown key 'tls.insecur'; did you mean 'tls.insecure'?"},
    {"listen: 0.0.0.0:7001\ntls.insecure: true\n", "--check-config", 1, "posward-unit: "},
    {"tls.insecure: false\n", "--check-config", 1, "posward-unit: "},
    {"tls.insecure: true\ninsecure_role: root\n", "--check-config", 1, "'root' is no role"},
    {"tls.insecure: true\nlog.level: loud\n", "--check-config", 1, "log level \"loud\" is none of"},
    {"tls.insecure: true\nlog.format: xml\n", "--check-config", 1, "log.format is 'xml'"},
    {"tls.insecure: true\nfail: check\n", "--check-config", 1, "told to fail in check"},
    {"tls.insecure: true\nfail: start\n", NULL, 1, "hook stop state=0"},
    {"tls.insecure: true\nfail: serve\n", NULL, 1, "hook drain state=1"},
    {"tls.insecure: true\nmetrics.listen: nowhere\n", NULL, 1, "must be HOST:PORT"},
    {"tls.insecure: true\nmetrics.listen: 192.0.2.1:9\n", NULL, 1, "Cannot assign requested address"},
    {"tls.insecure: true\nfail: start\nlog.format: json\n", NULL, 1, "\"note\":\"told to fail in start\""},
};

START_TEST(service_refuses_or_answers)
{
    struct child c;
    const int status = run_with(runs[_i].config, (char *)(uintptr_t)runs[_i].option, &c);
    ck_assert_msg(status == runs[_i].status, "status %d: %s", status, c.said);
    ck_assert_msg(strstr(c.said, runs[_i].says) != NULL, "\"%s\" not in: %s", runs[_i].says, c.said);
}
END_TEST

START_TEST(service_does_not_start_with_a_method_that_has_no_row)
{
    static const struct roles_row short_rows[] = {{"/posward.business.v1.Business/Authorize", ROLE_POSP},
                                                  {"/posward.business.v1.Business/GetStatus", ROLE_POSP},
                                                  {0}};
    struct child c;
    spec.roles = short_rows;
    ck_assert_int_eq(run_with("tls.insecure: true\n", NULL, &c), 1);
    ck_assert_msg(strstr(c.said, "Business/Reverse is served but has no row") != NULL, "%s", c.said);
    ck_assert_ptr_null(strstr(c.said, "serving"));
}
END_TEST

START_TEST(service_with_rights_takes_grants)
{
    static const struct roles_right rights[] = {
        {.name = "paint", .bit = 1, .roles = ROLE_POSP, .defaults = ROLE_POSP}, {0}};
    struct child c;
    spec.rights = rights;
    ck_assert_int_eq(run_with("tls.insecure: true\ninsecure_role: posp\n"
                              "roles: [{identity: a, roles: posp, zones: [], may: [paint]}]\n",
                              (char *)(uintptr_t) "--check-config", &c),
                     0);
    ck_assert_msg(strstr(c.said, "may        paint (default)\n") != NULL, "%s", c.said);
    ck_assert_int_eq(run_with("tls.insecure: true\nroles: [{identity: a, roles: posp, may: [pant]}]\n",
                              (char *)(uintptr_t) "--check-config", &c),
                     1);
    ck_assert_msg(strstr(c.said, "did you mean 'paint'?") != NULL, "%s", c.said);
}
END_TEST

static size_t many_descriptors(const void *config, const char **out_key)
{
    (void)config;
    *out_key = "unit.things";
    return 30000;
}

START_TEST(configuration_that_needs_more_descriptors_than_there_are_is_refused)
{
    const struct rlimit limit = {20000, 20000};
    struct child c;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    spec.descriptors = many_descriptors;
    ck_assert_int_eq(run_with("tls: {insecure: true}\nlimits: {max_connections: 100}\n", NULL, &c), 1);
    ck_assert_msg(strstr(c.said,
                         "30356 file descriptors are needed (100 for limits.max_connections, 30000 for "
                         "unit.things, 256 besides) and 20000 allowed: raise the hard limit "
                         "(LimitNOFILE=, ulimit -Hn) or lower these keys") != NULL,
                  "%s", c.said);
}
END_TEST

static void start_serving(struct child *c, const char *config)
{
    char path[64];
    char name[] = "posward-unit", option[] = "--config";
    write_config(path, config);
    char *argv[] = {name, option, path, NULL};
    child_start(c, argv);
    child_expect(c, "version=");
    child_expect(c, "\n");
    unlink(path);
}

START_TEST(descriptors_are_raised_to_the_hard_limit)
{
    struct rlimit limit = {600, 2000};
    struct child c;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    start_serving(&c, "tls: {insecure: true}\ndrain: {lame_duck_ms: 0}\n");
    ck_assert_int_eq(prlimit(c.pid, RLIMIT_NOFILE, NULL, &limit), 0);
    ck_assert_uint_eq(limit.rlim_cur, 2000);
    ck_assert_int_eq(kill(c.pid, SIGTERM), 0);
    ck_assert_int_eq(child_end(&c), 0);
}
END_TEST

/* Opens connections that say nothing until the daemon is out of descriptors; returns how many. */
static size_t connect_silently(int port, int fds[], size_t count)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    size_t opened = 0;
    for (; opened < count; opened++) {
        fds[opened] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fds[opened], (const struct sockaddr *)&address, sizeof address) != 0)
            break;
    }
    return opened;
}

START_TEST(daemon_that_accepts_no_more_ends_in_order)
{
    const struct rlimit few = {48, 48};
    struct child c;
    int fds[100];
    start_serving(&c, "tls: {insecure: true}\ndrain: {lame_duck_ms: 0}\n");
    ck_assert_int_eq(prlimit(c.pid, RLIMIT_NOFILE, &few, NULL), 0);
    ck_assert_uint_gt(connect_silently(number_after(&c, " port="), fds, 100), few.rlim_cur);
    ck_assert_int_eq(child_end(&c), 1);
    ck_assert_ptr_nonnull(strstr(c.said, "no more connections are accepted"));
    ck_assert_ptr_nonnull(strstr(c.said, "raise their hard limit (LimitNOFILE=)"));
    ck_assert_ptr_nonnull(strstr(c.said, "hook stop"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("service");
    TCase *tc = tcase_create("service");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, service_serves_and_stops_in_order);
    tcase_add_test(tc, service_with_two_servers_serves_each_its_own);
    tcase_add_loop_test(tc, service_with_two_servers_refuses_addresses, 0,
                        (int)(sizeof two_wrong / sizeof two_wrong[0]));
    tcase_add_test(tc, service_whose_second_port_is_taken_ends_in_order);
    tcase_add_test(tc, service_answers_http_strictly);
    tcase_add_test(tc, service_shares_its_metrics_port_with_nobody);
    tcase_add_loop_test(tc, service_refuses_or_answers, 0, (int)(sizeof runs / sizeof runs[0]));
    tcase_add_test(tc, service_does_not_start_with_a_method_that_has_no_row);
    tcase_add_test(tc, service_with_rights_takes_grants);
    tcase_add_test(tc, configuration_that_needs_more_descriptors_than_there_are_is_refused);
    tcase_add_test(tc, descriptors_are_raised_to_the_hard_limit);
    tcase_add_test(tc, daemon_that_accepts_no_more_ends_in_order);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

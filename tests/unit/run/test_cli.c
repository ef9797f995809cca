/* The whole command line against a real server: dispatch, help, calls, streams, status, exit statuses. */
#include "rpc/server.h"
#include "run/cli.h"
#include "tests/support/suite.h"

#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <posward/business/v1/business.pb-c.h>
#include <posward/posv/v1/posv.pb-c.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_WORDS 24

typedef Posward__Posv__V1__Device device;
typedef Posward__Posv__V1__Registry_Service registry_service;

static device device_of(char *terminal_id, char *psam_number)
{
    device d = POSWARD__POSV__V1__DEVICE__INIT;
    d.terminal_id = terminal_id;
    d.psam_number = psam_number;
    d.suite = POSWARD__TYPES__V1__SUITE__SUITE_AES_128;
    d.state = POSWARD__POSV__V1__DEVICE_STATE__DEVICE_STATE_ACTIVE;
    d.created_ms = 1795471200123;
    return d;
}

static void refuse(void *closure_data, enum err_code code, const char *note)
{
    struct err e = {0};
    (void)err_set(&e, code, "%s", note);
    rpc_call_fail(rpc_call_of(closure_data), &e);
}

static void get_device(registry_service *service, const Posward__Posv__V1__GetDeviceRequest *request,
                       Posward__Posv__V1__Device_Closure closure, void *closure_data)
{
    (void)service;
    static char psam[] = "12345678901234567890";
    const device d = device_of(request->terminal_id, psam);
    closure(&d, closure_data);
}

static void register_device(registry_service *service,
                            const Posward__Posv__V1__RegisterDeviceRequest *request,
                            Posward__Posv__V1__Device_Closure closure, void *closure_data)
{
    (void)service;
    if (strcmp(request->terminal_id, "10000001") == 0) {
        refuse(closure_data, ERR_EXISTS, "terminal 10000001 is there already\n\x1b[31m");
        return;
    }
    device d = device_of(request->terminal_id, request->psam_number);
    d.suite = request->suite;
    closure(&d, closure_data);
}

static void list_devices(registry_service *service, const Posward__Posv__V1__ListDevicesRequest *request,
                         Posward__Posv__V1__ListDevicesResponse_Closure closure, void *closure_data)
{
    (void)service;
    static char one[] = "10000001", two[] = "10000002", psam[] = "12345678901234567890", none[] = "",
                next[] = "n2";
    device first = device_of(one, psam), second = device_of(two, none);
    second.state = POSWARD__POSV__V1__DEVICE_STATE__DEVICE_STATE_RETIRED;
    device *devices[] = {&first, &second};
    Posward__Posv__V1__ListDevicesResponse response = POSWARD__POSV__V1__LIST_DEVICES_RESPONSE__INIT;
    response.devices = devices;
    response.n_devices = request->page_size == 7 ? 0 : 2;
    response.next_page_token = next;
    closure(&response, closure_data);
}

static void watch_devices(registry_service *service, const Posward__Posv__V1__WatchDevicesRequest *request,
                          Posward__Posv__V1__DeviceChange_Closure closure, void *closure_data)
{
    (void)service;
    for (int i = 1; i <= 3; i++) {
        Posward__Posv__V1__DeviceChange change = POSWARD__POSV__V1__DEVICE_CHANGE__INIT;
        change.revision = request->from_revision + i;
        closure(&change, closure_data);
    }
    if (request->from_revision == 100)
        refuse(closure_data, ERR_UNAVAILABLE, "the feed broke");
    else
        closure(NULL, closure_data);
}

static void get_status(registry_service *service, const Posward__Posv__V1__GetStatusRequest *request,
                       Posward__Posv__V1__GetStatusResponse_Closure closure, void *closure_data)
{
    (void)service;
    (void)request;
    Posward__Posv__V1__GetStatusResponse response = POSWARD__POSV__V1__GET_STATUS_RESPONSE__INIT;
    response.devices_active = 12;
    closure(&response, closure_data);
}

static registry_service registry = {.base = POSWARD__POSV__V1__REGISTRY__BASE_INIT,
                                    .get_device = get_device,
                                    .register_device = register_device,
                                    .list_devices = list_devices,
                                    .watch_devices = watch_devices,
                                    .get_status = get_status};

/* Own code: its arguments, a call of its own, or a failure. */
static enum err_code own(struct cli *cli, int argc, char **argv, struct err *e)
{
    static const struct option known[] = {{"help", no_argument, NULL, 'h'},
                                          {"version", required_argument, NULL, 'v'},
                                          {"fail", no_argument, NULL, 'f'},
                                          {0}};
    optind = 0;
    for (int option; (option = getopt_long(argc + 1, argv - 1, "", known, NULL)) != -1;) {
        if (option == 'v') {
            printf("own version %s\n", optarg);
            return ERR_OK;
        }
        if (option == 'f')
            return err_set(e, ERR_STATE, "the reader is empty");
        printf("own help\n");
        return ERR_OK;
    }
    printf("own %s %d %s\n", argv[-1], argc, cli_json(cli) ? "json" : "text");
    const device d = device_of((char *)(uintptr_t) "own", (char *)(uintptr_t) "");
    return cli_print(cli, &d.base, e);
}

#define REGISTRY &posward__posv__v1__registry__descriptor
static cli_table device_commands = {{.group = "device",
                                     .name = "register",
                                     .help = "Put a device into the table.",
                                     .endpoint = "posv",
                                     .service = REGISTRY,
                                     .method = "RegisterDevice",
                                     .positional = "terminal_id"},
                                    {.group = "device",
                                     .name = "list",
                                     .help = "List devices.",
                                     .endpoint = "posv",
                                     .service = REGISTRY,
                                     .method = "ListDevices"},
                                    {.group = "device",
                                     .name = "watch",
                                     .help = "Follow the change feed.",
                                     .endpoint = "posv",
                                     .service = REGISTRY,
                                     .method = "WatchDevices"},
                                    {.group = "bank",
                                     .name = "ask",
                                     .help = "Ask the bank.",
                                     .endpoint = "bank",
                                     .service = REGISTRY,
                                     .method = "GetStatus"},
                                    {.group = NULL}};
static cli_table card_commands = {{.group = "card", .name = "issue", .help = "Issue a card.", .run = own},
                                  {.group = "device", .name = "audit", .help = "Audit.", .run = own},
                                  {.group = NULL}};
static const struct cli_service services[] = {
    {REGISTRY, "posv"}, {&posward__business__v1__business__descriptor, "bank"}, {NULL, NULL}};

static struct rpc_server *server;

static void setup(void)
{
    const struct rpc_server_options options = {.listen = "127.0.0.1:0", .tls.insecure = true};
    struct err e = {0};
    ck_assert_ok(rpc_server_new(&options, &server, &e), e);
    ck_assert_ok(rpc_server_add(server, (ProtobufCService *)&registry, &e), e);
    ck_assert_ok(rpc_server_start(server, &e), e);
    char path[64];
    suite_scratch_name("cli", path, sizeof path);
    const int fd = mkstemp(path);
    dprintf(fd,
            "tls.insecure: true\nendpoints: {posv: '127.0.0.1:%d', hsm: '', hsm_control: '', posp: '', bank: "
            "''}\n",
            rpc_server_port(server));
    close(fd);
    setenv("POSWARD_CONFIG", path, 1);
}

static void teardown(void)
{
    unlink(getenv("POSWARD_CONFIG"));
    rpc_server_drain(server, 0, 1000);
    rpc_server_free(server);
}

struct result {
    int status;
    char out[16384], err[4096];
};

static int redirect(FILE *file, int number)
{
    (void)fflush(stdout);
    const int saved = dup(number);
    ck_assert_int_ne(dup2(fileno(file), number), -1);
    return saved;
}

static void restore(int saved, int number)
{
    (void)fflush(stdout);
    ck_assert_int_ne(dup2(saved, number), -1);
    close(saved);
}

static void read_back(FILE *file, char *text, size_t capacity)
{
    rewind(file);
    text[fread(text, 1, capacity - 1, file)] = '\0';
    fclose(file);
}

/* `line` is split at blanks. */
static struct result run(const char *line)
{
    static char name[] = "posward";
    static const struct cli_command *const tables[] = {device_commands, card_commands};
    char copy[512], *argv[MAX_WORDS + 2] = {name}, *rest = NULL;
    snprintf(copy, sizeof copy, "%s", line);
    int argc = 1;
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    FILE *const out = tmpfile(), *const err = tmpfile();
    const int saved_out = redirect(out, STDOUT_FILENO), saved_err = redirect(err, STDERR_FILENO);
    struct result r = {.status = cli_main(tables, 2, services, argc, argv)};
    restore(saved_out, STDOUT_FILENO);
    restore(saved_err, STDERR_FILENO);
    read_back(out, r.out, sizeof r.out);
    read_back(err, r.err, sizeof r.err);
    return r;
}

static const struct {
    const char *line;
    int status;
    const char *out, *err; /* what must be in it; NULL: it must be empty */
} cases[] = {
    {"", 0, "  device register            Put a device into the table.\n", NULL},
    {"help", 0,
     "  device audit               Audit.\n  bank ask                   Ask the bank.\n  card issue ", NULL},
    {"--help", 0, "  status  ", NULL},
    {"--version", 0, "posward " POSWARD_VERSION "\n", NULL},
    {"--help-config", 0, "endpoints.posv  (text, default 127.0.0.1:7003)", NULL},
    {"device", 0, "  device watch  ", NULL},
    {"help device", 0, "Usage: posward device COMMAND", NULL},
    {"device register --help", 0, "  --suite tdes|aes-128|aes-256\n", NULL},
    {"help device register", 0, "Usage: posward device register [terminal-id] [--OPTION VALUE ...]\n", NULL},
    {"divice list", 2, NULL, "posward 'divice' is no command; did you mean 'posward device'?\n"},
    {"device lst", 2, NULL, "posward device 'lst' is no command; did you mean 'posward device list'?\n"},
    {"device qqqqqq", 2, NULL, "see 'posward device --help'\n"},
    {"staus", 2, NULL, "did you mean 'posward status'?\n"},
    {"device register 10000002 --suite aes-128 --psam-number 12345678901234567890", 0,
     "terminal_id: 10000002\npsam_number: 12345678901234567890\nsuite: aes-128\n", NULL},
    {"device register 10000002", 0, "created_ms: 2026-11-23T22:00:00.123Z\n", NULL},
    {"device register 10000002", 0, "updated_ms: -\n", NULL},
    {"--json device register --terminal-id=10000002 --suite tdes", 0, "\"suite\": \"SUITE_TDES\"", NULL},
    {"device register 10000001", 1, NULL,
     "posward device register: ALREADY_EXISTS: terminal 10000001 is there already??[31m\n"},
    {"device register --suite des", 2, NULL,
     "posward device register: --suite: 'des' is none of tdes, aes-128, aes-256\n"},
    {"device register --terminl-id x", 2, NULL, "unknown option --terminl-id; did you mean --terminal-id?\n"},
    {"device list", 0,
     "TERMINAL_ID  PSAM_NUMBER           SUITE    MASTER_VERSION  STATE    REVISION  CREATED_MS"
     "                UPDATED_MS  WRAP_VERSION\n"
     "10000001     12345678901234567890  aes-128  0               active   0         "
     "2026-11-23T22:00:00.123Z  -           0\n"
     "10000002                           aes-128  0               retired  0         "
     "2026-11-23T22:00:00.123Z  -           0\n"
     "next_page_token: n2\n",
     NULL},
    {"device list --page-size 7", 0, "TERMINAL_ID  MERCHANT_ID  PSAM_NUMBER", NULL},
    {"device watch --from-revision 5", 0, "revision: 6\n\nrevision: 7\n\nrevision: 8\n\n", NULL},
    {"device watch --json", 0, "{\"revision\":\"1\"}\n{\"revision\":\"2\"}\n{\"revision\":\"3\"}\n", NULL},
    {"device watch --from-revision 100", 1, "revision: 103\n",
     "posward device watch: UNAVAILABLE: the feed broke\n"},
    {"bank ask", 1, NULL, "posward bank ask: INVALID_ARGUMENT: endpoints.bank has no address"},
    {"card issue a b", 0, "own issue 2 text\nterminal_id: own\n", NULL},
    {"card issue --json", 0, "own issue 0 json\n{", NULL},
    {"card issue --version 3", 0, "own version 3\n", NULL},
    {"card issue --help", 0, "own help\n", NULL},
    {"card issue --fail", 1, NULL, "posward card issue: FAILED_PRECONDITION: the reader is empty\n"},
    {"call posward.posv.v1.Registry/GetDevice {\"terminalId\":\"T9\"}", 0, "terminal_id: T9\n", NULL},
    {"call /posward.posv.v1.Registry/GetDevice {\"terminal_id\":\"T9\"} --json", 0, "\"terminalId\": \"T9\"",
     NULL},
    {"call posward.posv.v1.Registry.GetStatus", 0, "devices_active: 12\n", NULL},
    {"call posward.posv.v1.Registry/WatchDevices --json", 0, "{\"revision\":\"3\"}\n", NULL},
    {"call posward.business.v1.Business/GetStatus {} --endpoint posv", 1, NULL,
     "posward call posward.business.v1.Business/GetStatus: UNIMPLEMENTED"},
    {"call posward.posv.v1.Registry/GetDevic", 2, NULL, "did you mean posward.posv.v1.Registry/GetDevice?\n"},
    {"call posward.posv.v1.Registry/GetDevice {\"terminal\":1}", 2, NULL, "has no field 'terminal'"},
    {"call posward.posv.v1.Registry/GetDevice {", 2, NULL, "the request is no JSON"},
    {"call posward.posv.v1.Registry/GetDevice {} {}", 2, NULL, "'{}' is one argument too many\n"},
    {"call posward.posv.v1.Registry/GetDevice --endpoint nowhere", 1, NULL, "'nowhere' is no endpoint"},
    {"call", 2, NULL, "  bank        posward.business.v1.Business/Authorize\n"},
    {"call --help", 0, "  posv        posward.posv.v1.Registry/WatchDevices\n", NULL},
    {"status", 0, "  SERVING  ", NULL},
    {"status", 0, "      devices_active: 12\n", NULL},
    {"status more", 2, NULL, "'more' is one argument too many\n"},
    {"--config", 2, NULL, "posward: --config needs a file\n"},
    {"--config /nowhere/p.yaml status", 1, NULL, "posward: /nowhere/p.yaml: No such file or directory\n"},
};

START_TEST(cli_answers)
{
    const struct result r = run(cases[_i].line);
    ck_assert_msg(r.status == cases[_i].status, "%s: status %d\n%s%s", cases[_i].line, r.status, r.out,
                  r.err);
    const char *const out = cases[_i].out, *const err = cases[_i].err;
    ck_assert_msg(out != NULL ? strstr(r.out, out) != NULL : r.out[0] == '\0', "%s: output:\n%s",
                  cases[_i].line, r.out);
    ck_assert_msg(err != NULL ? strstr(r.err, err) != NULL : r.err[0] == '\0', "%s: errors:\n%s",
                  cases[_i].line, r.err);
}
END_TEST

START_TEST(status_fails_when_one_does_not_serve)
{
    rpc_server_set_serving(server, false);
    struct result r = run("status");
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.out, "  NOT_SERVING  "));
    rpc_server_set_serving(server, true);
    r = run("status --json");
    ck_assert_int_eq(r.status, 0);
    json_t *const list = json_loads(r.out, 0, NULL);
    ck_assert_uint_eq(json_array_size(list), 1);
    const json_t *const posv = json_array_get(list, 0);
    ck_assert_str_eq(json_string_value(json_object_get(posv, "endpoint")), "posv");
    ck_assert_str_eq(json_string_value(json_object_get(posv, "health")), "SERVING");
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(posv, "status"), "devicesActive")),
                     "12");
    json_decref(list);
}
END_TEST

START_TEST(status_fails_when_one_is_away)
{
    char path[64], line[96];
    suite_scratch_name("cli", path, sizeof path);
    const int fd = mkstemp(path);
    dprintf(fd,
            "tls.insecure: true\nendpoints: {posv: '127.0.0.1:%d', hsm: '127.0.0.1:1', hsm_control: '', "
            "posp: '', bank: ''}\n",
            rpc_server_port(server));
    close(fd);
    snprintf(line, sizeof line, "status --config %s", path);
    const struct result r = run(line);
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.out, "hsm          127.0.0.1:1             UNAVAILABLE  "));
    ck_assert_ptr_nonnull(strstr(r.out, "  SERVING  "));
    unlink(path);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cli");
    TCase *tc = tcase_create("cli");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, cli_answers, 0, (int)(sizeof cases / sizeof cases[0]));
    tcase_add_test(tc, status_fails_when_one_does_not_serve);
    tcase_add_test(tc, status_fails_when_one_is_away);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

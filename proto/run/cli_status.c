/* `posward status`: the standard health check at each endpoint, GetStatus where a service has it, and the
 * report that a service's row names. */
#include "base/clock.h"
#include "rpc/json.h"
#include "rpc/status.h"
#include "run/cli_internal.h"

#include <grpc/health/v1/health.pb-c.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_MS 3000 /* longest wait for one endpoint */

struct report {
    size_t endpoint;
    bool serving;
    char health[40]; /* "SERVING", or the status of a check that failed */
    double latency_ms;
    ProtobufCMessage *status; /* of GetStatus; NULL: none */
    ProtobufCMessage *more;   /* of the row's report_method; NULL: none */
    struct err e;             /* why a check failed */
};

static void report_drop(struct report *r)
{
    if (r->status != NULL)
        protobuf_c_message_free_unpacked(r->status, NULL);
    if (r->more != NULL)
        protobuf_c_message_free_unpacked(r->more, NULL);
}

static enum err_code check_health(struct rpc_channel *channel, const struct rpc_call_options *options,
                                  struct report *r, struct err *e)
{
    const Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    const int64_t start_us = clock_monotonic_us();
    TRY(rpc_unary(channel, &grpc__health__v1__health__descriptor, "Check", &request.base, options, &answer,
                  e));
    r->latency_ms = (double)(clock_monotonic_us() - start_us) / 1000.0;
    const int status = ((const Grpc__Health__V1__HealthCheckResponse *)answer)->status;
    const ProtobufCEnumValue *const name = protobuf_c_enum_descriptor_get_value(
        &grpc__health__v1__health_check_response__serving_status__descriptor, status);
    snprintf(r->health, sizeof r->health, "%s", name != NULL ? name->name : "UNKNOWN");
    r->serving = status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    protobuf_c_message_free_unpacked(answer, NULL);
    return ERR_OK;
}

static enum err_code ask(struct rpc_channel *channel, const struct rpc_call_options *options,
                         const ProtobufCServiceDescriptor *service, const char *method,
                         const char *request_json, ProtobufCMessage **out_answer, struct err *e)
{
    json_t *const json = json_loads(request_json, 0, NULL);
    ProtobufCMessage *request = NULL;
    enum err_code code = rpc_json_to_message(json, cli_method_of(service, method)->input, &request, e);
    json_decref(json);
    TRY(code);
    code = rpc_unary(channel, service, method, request, options, out_answer, e);
    protobuf_c_message_free_unpacked(request, NULL);
    return code;
}

static enum err_code ask_reports(const struct cli *cli, struct rpc_channel *channel,
                                 const struct rpc_call_options *options, struct report *r, struct err *e)
{
    for (const struct cli_service *s = cli->services; s->service != NULL; s++) {
        if (strcmp(s->endpoint, cli_endpoint_names[r->endpoint]) != 0)
            continue;
        if (r->status == NULL && cli_method_of(s->service, "GetStatus") != NULL)
            TRY(ask(channel, options, s->service, "GetStatus", "{}", &r->status, e));
        if (r->more == NULL && s->report_method != NULL)
            TRY(ask(channel, options, s->service, s->report_method, s->report_request, &r->more, e));
    }
    return ERR_OK;
}

static void fill_report(struct cli *cli, struct report *r)
{
    const struct rpc_call_options options = {
        .timeout_ms = cli->config.timeout_ms < CHECK_MS ? cli->config.timeout_ms : CHECK_MS};
    struct rpc_channel *const channel = cli_channel(cli, cli_endpoint_names[r->endpoint], &r->e);
    if (channel == NULL || check_health(channel, &options, r, &r->e) != ERR_OK)
        snprintf(r->health, sizeof r->health, "%s", rpc_status_name(rpc_status_of(r->e.code)));
    else
        (void)ask_reports(cli, channel, &options, r, &r->e); /* told by the note; health is what counts */
}

static enum err_code print_text(const struct cli *cli, const struct report *r, struct err *e)
{
    printf("%-*s  %-22s  %s", CLI_ENDPOINT_WIDTH, cli_endpoint_names[r->endpoint],
           cli->config.endpoints[r->endpoint], r->health);
    if (r->latency_ms > 0)
        printf("  %.1f ms", r->latency_ms);
    printf("%s%s\n", r->e.code != ERR_OK ? "  " : "", r->e.note);
    if (r->status != NULL)
        TRY(cli_print_text(r->status, "      ", stdout, e));
    return r->more != NULL ? cli_print_text(r->more, "      ", stdout, e) : ERR_OK;
}

static enum err_code add_json(const struct cli *cli, const struct report *r, json_t *list, struct err *e)
{
    json_t *const object =
        json_pack("{s:s,s:s,s:s,s:f}", "endpoint", cli_endpoint_names[r->endpoint], "address",
                  cli->config.endpoints[r->endpoint], "health", r->health, "latencyMs", r->latency_ms);
    if (object == NULL || json_array_append_new(list, object) != 0)
        return err_set(e, ERR_INTERNAL, "no memory for JSON");
    if (r->e.code != ERR_OK)
        json_object_set_new(object, "note", json_string(r->e.note));
    const struct {
        const char *key;
        const ProtobufCMessage *message;
    } parts[] = {{"status", r->status}, {"report", r->more}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        json_t *part = NULL;
        if (parts[i].message == NULL)
            continue;
        TRY(rpc_json_from_message(parts[i].message, true, &part, e));
        json_object_set_new(object, parts[i].key, part);
    }
    return ERR_OK;
}

static enum err_code report_all(struct cli *cli, json_t *list, bool *out_all_serving, struct err *e)
{
    bool all = true;
    for (size_t i = 0; i < CLI_ENDPOINT_COUNT; i++) {
        if (cli->config.endpoints[i] == NULL || cli->config.endpoints[i][0] == '\0')
            continue;
        AUTO(report) r = {.endpoint = i};
        fill_report(cli, &r);
        all = all && r.serving;
        if (cli->json)
            TRY(add_json(cli, &r, list, e));
        else
            TRY(print_text(cli, &r, e));
    }
    *out_all_serving = all;
    return ERR_OK;
}

int cli_run_status(struct cli *cli, int argc, char **argv)
{
    if (cli->help || argc > 0) {
        fprintf(cli->help ? stdout : stderr, "Usage: posward status [--json]\n"
                                             "Asks each configured service for its health and counters; exit "
                                             "status 1 when one is not SERVING.\n");
        if (!cli->help)
            fprintf(stderr, "posward status: '%s' is one argument too many\n", argv[0]);
        return cli->help ? EXIT_SUCCESS : CLI_EXIT_USAGE;
    }
    struct err e = {0};
    bool all_serving = false;
    json_t *const list = json_array();
    const enum err_code code = report_all(cli, list, &all_serving, &e);
    if (code == ERR_OK && cli->json && json_dumpf(list, stdout, JSON_INDENT(2)) == 0)
        fputc('\n', stdout);
    json_decref(list);
    if (code != ERR_OK)
        cli_complain("status", &e);
    return code == ERR_OK && all_serving ? EXIT_SUCCESS : EXIT_FAILURE;
}

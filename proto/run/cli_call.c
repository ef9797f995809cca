#include "base/nearest.h"
#include "rpc/index.h"
#include "rpc/json.h"
#include "run/cli_internal.h"

#include <stdlib.h>
#include <string.h>

#define STREAM_WAIT_MS 60000 /* one wait of a loop without end */
#define PATH_BYTES     160

/* One RPC to make: where, what, and how errors name it. */
struct call {
    const char *label, *endpoint;
    const ProtobufCServiceDescriptor *service;
    const char *method;
};

static enum err_code markers_of(const struct call *call, struct rpc_stream_markers *out_markers,
                                struct err *e)
{
    AUTO(rpc_index) index = {0};
    TRY(rpc_index_init(&index, NULL, 0, e));
    return rpc_index_markers(&index, call->service->name, call->method, out_markers, e);
}

static enum err_code run_unary(struct cli *cli, const struct call *call, struct rpc_channel *channel,
                               const ProtobufCMessage *request, struct err *e)
{
    const struct rpc_call_options options = {.timeout_ms = cli->config.timeout_ms};
    ProtobufCMessage *response = NULL;
    TRY(rpc_unary(channel, call->service, call->method, request, &options, &response, e));
    const enum err_code code = cli_print(cli, response, e);
    protobuf_c_message_free_unpacked(response, NULL);
    return code;
}

static enum err_code print_streamed(struct cli *cli, const ProtobufCMessage *message, struct err *e)
{
    if (cli->json) {
        TRY(cli_print_json(message, true, stdout, e));
    } else {
        TRY(cli_print_text(message, "", stdout, e));
        fputc('\n', stdout);
    }
    return fflush(stdout) == 0 ? ERR_OK : err_errno(e, "standard output");
}

/* Until the server ends it; Ctrl-C ends the process. */
static enum err_code print_stream(struct cli *cli, struct rpc_stream *stream, struct err *e)
{
    for (;;) {
        ProtobufCMessage *message = NULL;
        const enum err_code code = rpc_stream_next(stream, STREAM_WAIT_MS, &message, e);
        if (code == ERR_TIMEOUT)
            continue;
        TRY(code);
        if (message == NULL)
            return ERR_OK;
        const enum err_code printed = print_streamed(cli, message, e);
        protobuf_c_message_free_unpacked(message, NULL);
        TRY(printed);
    }
}

static enum err_code run_stream(struct cli *cli, const struct call *call, struct rpc_channel *channel,
                                const ProtobufCMessage *request, struct err *e)
{
    const struct rpc_call_options options = {0};
    struct rpc_stream *stream = NULL;
    TRY(rpc_stream_open(channel, call->service, call->method, request, &options, &stream, e));
    const enum err_code code = print_stream(cli, stream, e);
    rpc_stream_free(stream);
    return code;
}

static enum err_code run_call(struct cli *cli, const struct call *call, const ProtobufCMessage *request,
                              struct err *e)
{
    struct rpc_stream_markers markers = {0};
    TRY(markers_of(call, &markers, e));
    if (markers.client)
        return err_set(e, ERR_UNSUPPORTED, "%s takes a stream of requests; the command line sends one",
                       call->method);
    struct rpc_channel *const channel = cli_channel(cli, call->endpoint, e);
    if (channel == NULL)
        return e->code;
    return (markers.server ? run_stream : run_unary)(cli, call, channel, request, e);
}

static int finish(struct cli *cli, const struct call *call, ProtobufCMessage *request)
{
    struct err e = {0};
    const enum err_code code = run_call(cli, call, request, &e);
    protobuf_c_message_free_unpacked(request, NULL);
    if (code == ERR_OK)
        return EXIT_SUCCESS;
    cli_complain(call->label, &e);
    return EXIT_FAILURE;
}

static int refuse_usage(const char *label, const struct err *e)
{
    fprintf(stderr, "posward %s: %s\n", label, e->note);
    return CLI_EXIT_USAGE;
}

int cli_run_rpc(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
    (void)argc; /* argv ends with NULL */
    struct err e = {0};
    char label[PATH_BYTES];
    snprintf(label, sizeof label, "%s %s", command->group, command->name);
    const ProtobufCMethodDescriptor *const method = cli_method_of(command->service, command->method);
    ProtobufCMessage *request = NULL;
    if (method == NULL)
        (void)err_set(&e, ERR_INTERNAL, "%s has no method %s", command->service->name, command->method);
    if (method == NULL || cli_request_read(method->input, command->positional, argv, &request, &e) != ERR_OK)
        return refuse_usage(label, &e);
    const struct call call = {.label = label,
                              .endpoint = command->endpoint,
                              .service = command->service,
                              .method = command->method};
    return finish(cli, &call, request);
}

static void print_methods(const struct cli *cli, FILE *out)
{
    fputs("Usage: posward call SERVICE/METHOD [JSON | @FILE | @-] [--endpoint " CLI_ENDPOINT_WORDS "]\n"
          "Calls any RPC; the request is proto3 JSON, {} when it is left out. Methods:\n\n",
          out);
    for (const struct cli_service *s = cli->services; s->service != NULL; s++) {
        for (unsigned i = 0; i < s->service->n_methods; i++)
            fprintf(out, "  %-*s %s/%s\n", CLI_ENDPOINT_WIDTH, s->endpoint, s->service->name,
                    s->service->methods[i].name);
    }
}

static enum err_code refuse_path(const struct cli *cli, const char *path, struct err *e)
{
    struct nearest near = {.word = path};
    for (const struct cli_service *s = cli->services; s->service != NULL; s++) {
        for (unsigned i = 0; i < s->service->n_methods; i++) {
            char known[PATH_BYTES];
            snprintf(known, sizeof known, "%s/%s", s->service->name, s->service->methods[i].name);
            nearest_offer(&near, known);
        }
    }
    const char *const meant = nearest_found(&near);
    return err_set(e, ERR_INPUT, "'%.80s' is no SERVICE/METHOD%s%s%s", path,
                   meant != NULL ? "; did you mean " : "", meant != NULL ? meant : "",
                   meant != NULL ? "?" : "; posward call lists them");
}

/* "/package.Service/Method", the first slash optional, a dot for the second accepted. */
static enum err_code find_method(const struct cli *cli, const char *given, struct call *call, struct err *e)
{
    const char *const path = given[0] == '/' ? given + 1 : given;
    const char *const slash = strchr(path, '/'), *const dot = strrchr(path, '.');
    const char *const cut = slash != NULL ? slash : dot;
    for (const struct cli_service *s = cli->services; cut != NULL && s->service != NULL; s++) {
        const size_t len = (size_t)(cut - path);
        if (strlen(s->service->name) != len || strncmp(s->service->name, path, len) != 0)
            continue;
        const ProtobufCMethodDescriptor *const method = cli_method_of(s->service, cut + 1);
        if (method == NULL)
            break;
        call->service = s->service;
        call->method = method->name;
        call->endpoint = call->endpoint != NULL ? call->endpoint : s->endpoint;
        return ERR_OK;
    }
    return refuse_path(cli, path, e);
}

static enum err_code request_of(const char *text, const ProtobufCMessageDescriptor *descriptor,
                                ProtobufCMessage **out_request, struct err *e)
{
    char *file = NULL;
    size_t len = strlen(text);
    if (text[0] == '@')
        TRY(cli_read_file(text + 1, &file, &len, e));
    json_error_t why;
    json_t *const json = json_loadb(file != NULL ? file : text, len, JSON_REJECT_DUPLICATES, &why);
    free(file);
    if (json == NULL)
        return err_set(e, ERR_INPUT, "the request is no JSON: line %d: %s", why.line, why.text);
    const enum err_code code = rpc_json_to_message(json, descriptor, out_request, e);
    json_decref(json);
    return code;
}

/* *out_path and *out_json stay NULL when they are not given. */
static enum err_code read_arguments(char **argv, const char **out_path, const char **out_json,
                                    const char **out_endpoint, struct err *e)
{
    for (char **a = argv; *a != NULL; a++) {
        if (strncmp(*a, "--endpoint=", 11) == 0)
            *out_endpoint = *a + 11;
        else if (strcmp(*a, "--endpoint") == 0 && a[1] != NULL)
            *out_endpoint = *++a;
        else if ((*a)[0] == '-' && (*a)[1] == '-')
            return err_set(e, ERR_INPUT, "unknown option %.60s", *a);
        else if (*out_path == NULL)
            *out_path = *a;
        else if (*out_json == NULL)
            *out_json = *a;
        else
            return err_set(e, ERR_INPUT, "'%.40s' is one argument too many", *a);
    }
    return ERR_OK;
}

int cli_run_call(struct cli *cli, int argc, char **argv)
{
    (void)argc; /* argv ends with NULL */
    struct err e = {0};
    struct call call = {.label = "call"};
    const char *path = NULL, *json = NULL;
    if (read_arguments(argv, &path, &json, &call.endpoint, &e) != ERR_OK)
        return refuse_usage("call", &e);
    if (cli->help || path == NULL) {
        print_methods(cli, cli->help ? stdout : stderr);
        return cli->help ? EXIT_SUCCESS : CLI_EXIT_USAGE;
    }
    if (find_method(cli, path, &call, &e) != ERR_OK)
        return refuse_usage("call", &e);
    ProtobufCMessage *request = NULL;
    const ProtobufCMethodDescriptor *const method = cli_method_of(call.service, call.method);
    if (request_of(json != NULL ? json : "{}", method->input, &request, &e) != ERR_OK)
        return refuse_usage("call", &e);
    char label[PATH_BYTES];
    snprintf(label, sizeof label, "call %s/%s", call.service->name, call.method);
    call.label = label;
    return finish(cli, &call, request);
}

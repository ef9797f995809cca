#include "tests/support/echo_server.h"

#include "base/clock.h"
#include "tests/support/echo_descriptors.h"

#include <stdio.h>
#include <string.h>

/* Not ck_assert: the server also runs outside a suite. */
static void must(enum err_code code, const struct err *e)
{
    if (code == ERR_OK)
        return;
    fprintf(stderr, "echo server: %s\n", e->note);
    abort();
}

static void fill_response(echo_response *response, const echo_request *request, struct rpc_call *call)
{
    posward__test__v1__echo_response__init(response);
    const struct rpc_peer *peer = rpc_call_peer(call);
    response->text = request->text;
    response->identity = (char *)(peer->identity != NULL ? peer->identity : "");
    response->traceparent = (char *)rpc_call_traceparent(call);
    response->left_ms = rpc_call_left_ms(call);
    response->filling.len = (size_t)request->fill_bytes;
    response->filling.data = request->fill_bytes > 0 ? calloc(1, response->filling.len) : NULL;
}

static void say(Posward__Test__V1__Echo_Service *service, const echo_request *request,
                Posward__Test__V1__EchoResponse_Closure closure, void *closure_data)
{
    struct echo *echo = (struct echo *)service;
    atomic_fetch_add(&echo->said, 1);
    if (request->delay_ms > 0)
        clock_sleep_ms(request->delay_ms);
    if (request->fail_class != 0) {
        struct err e = {0};
        err_set(&e, (enum err_code)request->fail_class, "%s", request->text);
        rpc_call_fail(rpc_call_of(closure_data), &e);
        return;
    }
    echo_response response;
    fill_response(&response, request, rpc_call_of(closure_data));
    closure(&response, closure_data);
    free(response.filling.data);
}

static void count(Posward__Test__V1__Echo_Service *service, const echo_request *request,
                  Posward__Test__V1__EchoResponse_Closure closure, void *closure_data)
{
    struct echo *echo = (struct echo *)service;
    struct rpc_call *call = rpc_call_of(closure_data);
    echo_response response;
    fill_response(&response, request, call);
    atomic_fetch_add(&echo->counting, 1);
    for (int i = 0; (request->count == 0 || i < request->count) && !rpc_call_cancelled(call); i++) {
        response.number = i;
        closure(&response, call);
        atomic_fetch_add(&echo->sent, 1);
        if (request->delay_ms > 0)
            (void)rpc_call_wait(call, request->delay_ms);
    }
    atomic_fetch_sub(&echo->counting, 1);
    free(response.filling.data);
    struct err e = {0};
    err_set(&e, (enum err_code)request->fail_class, "%s", request->text);
    if (request->fail_class > 0)
        rpc_call_fail(call, &e);
    else if (request->fail_class == 0)
        closure(NULL, call);
}

static void gather(Posward__Test__V1__Echo_Service *service, const echo_request *request,
                   Posward__Test__V1__EchoResponse_Closure closure, void *closure_data)
{
    struct echo *echo = (struct echo *)service;
    if (request != NULL) {
        atomic_fetch_add(&echo->sent, 1);
        return;
    }
    echo_response response = POSWARD__TEST__V1__ECHO_RESPONSE__INIT;
    response.number = atomic_load(&echo->sent);
    closure(&response, closure_data);
}

static void talk(Posward__Test__V1__Echo_Service *service, const echo_request *request,
                 Posward__Test__V1__EchoResponse_Closure closure, void *closure_data)
{
    (void)service;
    if (request == NULL) {
        closure(NULL, closure_data);
        return;
    }
    echo_response response;
    fill_response(&response, request, rpc_call_of(closure_data));
    closure(&response, closure_data);
    free(response.filling.data);
}

struct rpc_server_options echo_options(void)
{
    return (struct rpc_server_options){
        .listen = "127.0.0.1:0",
        .tls.insecure = true,
        .extra_descriptor_set = posward_test_descriptor_set,
        .extra_descriptor_set_len = posward_test_descriptor_set_len,
    };
}

struct rpc_channel *echo_channel(int port)
{
    char target[32];
    snprintf(target, sizeof target, "127.0.0.1:%d", port);
    const struct rpc_channel_options options = {
        .target = target,
        .tls.insecure = true,
        .extra_descriptor_set = posward_test_descriptor_set,
        .extra_descriptor_set_len = posward_test_descriptor_set_len,
    };
    struct rpc_channel *channel = NULL;
    struct err e = {0};
    must(rpc_channel_new(&options, &channel, &e), &e);
    return channel;
}

void echo_start(struct echo *echo, const struct rpc_server_options *options)
{
    const struct rpc_server_options plain = echo_options();
    struct err e = {0};
    *echo = (struct echo){.service.base = POSWARD__TEST__V1__ECHO__BASE_INIT};
    echo->service.say = say;
    echo->service.count = count;
    echo->service.gather = gather;
    echo->service.talk = talk;
    must(rpc_server_new(options != NULL ? options : &plain, &echo->server, &e), &e);
    must(rpc_server_add(echo->server, &echo->service.base, &e), &e);
    must(rpc_server_start(echo->server, &e), &e);
    if (options == NULL || options->tls.insecure)
        echo->channel = echo_channel(rpc_server_port(echo->server));
}

void echo_stop(struct echo *echo)
{
    rpc_channel_free(echo->channel);
    rpc_server_drain(echo->server, 0, 2000);
    rpc_server_free(echo->server);
    *echo = (struct echo){0};
}

enum err_code echo_say(struct rpc_channel *channel, const echo_request *request,
                       const struct rpc_call_options *options, echo_response **out_response, struct err *e)
{
    ProtobufCMessage *response = NULL;
    const enum err_code code = rpc_unary(channel, &posward__test__v1__echo__descriptor, "Say", &request->base,
                                         options, &response, e);
    if (out_response != NULL)
        *out_response = (echo_response *)response;
    else if (response != NULL)
        protobuf_c_message_free_unpacked(response, NULL);
    return code;
}

void echo_free(echo_response *response)
{
    posward__test__v1__echo_response__free_unpacked(response, NULL);
}

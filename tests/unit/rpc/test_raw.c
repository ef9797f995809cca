#include "base/clock.h"
#include "tests/support/echo_server.h"

#include <pthread.h>
#include <string.h>

/* Answers each call from a thread of its own: what the HSM service's front does with its keepers. */
struct relay {
    struct rpc_server *server;
    struct rpc_channel *channel;
    atomic_int ran, cancelled;
};

struct job {
    struct relay *relay;
    struct rpc_call *call;
    uint8_t bytes[4096];
    size_t len;
    pthread_t thread;
};

static void *answer_later(void *argument)
{
    struct job *job = argument;
    echo_request *request = posward__test__v1__echo_request__unpack(NULL, job->len, job->bytes);
    struct err e = {0};
    if (request == NULL) {
        err_set(&e, ERR_INPUT, "not a request");
        rpc_call_fail(job->call, &e);
        free(job);
        return NULL;
    }
    for (int waited_ms = 0; waited_ms < request->delay_ms && !rpc_call_cancelled(job->call); waited_ms++)
        clock_sleep_ms(1);
    if (rpc_call_cancelled(job->call))
        atomic_fetch_add(&job->relay->cancelled, 1);
    echo_response response = POSWARD__TEST__V1__ECHO_RESPONSE__INIT;
    response.text = request->text;
    uint8_t packed[4096];
    const size_t len = posward__test__v1__echo_response__pack(&response, packed);
    rpc_call_finish(job->call, packed, len);
    posward__test__v1__echo_request__free_unpacked(request, NULL);
    free(job);
    return NULL;
}

static void relay_call(void *context, struct rpc_call *call, unsigned method_index, const uint8_t *bytes,
                       size_t len)
{
    struct relay *relay = context;
    atomic_fetch_add(&relay->ran, 1);
    ck_assert_uint_eq(method_index, 0);
    if (len == 0) { /* at once, on the I/O thread */
        rpc_call_finish(call, bytes, 0);
        return;
    }
    struct job *job = calloc(1, sizeof *job);
    *job = (struct job){.relay = relay, .call = call, .len = len};
    memcpy(job->bytes, bytes, len);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, answer_later, job), 0);
    pthread_detach(thread);
}

static const ProtobufCMethodDescriptor say_only[] = {
    {"Say", &posward__test__v1__echo_request__descriptor, &posward__test__v1__echo_response__descriptor}};
static const unsigned say_order[] = {0};
static const ProtobufCServiceDescriptor say_service = {
    .magic = PROTOBUF_C__SERVICE_DESCRIPTOR_MAGIC,
    .name = "posward.test.v1.Echo",
    .n_methods = 1,
    .methods = say_only,
    .method_indices_by_name = say_order,
};

static void relay_start(struct relay *relay)
{
    const struct rpc_server_options options = echo_options();
    struct err e = {0};
    *relay = (struct relay){0};
    ck_assert_ok(rpc_server_new(&options, &relay->server, &e), e);
    ck_assert_ok(rpc_server_add_raw(relay->server, &say_service, relay_call, relay, &e), e);
    ck_assert_ok(rpc_server_start(relay->server, &e), e);
    relay->channel = echo_channel(rpc_server_port(relay->server));
}

static void relay_stop(struct relay *relay)
{
    rpc_channel_free(relay->channel);
    rpc_server_drain(relay->server, 0, 2000);
    rpc_server_free(relay->server);
}

START_TEST(raw_call_is_answered_from_another_thread)
{
    struct relay relay;
    relay_start(&relay);
    for (int i = 0; i < 20; i++) {
        echo_response *response = NULL;
        struct err e = {0};
        ck_assert_ok(echo_say(relay.channel, &ECHO_REQUEST("raw", .delay_ms = 1), NULL, &response, &e), e);
        ck_assert_str_eq(response->text, "raw");
        echo_free(response);
    }
    struct err e = {0};
    ck_assert_ok(echo_say(relay.channel, &ECHO_REQUEST(""), NULL, NULL, &e), e);
    relay_stop(&relay);
}
END_TEST

/* On a busy machine the deadline may pass before the call arrives: then once more with a later one. */
START_TEST(raw_call_whose_client_left_is_still_finished)
{
    struct relay relay;
    relay_start(&relay);
    struct err e = {0};
    for (int timeout_ms = 100; atomic_load(&relay.ran) == 0 && timeout_ms <= 6400; timeout_ms *= 2)
        ck_assert_int_eq(echo_say(relay.channel, &ECHO_REQUEST("x", .delay_ms = 20000),
                                  &(struct rpc_call_options){.timeout_ms = timeout_ms}, NULL, &e),
                         ERR_TIMEOUT);
    ck_assert_int_gt(atomic_load(&relay.ran), 0);
    while (rpc_server_counts(relay.server).in_flight > 0)
        clock_sleep_ms(5);
    ck_assert_int_eq(atomic_load(&relay.cancelled), atomic_load(&relay.ran));
    relay_stop(&relay);
}
END_TEST

START_TEST(raw_service_refuses_streams)
{
    const struct rpc_server_options options = echo_options();
    struct rpc_server *server = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_server_new(&options, &server, &e), e);
    ck_assert_int_eq(rpc_server_add_raw(server, &posward__test__v1__echo__descriptor, relay_call, NULL, &e),
                     ERR_UNSUPPORTED);
    rpc_server_free(server);
}
END_TEST

START_TEST(raw_missing_payload_is_refused)
{
    struct relay relay;
    relay_start(&relay);
    struct rpc_stream *stream = NULL;
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_stream_open(relay.channel, &say_service, "Say", NULL, NULL, &stream, &e), e);
    ck_assert_ok(rpc_stream_send_end(stream, &e), e);
    ck_assert_int_eq(rpc_stream_next(stream, 5000, &message, &e), ERR_INPUT);
    rpc_stream_free(stream);
    ck_assert_int_eq(atomic_load(&relay.ran), 0);
    relay_stop(&relay);
}
END_TEST

/* `text` stands in the request, and again behind it as what protobuf-c takes for an unknown field. */
START_TEST(raw_request_that_is_not_in_form_does_not_reach_the_handler)
{
    struct relay relay;
    relay_start(&relay);
    uint8_t again[] = {1, 'y'};
    ProtobufCMessageUnknownField field = {.tag = 1, .wire_type = 2, .len = sizeof again, .data = again};
    echo_request request = ECHO_REQUEST("x");
    request.base.n_unknown_fields = 1;
    request.base.unknown_fields = &field;
    struct err e = {0};
    ck_assert_int_eq(echo_say(relay.channel, &request, NULL, NULL, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "text stands twice; give it once");
    field.tag = 77;
    ck_assert_ok(echo_say(relay.channel, &request, NULL, NULL, &e), e);
    ck_assert_int_eq(atomic_load(&relay.ran), 1);
    relay_stop(&relay);
}
END_TEST

#define BLOCKED 3 /* one more than a server has I/O threads, and no more than workers */

struct gate {
    atomic_int entered, done;
    atomic_bool open;
};

static void wait_at_gate(void *context, struct rpc_call *call, unsigned method_index, const uint8_t *bytes,
                         size_t len)
{
    struct gate *const gate = context;
    (void)method_index;
    (void)bytes;
    (void)len;
    atomic_fetch_add(&gate->entered, 1);
    while (!atomic_load(&gate->open))
        clock_sleep_ms(1);
    rpc_call_finish(call, (const uint8_t *)"", 0);
}

static void count_done(void *context, const ProtobufCMessage *response, const struct err *e)
{
    struct gate *const gate = context;
    ck_assert_msg(response != NULL, "%s", e != NULL ? e->note : "");
    atomic_fetch_add(&gate->done, 1);
}

static void wait_for(atomic_int *number, int value)
{
    for (int i = 0; i < 2000 && atomic_load(number) < value; i++)
        clock_sleep_ms(5);
    ck_assert_int_eq(atomic_load(number), value);
}

START_TEST(raw_method_that_may_block_leaves_the_io_threads_alone)
{
    struct rpc_server_options options = echo_options();
    struct rpc_server *server = NULL;
    struct gate gate = {0};
    struct err e = {0};
    options.worker_count = BLOCKED;
    ck_assert_ok(rpc_server_new(&options, &server, &e), e);
    ck_assert_ok(rpc_server_add_raw(server, &say_service, wait_at_gate, &gate, &e), e);
    ck_assert_int_eq(rpc_server_raw_may_block(server, &say_service, "Nay", &e), ERR_NOT_FOUND);
    ck_assert_ok(rpc_server_raw_may_block(server, &say_service, "Say", &e), e);
    ck_assert_ok(rpc_server_start(server, &e), e);
    struct rpc_channel *const channel = echo_channel(rpc_server_port(server));
    for (int i = 0; i < BLOCKED; i++)
        ck_assert_ok(rpc_unary_start(channel, &say_service, "Say", &ECHO_REQUEST("x").base, NULL, count_done,
                                     &gate, &e),
                     e);
    wait_for(&gate.entered, BLOCKED);
    atomic_store(&gate.open, true);
    wait_for(&gate.done, BLOCKED);
    rpc_channel_free(channel);
    rpc_server_drain(server, 0, 2000);
    rpc_server_free(server);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("raw");
    TCase *tc = tcase_create("raw");
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, raw_call_is_answered_from_another_thread);
    tcase_add_test(tc, raw_call_whose_client_left_is_still_finished);
    tcase_add_test(tc, raw_service_refuses_streams);
    tcase_add_test(tc, raw_missing_payload_is_refused);
    tcase_add_test(tc, raw_request_that_is_not_in_form_does_not_reach_the_handler);
    tcase_add_test(tc, raw_method_that_may_block_leaves_the_io_threads_alone);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

#include "base/clock.h"
#include "base/trace.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "tests/support/echo_server.h"

#include <string.h>

static struct echo echo;

static void start(void)
{
    echo_start(&echo, NULL);
}

static void stop(void)
{
    echo_stop(&echo);
}

START_TEST(unary_answers)
{
    echo_response *response = NULL;
    struct err e = {0};
    ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("hello"), NULL, &response, &e), e);
    ck_assert_str_eq(response->text, "hello");
    ck_assert_str_eq(response->identity, "");
    ck_assert_int_gt(response->left_ms, 3000);
    echo_free(response);
    const struct rpc_server_counts counts = rpc_server_counts(echo.server);
    ck_assert_uint_eq(counts.ok, 1);
    ck_assert_uint_eq(counts.failed, 0);
    ck_assert_uint_eq(counts.in_flight, 0);
}
END_TEST

START_TEST(failure_carries_class_and_note)
{
    for (int class = ERR_INPUT; class < ERR_CODE_COUNT; class ++) {
        struct err e = {0};
        const enum err_code code = echo_say(
            echo.channel, &ECHO_REQUEST("卡号 100% wrong\nsecond", .fail_class = class), NULL, NULL, &e);
        ck_assert_int_eq(code, class == ERR_IO ? ERR_INTERNAL : class);
        ck_assert_int_eq(e.code, code);
        ck_assert_str_eq(e.note, "卡号 100% wrong\nsecond");
        ck_assert_int_ne(e.native, 0);
    }
    ck_assert_uint_eq(rpc_server_counts(echo.server).failed, ERR_CODE_COUNT - 1);
}
END_TEST

START_TEST(request_over_the_limit_is_refused)
{
    const size_t len = 2 * 1024 * 1024;
    char *text = malloc(len + 1);
    memset(text, 'x', len);
    text[len] = '\0';
    struct err e = {0};
    ck_assert_int_eq(echo_say(echo.channel, &ECHO_REQUEST(text), NULL, NULL, &e), ERR_LIMIT);
    text[1024 * 1024 - 64] = '\0';
    ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST(text), NULL, NULL, &e), e);
    free(text);
}
END_TEST

START_TEST(response_over_the_clients_limit_is_refused)
{
    struct err e = {0};
    ck_assert_int_eq(
        echo_say(echo.channel, &ECHO_REQUEST("big", .fill_bytes = 2 * 1024 * 1024), NULL, NULL, &e),
        ERR_LIMIT);
    ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("small", .fill_bytes = 1000000), NULL, NULL, &e), e);
}
END_TEST

/* What another program might think that the service is. */
static const ProtobufCMethodDescriptor odd_methods[] = {
    {"Nope", &posward__test__v1__echo_request__descriptor, &posward__test__v1__echo_response__descriptor},
    {"Say", &grpc__reflection__v1__error_response__descriptor, &posward__test__v1__echo_response__descriptor},
};
static const unsigned odd_order[] = {0, 1};
static const ProtobufCServiceDescriptor odd_service = {
    .magic = PROTOBUF_C__SERVICE_DESCRIPTOR_MAGIC,
    .name = "posward.test.v1.Echo",
    .n_methods = 2,
    .methods = odd_methods,
    .method_indices_by_name = odd_order,
};

START_TEST(unknown_method_is_named)
{
    struct err e = {0};
    ProtobufCMessage *response = NULL;
    ck_assert_int_eq(
        rpc_unary(echo.channel, &odd_service, "Nope", &ECHO_REQUEST("x").base, NULL, &response, &e),
        ERR_UNSUPPORTED);
    ck_assert_str_eq(e.note, "unknown method /posward.test.v1.Echo/Nope");
    ck_assert_int_eq(
        rpc_unary(echo.channel, &odd_service, "Absent", &ECHO_REQUEST("x").base, NULL, &response, &e),
        ERR_INPUT);
}
END_TEST

START_TEST(payload_that_does_not_parse_is_refused)
{
    Grpc__Reflection__V1__ErrorResponse request = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    request.error_code = 5; /* a number where text should be */
    ProtobufCMessage *response = NULL;
    struct err e = {0};
    ck_assert_int_eq(rpc_unary(echo.channel, &odd_service, "Say", &request.base, NULL, &response, &e),
                     ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(e.note, "posward.test.v1.EchoRequest"));
    ck_assert_int_eq(atomic_load(&echo.said), 0);
}
END_TEST

START_TEST(missing_payload_is_refused)
{
    struct rpc_stream *stream = NULL;
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_ok(
        rpc_stream_open(echo.channel, &posward__test__v1__echo__descriptor, "Say", NULL, NULL, &stream, &e),
        e);
    ck_assert_ok(rpc_stream_send_end(stream, &e), e);
    ck_assert_int_eq(rpc_stream_next(stream, 5000, &message, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "no message of type posward.test.v1.EchoRequest was sent");
    rpc_stream_free(stream);
    ck_assert_int_eq(atomic_load(&echo.said), 0);
}
END_TEST

START_TEST(call_that_never_sends_its_request_is_cancelled)
{
    static const char *const methods[] = {"Say", "Count"};
    echo_stop(&echo);
    struct rpc_server_options options = echo_options();
    options.request_wait_ms = 100;
    options.max_in_flight = 1;
    options.max_streams = 1;
    echo_start(&echo, &options);
    for (size_t i = 0; i < 2; i++) {
        struct rpc_stream *stream = NULL;
        ProtobufCMessage *message = NULL;
        struct err e = {0};
        ck_assert_ok(rpc_stream_open(echo.channel, &posward__test__v1__echo__descriptor, methods[i], NULL,
                                     NULL, &stream, &e),
                     e);
        ck_assert_int_eq(rpc_stream_next(stream, 5000, &message, &e), ERR_TIMEOUT);
        ck_assert_int_ne(e.native, 0);
        rpc_stream_free(stream);
    }
    for (int i = 0; i < 1000 && rpc_server_counts(echo.server).in_flight > 0; i++)
        clock_sleep_ms(5);
    ck_assert_uint_eq(rpc_server_counts(echo.server).in_flight, 0);
    /* A stream of many messages may be silent for as long as it likes, and a handler may take its time. */
    struct err e = {0};
    ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("x", .delay_ms = 700), NULL, NULL, &e), e);
}
END_TEST

START_TEST(deadline_ends_the_call_at_the_client)
{
    struct err e = {0};
    const int64_t before_ms = clock_monotonic_ms();
    ck_assert_int_eq(echo_say(echo.channel, &ECHO_REQUEST("slow", .delay_ms = 600),
                              &(struct rpc_call_options){.timeout_ms = 100}, NULL, &e),
                     ERR_TIMEOUT);
    ck_assert_int_lt(clock_monotonic_ms() - before_ms, 400);
}
END_TEST

START_TEST(traceparent_reaches_the_handler_when_well_formed)
{
    static const struct {
        const char *sent, *seen;
    } rows[] = {
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
         "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", ""},
        {"00-4bf9", ""},
        {NULL, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        echo_response *response = NULL;
        struct err e = {0};
        const struct rpc_call_options options = {.traceparent = rows[i].sent};
        ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("t"), &options, &response, &e), e);
        ck_assert_str_eq(response->traceparent, rows[i].seen);
        echo_free(response);
    }
    struct err e = {0};
    ck_assert_int_eq(echo_say(echo.channel, &ECHO_REQUEST("t"),
                              &(struct rpc_call_options){.traceparent = "a\nb"}, NULL, &e),
                     ERR_INPUT);
}
END_TEST

START_TEST(a_call_carries_the_trace_of_its_thread_as_a_child)
{
    const struct trace trace = trace_new(), before = trace_enter(trace);
    const struct {
        const char *given;
        size_t same; /* leading characters of the thread's traceparent that arrive */
    } rows[] = {{NULL, 36}, {"", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        echo_response *response = NULL;
        struct err e = {0};
        const struct rpc_call_options options = {.traceparent = rows[i].given};
        ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("t"), &options, &response, &e), e);
        ck_assert_uint_eq(strlen(response->traceparent), rows[i].same > 0 ? TRACE_PARENT_BYTES - 1 : 0);
        ck_assert_int_eq(strncmp(response->traceparent, trace.parent, rows[i].same), 0);
        ck_assert_str_ne(response->traceparent, trace.parent);
        echo_free(response);
    }
    (void)trace_enter(before);
}
END_TEST

static enum err_code only_counting(void *context, const struct rpc_peer *peer, const char *path,
                                   struct err *e)
{
    ck_assert_ptr_null(peer->identity);
    ck_assert_ptr_nonnull(strstr(peer->address, "127.0.0.1"));
    atomic_fetch_add((atomic_int *)context, 1);
    if (strcmp(path, "/posward.test.v1.Echo/Count") == 0)
        return ERR_OK;
    return err_set(e, ERR_DENIED, "only counting is allowed");
}

START_TEST(authorise_refuses_before_the_handler)
{
    echo_stop(&echo);
    atomic_int asked = 0;
    struct rpc_server_options options = echo_options();
    options.authorise = only_counting;
    options.authorise_context = &asked;
    echo_start(&echo, &options);
    struct err e = {0};
    ck_assert_int_eq(echo_say(echo.channel, &ECHO_REQUEST("x"), NULL, NULL, &e), ERR_DENIED);
    ck_assert_str_eq(e.note, "only counting is allowed");
    ck_assert_int_eq(atomic_load(&echo.said), 0);
    ck_assert_int_eq(atomic_load(&asked), 1);
    struct rpc_stream *stream = NULL;
    ProtobufCMessage *message = NULL;
    ck_assert_ok(rpc_stream_open(echo.channel, &posward__test__v1__echo__descriptor, "Count",
                                 &ECHO_REQUEST("x", .count = 1).base, NULL, &stream, &e),
                 e);
    ck_assert_ok(rpc_stream_next(stream, 5000, &message, &e), e);
    protobuf_c_message_free_unpacked(message, NULL);
    rpc_stream_free(stream);
}
END_TEST

START_TEST(absent_peer_fails_fast)
{
    struct rpc_channel *channel = echo_channel(1);
    struct err e = {0};
    const int64_t before_ms = clock_monotonic_ms();
    ck_assert_int_eq(echo_say(channel, &ECHO_REQUEST("x"), NULL, NULL, &e), ERR_UNAVAILABLE);
    ck_assert_int_lt(clock_monotonic_ms() - before_ms, 1000);
    rpc_channel_free(channel);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("unary");
    TCase *tc = tcase_create("unary");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, unary_answers);
    tcase_add_test(tc, failure_carries_class_and_note);
    tcase_add_test(tc, request_over_the_limit_is_refused);
    tcase_add_test(tc, response_over_the_clients_limit_is_refused);
    tcase_add_test(tc, unknown_method_is_named);
    tcase_add_test(tc, payload_that_does_not_parse_is_refused);
    tcase_add_test(tc, missing_payload_is_refused);
    tcase_add_test(tc, call_that_never_sends_its_request_is_cancelled);
    tcase_add_test(tc, deadline_ends_the_call_at_the_client);
    tcase_add_test(tc, traceparent_reaches_the_handler_when_well_formed);
    tcase_add_test(tc, a_call_carries_the_trace_of_its_thread_as_a_child);
    tcase_add_test(tc, authorise_refuses_before_the_handler);
    tcase_add_test(tc, absent_peer_fails_fast);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

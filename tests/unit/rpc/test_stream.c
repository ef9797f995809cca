#include "base/clock.h"
#include "tests/support/echo_server.h"

#include <pthread.h>
#include <string.h>

#define ECHO_SERVICE (&posward__test__v1__echo__descriptor)

static struct echo echo;

static void start(void)
{
    echo_start(&echo, NULL);
}

static void stop(void)
{
    echo_stop(&echo);
}

static void restart(const struct rpc_server_options *options)
{
    echo_stop(&echo);
    echo_start(&echo, options);
}

static struct rpc_stream *open_with(const char *method, const echo_request *request,
                                    const struct rpc_call_options *options)
{
    struct rpc_stream *stream = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_stream_open(echo.channel, ECHO_SERVICE, method, request != NULL ? &request->base : NULL,
                                 options, &stream, &e),
                 e);
    return stream;
}

/* The next message's number; -1 at the orderly end. */
static int next_number(struct rpc_stream *stream)
{
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_stream_next(stream, 5000, &message, &e), e);
    if (message == NULL)
        return -1;
    const int number = ((echo_response *)message)->number;
    protobuf_c_message_free_unpacked(message, NULL);
    return number;
}

static enum err_code next_fails(struct rpc_stream *stream, struct err *e)
{
    ProtobufCMessage *message = NULL;
    const enum err_code code = rpc_stream_next(stream, 5000, &message, e);
    ck_assert_ptr_null(message);
    return code;
}

static void wait_zero(atomic_int *number)
{
    for (int i = 0; i < 1000 && atomic_load(number) != 0; i++)
        clock_sleep_ms(5);
    ck_assert_int_eq(atomic_load(number), 0);
}

static void wait_in_flight(size_t count)
{
    for (int i = 0; i < 1000 && rpc_server_counts(echo.server).in_flight != count; i++)
        clock_sleep_ms(5);
    ck_assert_uint_eq(rpc_server_counts(echo.server).in_flight, count);
}

START_TEST(stream_gives_each_message_and_an_end)
{
    struct rpc_stream *stream = open_with("Count", &ECHO_REQUEST("c", .count = 100), NULL);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(next_number(stream), i);
    ck_assert_int_eq(next_number(stream), -1);
    rpc_stream_free(stream);
    ck_assert_uint_eq(rpc_server_counts(echo.server).ok, 1);
}
END_TEST

START_TEST(stream_fails_after_its_messages)
{
    struct rpc_stream *stream =
        open_with("Count", &ECHO_REQUEST("enough", .count = 2, .fail_class = ERR_STATE), NULL);
    struct err e = {0};
    ck_assert_int_eq(next_number(stream), 0);
    ck_assert_int_eq(next_number(stream), 1);
    ck_assert_int_eq(next_fails(stream, &e), ERR_STATE);
    ck_assert_str_eq(e.note, "enough");
    rpc_stream_free(stream);
}
END_TEST

START_TEST(handler_that_forgets_to_end_is_ended)
{
    struct rpc_stream *stream = open_with("Count", &ECHO_REQUEST("x", .count = 1, .fail_class = -1), NULL);
    struct err e = {0};
    ck_assert_int_eq(next_number(stream), 0);
    ck_assert_int_eq(next_fails(stream, &e), ERR_INTERNAL);
    rpc_stream_free(stream);
}
END_TEST

START_TEST(next_times_out_and_the_stream_lives_on)
{
    struct rpc_stream *stream = open_with("Count", &ECHO_REQUEST("x", .count = 2, .delay_ms = 300), NULL);
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_int_eq(next_number(stream), 0);
    ck_assert_int_eq(rpc_stream_next(stream, 50, &message, &e), ERR_TIMEOUT);
    ck_assert_int_eq(e.native, 0);
    ck_assert_int_eq(next_number(stream), 1);
    ck_assert_int_eq(next_number(stream), -1);
    rpc_stream_free(stream);
}
END_TEST

START_TEST(deadline_ends_a_stream)
{
    struct rpc_stream *stream = open_with("Count", &ECHO_REQUEST("x", .delay_ms = 1000),
                                          &(struct rpc_call_options){.timeout_ms = 200});
    struct err e = {0};
    ck_assert_int_eq(next_number(stream), 0);
    ck_assert_int_eq(next_fails(stream, &e), ERR_TIMEOUT);
    ck_assert_int_ne(e.native, 0);
    rpc_stream_free(stream);
    wait_zero(&echo.counting);
}
END_TEST

static void *cancel_soon(void *stream)
{
    clock_sleep_ms(100);
    rpc_stream_cancel(stream);
    return NULL;
}

START_TEST(cancel_from_another_thread_ends_next_and_the_handler)
{
    struct rpc_stream *stream = open_with("Count", &ECHO_REQUEST("x", .delay_ms = 20000), NULL);
    ck_assert_int_eq(next_number(stream), 0);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_soon, stream), 0);
    struct err e = {0};
    ck_assert_int_eq(next_fails(stream, &e), ERR_CANCELLED);
    pthread_join(thread, NULL);
    wait_zero(&echo.counting);
    rpc_stream_free(stream);
    wait_in_flight(0);
}
END_TEST

START_TEST(freeing_an_open_stream_ends_the_handler)
{
    struct rpc_stream *stream = open_with("Count", &ECHO_REQUEST("x"), NULL);
    ck_assert_int_eq(next_number(stream), 0);
    rpc_stream_free(stream);
    wait_zero(&echo.counting);
    wait_in_flight(0);
}
END_TEST

START_TEST(closure_blocks_while_nobody_reads)
{
    struct rpc_stream *stream = open_with("Count", &ECHO_REQUEST("x", .fill_bytes = 100000), NULL);
    ck_assert_int_eq(next_number(stream), 0);
    clock_sleep_ms(500);
    const int sent = atomic_load(&echo.sent);
    ck_assert_int_lt(sent, 300);
    clock_sleep_ms(300);
    ck_assert_int_eq(atomic_load(&echo.sent), sent);
    for (int i = 1; i < 400; i++)
        ck_assert_int_eq(next_number(stream), i);
    rpc_stream_free(stream);
    wait_zero(&echo.counting);
}
END_TEST

START_TEST(streams_over_the_limit_are_refused_and_unary_goes_on)
{
    struct rpc_server_options options = echo_options();
    options.max_streams = 2;
    restart(&options);
    struct rpc_stream *streams[2];
    for (int i = 0; i < 2; i++) {
        streams[i] = open_with("Count", &ECHO_REQUEST("x", .delay_ms = 20000), NULL);
        ck_assert_int_eq(next_number(streams[i]), 0);
    }
    struct rpc_stream *third = open_with("Count", &ECHO_REQUEST("x", .count = 1), NULL);
    struct err e = {0};
    ck_assert_int_eq(next_fails(third, &e), ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(e.note, "max_streams"));
    rpc_stream_free(third);
    ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("x"), NULL, NULL, &e), e);
    rpc_stream_free(streams[0]);
    wait_in_flight(1);
    third = open_with("Count", &ECHO_REQUEST("x", .count = 1), NULL);
    ck_assert_int_eq(next_number(third), 0);
    rpc_stream_free(third);
    rpc_stream_free(streams[1]);
}
END_TEST

START_TEST(wake_reaches_waiting_streams)
{
    struct rpc_stream *stream = open_with("Count", &ECHO_REQUEST("x", .count = 2, .delay_ms = 20000), NULL);
    ck_assert_int_eq(next_number(stream), 0);
    clock_sleep_ms(50);
    rpc_server_wake(echo.server);
    ck_assert_int_eq(next_number(stream), 1);
    rpc_stream_free(stream);
}
END_TEST

START_TEST(bidirectional_answers_each_message)
{
    struct rpc_stream *stream = open_with("Talk", NULL, NULL);
    struct err e = {0};
    for (int i = 0; i < 50; i++) {
        ck_assert_ok(rpc_stream_send(stream, &ECHO_REQUEST("t").base, &e), e);
        ck_assert_int_eq(next_number(stream), 0);
    }
    ck_assert_ok(rpc_stream_send_end(stream, &e), e);
    ck_assert_int_eq(next_number(stream), -1);
    ck_assert_int_eq(rpc_stream_send(stream, &ECHO_REQUEST("t").base, &e), ERR_STATE);
    rpc_stream_free(stream);
}
END_TEST

START_TEST(bidirectional_client_that_vanishes_frees_the_call)
{
    for (int i = 0; i < 20; i++) {
        struct rpc_stream *stream = open_with("Talk", NULL, NULL);
        struct err e = {0};
        if (i % 2 == 0)
            ck_assert_ok(rpc_stream_send(stream, &ECHO_REQUEST("t").base, &e), e);
        rpc_stream_free(stream);
    }
    wait_in_flight(0);
}
END_TEST

START_TEST(client_streaming_answers_once)
{
    struct rpc_stream *stream = open_with("Gather", NULL, NULL);
    struct err e = {0};
    for (int i = 0; i < 10; i++)
        ck_assert_ok(rpc_stream_send(stream, &ECHO_REQUEST("g").base, &e), e);
    ck_assert_ok(rpc_stream_send_end(stream, &e), e);
    ck_assert_int_eq(next_number(stream), 10);
    ck_assert_int_eq(next_number(stream), -1);
    rpc_stream_free(stream);
}
END_TEST

START_TEST(oversized_message_in_a_stream_ends_it)
{
    struct rpc_stream *stream = open_with("Talk", NULL, NULL);
    char *text = malloc(2000001);
    memset(text, 'x', 2000000);
    text[2000000] = '\0';
    struct err e = {0};
    (void)!rpc_stream_send(stream, &ECHO_REQUEST(text).base, &e);
    ck_assert_int_eq(next_fails(stream, &e), ERR_LIMIT);
    rpc_stream_free(stream);
    free(text);
    wait_in_flight(0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("stream");
    TCase *tc = tcase_create("stream");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, stream_gives_each_message_and_an_end);
    tcase_add_test(tc, stream_fails_after_its_messages);
    tcase_add_test(tc, handler_that_forgets_to_end_is_ended);
    tcase_add_test(tc, next_times_out_and_the_stream_lives_on);
    tcase_add_test(tc, deadline_ends_a_stream);
    tcase_add_test(tc, cancel_from_another_thread_ends_next_and_the_handler);
    tcase_add_test(tc, freeing_an_open_stream_ends_the_handler);
    tcase_add_test(tc, closure_blocks_while_nobody_reads);
    tcase_add_test(tc, streams_over_the_limit_are_refused_and_unary_goes_on);
    tcase_add_test(tc, wake_reaches_waiting_streams);
    tcase_add_test(tc, bidirectional_answers_each_message);
    tcase_add_test(tc, bidirectional_client_that_vanishes_frees_the_call);
    tcase_add_test(tc, client_streaming_answers_once);
    tcase_add_test(tc, oversized_message_in_a_stream_ends_it);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

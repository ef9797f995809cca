/* Calls at the same time: threads on one channel, asynchronous calls, a full server, a queue, a restart. */
#include "base/clock.h"
#include "tests/support/echo_server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
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

struct caller {
    pthread_t thread;
    struct rpc_channel *channel;
    int number, good;
};

static void *call_many(void *argument)
{
    struct caller *caller = argument;
    for (int i = 0; i < 200; i++) {
        char text[32];
        snprintf(text, sizeof text, "%d/%d", caller->number, i);
        echo_response *response = NULL;
        struct err e = {0};
        if (echo_say(caller->channel, &ECHO_REQUEST(text), NULL, &response, &e) != ERR_OK)
            continue;
        caller->good += strcmp(response->text, text) == 0;
        echo_free(response);
    }
    return NULL;
}

START_TEST(sixteen_threads_share_a_channel)
{
    struct caller callers[16] = {0};
    for (int i = 0; i < 16; i++) {
        callers[i].channel = echo.channel;
        callers[i].number = i;
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, call_many, &callers[i]), 0);
    }
    for (int i = 0; i < 16; i++) {
        pthread_join(callers[i].thread, NULL);
        ck_assert_int_eq(callers[i].good, 200);
    }
    ck_assert_uint_eq(rpc_server_counts(echo.server).ok, 3200);
}
END_TEST

struct tally {
    atomic_int answers, failures;
    atomic_int last_class;
};

static void tally_done(void *context, const ProtobufCMessage *response, const struct err *e)
{
    struct tally *tally = context;
    if (e != NULL)
        atomic_store(&tally->last_class, (int)e->code);
    atomic_fetch_add(response != NULL ? &tally->answers : &tally->failures, 1);
}

static void start_say(struct tally *tally, const echo_request *request,
                      const struct rpc_call_options *options)
{
    struct err e = {0};
    ck_assert_ok(rpc_unary_start(echo.channel, &posward__test__v1__echo__descriptor, "Say", &request->base,
                                 options, tally_done, tally, &e),
                 e);
}

static void wait_for(atomic_int *number, int least)
{
    for (int i = 0; i < 1000 && atomic_load(number) < least; i++)
        clock_sleep_ms(5);
    ck_assert_int_ge(atomic_load(number), least);
}

START_TEST(async_calls_answer_each)
{
    struct tally tally = {0};
    for (int i = 0; i < 500; i++)
        start_say(&tally, &ECHO_REQUEST("a", .fail_class = i % 5 == 0 ? ERR_DENIED : 0), NULL);
    wait_for(&tally.answers, 400);
    wait_for(&tally.failures, 100);
    ck_assert_int_eq(atomic_load(&tally.last_class), ERR_DENIED);
}
END_TEST

START_TEST(channel_free_waits_for_calls)
{
    struct tally tally = {0};
    start_say(&tally, &ECHO_REQUEST("a", .delay_ms = 200), NULL);
    rpc_channel_free(echo.channel);
    echo.channel = NULL;
    ck_assert_int_eq(atomic_load(&tally.answers), 1);
}
END_TEST

START_TEST(calls_over_the_limit_are_refused_at_once)
{
    echo_stop(&echo);
    struct rpc_server_options options = echo_options();
    options.max_in_flight = 3;
    options.worker_count = 2;
    echo_start(&echo, &options);
    struct tally tally = {0};
    for (int i = 0; i < 3; i++)
        start_say(&tally, &ECHO_REQUEST("a", .delay_ms = 1000), NULL);
    wait_for(&echo.said, 2);
    clock_sleep_ms(50);
    struct err e = {0};
    const int64_t before_ms = clock_monotonic_ms();
    ck_assert_int_eq(echo_say(echo.channel, &ECHO_REQUEST("one more"), NULL, NULL, &e), ERR_LIMIT);
    ck_assert_int_lt(clock_monotonic_ms() - before_ms, 700);
    ck_assert_ptr_nonnull(strstr(e.note, "max_in_flight"));
    ck_assert_uint_eq(rpc_server_counts(echo.server).in_flight, 3);
    wait_for(&tally.answers, 3);
    ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("again"), NULL, NULL, &e), e);
}
END_TEST

START_TEST(calls_whose_deadline_passed_in_the_queue_do_not_run)
{
    echo_stop(&echo);
    struct rpc_server_options options = echo_options();
    options.worker_count = 1;
    echo_start(&echo, &options);
    struct tally tally = {0};
    start_say(&tally, &ECHO_REQUEST("first", .delay_ms = 300), NULL);
    wait_for(&echo.said, 1);
    for (int i = 0; i < 5; i++)
        start_say(&tally, &ECHO_REQUEST("late"), &(struct rpc_call_options){.timeout_ms = 100});
    wait_for(&tally.failures, 5);
    wait_for(&tally.answers, 1);
    struct err e = {0};
    ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("last"), NULL, NULL, &e), e);
    ck_assert_int_eq(atomic_load(&echo.said), 2);
}
END_TEST

/* A call and its cancellation: a unary method opened as a stream. */
START_TEST(calls_cancelled_in_the_queue_do_not_run)
{
    echo_stop(&echo);
    struct rpc_server_options options = echo_options();
    options.worker_count = 1;
    echo_start(&echo, &options);
    struct tally tally = {0};
    start_say(&tally, &ECHO_REQUEST("first", .delay_ms = 300), NULL);
    wait_for(&echo.said, 1);
    struct err e = {0};
    struct rpc_stream *stream = NULL;
    ck_assert_ok(rpc_stream_open(echo.channel, &posward__test__v1__echo__descriptor, "Say",
                                 &ECHO_REQUEST("x").base, NULL, &stream, &e),
                 e);
    clock_sleep_ms(100);
    rpc_stream_free(stream);
    wait_for(&tally.answers, 1);
    ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("last"), NULL, NULL, &e), e);
    ck_assert_int_eq(atomic_load(&echo.said), 2);
}
END_TEST

START_TEST(idempotent_call_outlives_a_restart)
{
    const int port = rpc_server_port(echo.server);
    struct rpc_channel *channel = echo_channel(port);
    struct err e = {0};
    ck_assert_ok(echo_say(channel, &ECHO_REQUEST("x"), NULL, NULL, &e), e);
    echo_stop(&echo);
    ck_assert_int_eq(echo_say(channel, &ECHO_REQUEST("x"), NULL, NULL, &e), ERR_UNAVAILABLE);
    ck_assert_int_eq(echo_say(channel, &ECHO_REQUEST("x"),
                              &(struct rpc_call_options){.idempotent = true, .timeout_ms = 300}, NULL, &e),
                     ERR_UNAVAILABLE);

    struct tally tally = {0};
    const struct rpc_call_options options = {.idempotent = true, .timeout_ms = 10000};
    ck_assert_ok(rpc_unary_start(channel, &posward__test__v1__echo__descriptor, "Say",
                                 &ECHO_REQUEST("x").base, &options, tally_done, &tally, &e),
                 e);
    clock_sleep_ms(700);
    char listen[32];
    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    struct rpc_server_options again = echo_options();
    again.listen = listen;
    echo_start(&echo, &again);
    const int64_t before_ms = clock_monotonic_ms();
    wait_for(&tally.answers, 1);
    ck_assert_int_lt(clock_monotonic_ms() - before_ms, 2500);
    ck_assert_int_eq(atomic_load(&tally.failures), 0);
    rpc_channel_free(channel);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("concurrent");
    TCase *tc = tcase_create("concurrent");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, sixteen_threads_share_a_channel);
    tcase_add_test(tc, async_calls_answer_each);
    tcase_add_test(tc, channel_free_waits_for_calls);
    tcase_add_test(tc, calls_over_the_limit_are_refused_at_once);
    tcase_add_test(tc, calls_whose_deadline_passed_in_the_queue_do_not_run);
    tcase_add_test(tc, calls_cancelled_in_the_queue_do_not_run);
    tcase_add_test(tc, idempotent_call_outlives_a_restart);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

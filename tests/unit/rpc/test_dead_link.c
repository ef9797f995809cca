/* Connections that die without a FIN: found by pings, and left after a deadline; a slow handler costs
 * nothing. */
#include "base/clock.h"
#include "tests/support/echo_descriptors.h"
#include "tests/support/echo_server.h"
#include "tests/support/valve.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define SOON_MS  20000 /* longer than any machine needs, and much less than core's own 40 s of before */
#define TRIAL_MS 1100  /* a connection this old may be replaced */

static struct echo echo;
static struct valve *valve;

static void start(void)
{
    echo_start(&echo, NULL);
    valve = valve_open(rpc_server_port(echo.server));
}

static void stop(void)
{
    valve_close(valve);
    echo_stop(&echo);
}

/* Through the valve. `foreign`: pinged so rarely that the pings of 30 s decide nothing here. */
static struct rpc_channel *dial(bool foreign)
{
    char target[32];
    snprintf(target, sizeof target, "127.0.0.1:%d", valve_port(valve));
    const struct rpc_channel_options options = {.target = target,
                                                .tls.insecure = true,
                                                .foreign = foreign,
                                                .extra_descriptor_set = posward_test_descriptor_set,
                                                .extra_descriptor_set_len = posward_test_descriptor_set_len};
    struct rpc_channel *channel = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_channel_new(&options, &channel, &e), e);
    return channel;
}

static enum err_code say(struct rpc_channel *channel, int32_t delay_ms, int64_t timeout_ms)
{
    const struct rpc_call_options options = {.timeout_ms = timeout_ms, .idempotent = true};
    struct err e = {0};
    return echo_say(channel, &ECHO_REQUEST("x", .delay_ms = delay_ms), &options, NULL, &e);
}

static void must_say(struct rpc_channel *channel)
{
    ck_assert_int_eq(say(channel, 0, SOON_MS), ERR_OK);
}

static struct rpc_stream *talk_open(struct rpc_channel *channel)
{
    struct rpc_stream *stream = NULL;
    struct err e = {0};
    ck_assert_ok(
        rpc_stream_open(channel, &posward__test__v1__echo__descriptor, "Talk", NULL, NULL, &stream, &e), e);
    return stream;
}

static void talk(struct rpc_stream *stream)
{
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_stream_send(stream, &ECHO_REQUEST("x").base, &e), e);
    ck_assert_ok(rpc_stream_next(stream, SOON_MS, &message, &e), e);
    ck_assert_ptr_nonnull(message);
    protobuf_c_message_free_unpacked(message, NULL);
}

START_TEST(call_after_a_deadline_uses_a_new_connection)
{
    struct rpc_channel *const channel = dial(true);
    must_say(channel);
    clock_sleep_ms(TRIAL_MS);
    valve_lose(valve);
    ck_assert_int_eq(say(channel, 0, 500), ERR_TIMEOUT);
    must_say(channel);
    must_say(channel);
    ck_assert_uint_eq(valve_made(valve), 2);
    rpc_channel_free(channel);
}
END_TEST

START_TEST(silent_stream_ends_soon)
{
    struct rpc_channel *const channel = dial(false);
    struct rpc_stream *const stream = talk_open(channel);
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    talk(stream);
    valve_lose(valve);
    ck_assert_int_eq(rpc_stream_next(stream, SOON_MS, &message, &e), ERR_UNAVAILABLE);
    rpc_stream_free(stream);
    must_say(channel);
    rpc_channel_free(channel);
}
END_TEST

/* Pings go without calls too: the first call after a quiet night finds a live connection. */
START_TEST(idle_connection_is_given_up_soon)
{
    struct rpc_channel *const channel = dial(false);
    must_say(channel);
    ck_assert_uint_eq(valve_held(valve), 1);
    valve_lose(valve);
    for (int64_t until_ms = clock_monotonic_ms() + SOON_MS;
         valve_held(valve) > 0 && clock_monotonic_ms() < until_ms;)
        clock_sleep_ms(10);
    ck_assert_uint_eq(valve_held(valve), 0);
    must_say(channel);
    rpc_channel_free(channel);
}
END_TEST

START_TEST(quiet_connection_with_a_live_peer_stays)
{
    struct rpc_channel *const channel = dial(false);
    struct rpc_stream *const stream = talk_open(channel);
    talk(stream);
    clock_sleep_ms(9000); /* four pings: a server that took them for too many would end the connection */
    talk(stream);
    ck_assert_uint_eq(valve_made(valve), 1);
    ck_assert_uint_eq(valve_held(valve), 1);
    rpc_stream_free(stream);
    rpc_channel_free(channel);
}
END_TEST

struct slow_call {
    struct rpc_channel *channel;
    pthread_t thread;
    atomic_bool over;
    enum err_code code;
};

static void *call_slowly(void *context)
{
    struct slow_call *const slow = context;
    slow->code = say(slow->channel, 3000, 1500);
    atomic_store(&slow->over, true);
    return NULL;
}

START_TEST(connection_that_answers_others_survives_a_deadline)
{
    struct slow_call slow = {.channel = dial(true)};
    must_say(slow.channel);
    clock_sleep_ms(TRIAL_MS);
    ck_assert_int_eq(pthread_create(&slow.thread, NULL, call_slowly, &slow), 0);
    while (!atomic_load(&slow.over))
        must_say(slow.channel);
    pthread_join(slow.thread, NULL);
    ck_assert_int_eq(slow.code, ERR_TIMEOUT);
    must_say(slow.channel);
    ck_assert_uint_eq(valve_made(valve), 1);
    rpc_channel_free(slow.channel);
}
END_TEST

/* Nobody knows whether it lives: new calls go elsewhere, and what is under way on it is not hurt. */
START_TEST(calls_on_a_connection_that_was_left_go_on)
{
    struct rpc_channel *const channel = dial(true);
    struct rpc_stream *const stream = talk_open(channel);
    talk(stream);
    clock_sleep_ms(TRIAL_MS);
    ck_assert_int_eq(say(channel, 1500, 500), ERR_TIMEOUT);
    must_say(channel);
    ck_assert_uint_eq(valve_made(valve), 2);
    talk(stream);
    ck_assert_uint_eq(valve_held(valve), 2);
    rpc_stream_free(stream);
    must_say(channel);
    for (int64_t until_ms = clock_monotonic_ms() + SOON_MS;
         valve_held(valve) > 1 && clock_monotonic_ms() < until_ms;)
        clock_sleep_ms(10);
    ck_assert_uint_eq(valve_held(valve), 1);
    rpc_channel_free(channel);
}
END_TEST

/* Many calls at the same time, all past their deadline: one new connection, not one each. */
START_TEST(many_deadlines_make_one_connection)
{
    struct slow_call slow[8];
    struct rpc_channel *const channel = dial(true);
    must_say(channel);
    clock_sleep_ms(TRIAL_MS);
    valve_lose(valve);
    for (size_t i = 0; i < 8; i++) {
        slow[i] = (struct slow_call){.channel = channel};
        ck_assert_int_eq(pthread_create(&slow[i].thread, NULL, call_slowly, &slow[i]), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        pthread_join(slow[i].thread, NULL);
        ck_assert_int_eq(slow[i].code, ERR_TIMEOUT);
    }
    must_say(channel);
    ck_assert_uint_eq(valve_made(valve), 2);
    rpc_channel_free(channel);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("dead_link");
    TCase *tc = tcase_create("dead_link");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, call_after_a_deadline_uses_a_new_connection);
    tcase_add_test(tc, silent_stream_ends_soon);
    tcase_add_test(tc, idle_connection_is_given_up_soon);
    tcase_add_test(tc, quiet_connection_with_a_live_peer_stays);
    tcase_add_test(tc, connection_that_answers_others_survives_a_deadline);
    tcase_add_test(tc, calls_on_a_connection_that_was_left_go_on);
    tcase_add_test(tc, many_deadlines_make_one_connection);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

#include "base/clock.h"
#include "grpc/health/v1/health.pb-c.h"
#include "tests/support/echo_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

struct outcome {
    atomic_int ended;
    enum err_code code;
    struct err e;
};

static void note_outcome(void *context, const ProtobufCMessage *response, const struct err *e)
{
    struct outcome *outcome = context;
    outcome->code = response != NULL ? ERR_OK : e->code;
    if (e != NULL)
        outcome->e = *e;
    atomic_store(&outcome->ended, 1);
}

static void start_say(struct outcome *outcome, int delay_ms)
{
    struct err e = {0};
    const int before = atomic_load(&echo.said);
    ck_assert_ok(rpc_unary_start(echo.channel, ECHO_SERVICE, "Say",
                                 &ECHO_REQUEST("x", .delay_ms = delay_ms).base,
                                 &(struct rpc_call_options){.timeout_ms = 20000}, note_outcome, outcome, &e),
                 e);
    for (int i = 0; i < 1000 && atomic_load(&echo.said) == before; i++)
        clock_sleep_ms(5);
}

static void wait_outcome(struct outcome *outcome)
{
    for (int i = 0; i < 1000 && !atomic_load(&outcome->ended); i++)
        clock_sleep_ms(5);
    ck_assert_int_eq(atomic_load(&outcome->ended), 1);
}

START_TEST(call_in_flight_completes)
{
    struct outcome outcome = {0};
    start_say(&outcome, 400);
    rpc_server_drain(echo.server, 0, 5000);
    wait_outcome(&outcome);
    ck_assert_int_eq(outcome.code, ERR_OK);
}
END_TEST

START_TEST(call_that_outlasts_the_grace_is_cancelled)
{
    struct outcome outcome = {0};
    start_say(&outcome, 1000);
    const int64_t before_ms = clock_monotonic_ms();
    rpc_server_drain(echo.server, 0, 100);
    wait_outcome(&outcome);
    ck_assert_int_ne(outcome.code, ERR_OK);
    ck_assert_int_lt(clock_monotonic_ms() - before_ms, 3000);
}
END_TEST

START_TEST(idle_server_drains_soon)
{
    struct err e = {0};
    ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("x"), NULL, NULL, &e), e);
    const int64_t before_ms = clock_monotonic_ms();
    rpc_server_drain(echo.server, 0, 5000);
    ck_assert_int_lt(clock_monotonic_ms() - before_ms, 700);
    ck_assert_int_eq(echo_say(echo.channel, &ECHO_REQUEST("x"), NULL, NULL, &e), ERR_UNAVAILABLE);
}
END_TEST

START_TEST(open_stream_ends_as_unavailable)
{
    struct rpc_stream *stream = NULL;
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_stream_open(echo.channel, ECHO_SERVICE, "Count",
                                 &ECHO_REQUEST("x", .delay_ms = 30000).base, NULL, &stream, &e),
                 e);
    ck_assert_ok(rpc_stream_next(stream, 5000, &message, &e), e);
    protobuf_c_message_free_unpacked(message, NULL);
    const int64_t before_ms = clock_monotonic_ms();
    rpc_server_drain(echo.server, 0, 5000);
    ck_assert_int_lt(clock_monotonic_ms() - before_ms, 1000);
    enum err_code code = ERR_OK;
    /* The change of health wakes the handler too, so one more message may have been sent. */
    while ((code = rpc_stream_next(stream, 5000, &message, &e)) == ERR_OK && message != NULL)
        protobuf_c_message_free_unpacked(message, NULL);
    ck_assert_int_eq(code, ERR_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(e.note, "going down"));
    rpc_stream_free(stream);
}
END_TEST

static void *drain_slowly(void *server)
{
    rpc_server_drain(server, 500, 2000);
    return NULL;
}

START_TEST(lame_duck_serves_and_says_not_serving)
{
    struct rpc_stream *watch = NULL;
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    const Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    ck_assert_ok(rpc_stream_open(echo.channel, &grpc__health__v1__health__descriptor, "Watch", &request.base,
                                 NULL, &watch, &e),
                 e);
    ck_assert_ok(rpc_stream_next(watch, 5000, &message, &e), e);
    ck_assert_int_eq(((Grpc__Health__V1__HealthCheckResponse *)message)->status, 1);
    protobuf_c_message_free_unpacked(message, NULL);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, drain_slowly, echo.server), 0);
    ck_assert_ok(rpc_stream_next(watch, 5000, &message, &e), e);
    ck_assert_int_eq(((Grpc__Health__V1__HealthCheckResponse *)message)->status, 2);
    protobuf_c_message_free_unpacked(message, NULL);
    ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("x"), NULL, NULL, &e), e);
    ck_assert_int_eq(rpc_stream_next(watch, 5000, &message, &e), ERR_UNAVAILABLE);
    pthread_join(thread, NULL);
    rpc_stream_free(watch);
}
END_TEST

struct hammer {
    pthread_t thread;
    struct rpc_channel *channel;
    atomic_bool over;
    int good, unavailable, other;
};

static void *hammer_main(void *argument)
{
    struct hammer *hammer = argument;
    while (!atomic_load(&hammer->over)) {
        struct err e = {0};
        const enum err_code code = echo_say(hammer->channel, &ECHO_REQUEST("x"), NULL, NULL, &e);
        hammer->good += code == ERR_OK;
        hammer->unavailable += code == ERR_UNAVAILABLE;
        hammer->other += code != ERR_OK && code != ERR_UNAVAILABLE;
        if (code != ERR_OK)
            clock_sleep_ms(1);
    }
    return NULL;
}

START_TEST(drain_under_load_loses_no_accepted_call)
{
    struct hammer hammers[4] = {0};
    for (int i = 0; i < 4; i++) {
        hammers[i].channel = echo.channel;
        ck_assert_int_eq(pthread_create(&hammers[i].thread, NULL, hammer_main, &hammers[i]), 0);
    }
    clock_sleep_ms(200);
    rpc_server_drain(echo.server, 0, 5000);
    int good = 0, other = 0;
    for (int i = 0; i < 4; i++) {
        atomic_store(&hammers[i].over, true);
        pthread_join(hammers[i].thread, NULL);
        good += hammers[i].good;
        other += hammers[i].other;
    }
    ck_assert_int_gt(good, 0);
    /* Without a lame duck, core cancels a call or two that it had not handed over yet. */
    ck_assert_int_le(other, 8);
    ck_assert_uint_eq(rpc_server_counts(echo.server).in_flight, 0);
    ck_assert_uint_ge(rpc_server_counts(echo.server).ok, (uint64_t)good);
}
END_TEST

START_TEST(silent_connections_do_not_hold_the_drain)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    int sockets[2];
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)rpc_server_port(echo.server)),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
        ck_assert_int_eq(connect(sockets[i], (struct sockaddr *)&to, sizeof to), 0);
        if (i == 1)
            ck_assert_int_eq(write(sockets[i], preface, sizeof preface), sizeof preface);
    }
    clock_sleep_ms(100);
    const int64_t before_ms = clock_monotonic_ms();
    rpc_server_drain(echo.server, 0, 5000);
    ck_assert_int_lt(clock_monotonic_ms() - before_ms, 1500);
    close(sockets[0]);
    close(sockets[1]);
}
END_TEST

START_TEST(two_servers_and_one_drains_without_a_failed_call)
{
    struct echo second;
    echo_start(&second, NULL);
    char target[64];
    snprintf(target, sizeof target, "127.0.0.1:%d,127.0.0.1:%d", rpc_server_port(echo.server),
             rpc_server_port(second.server));
    const struct rpc_channel_options options = {.target = target, .tls.insecure = true};
    struct rpc_channel *channel = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_channel_new(&options, &channel, &e), e);
    const struct rpc_call_options again = {.idempotent = true};
    for (int i = 0; i < 200; i++) {
        ck_assert_ok(echo_say(channel, &ECHO_REQUEST("x"), &again, NULL, &e), e);
        clock_sleep_ms(1);
    }
    ck_assert_int_gt(atomic_load(&echo.said), 20);
    ck_assert_int_gt(atomic_load(&second.said), 20);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, drain_slowly, second.server), 0);
    for (int i = 0; i < 500; i++) {
        ck_assert_ok(echo_say(channel, &ECHO_REQUEST("x"), &again, NULL, &e), e);
        clock_sleep_ms(2);
    }
    pthread_join(thread, NULL);
    const int said = atomic_load(&second.said);
    for (int i = 0; i < 20; i++)
        ck_assert_ok(echo_say(channel, &ECHO_REQUEST("x"), NULL, NULL, &e), e);
    ck_assert_int_eq(atomic_load(&second.said), said);
    rpc_channel_free(channel);
    echo_stop(&second);
}
END_TEST

START_TEST(server_is_freed_without_start_and_without_drain)
{
    struct rpc_server_options options = echo_options();
    struct rpc_server *server = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_server_new(&options, &server, &e), e);
    rpc_server_free(server);
    ck_assert_ok(rpc_server_new(&options, &server, &e), e);
    ck_assert_ok(rpc_server_start(server, &e), e);
    ck_assert_int_gt(rpc_server_port(server), 0);
    rpc_server_free(server);
    rpc_server_free(NULL);
}
END_TEST

START_TEST(taken_port_is_an_error)
{
    char listen[32];
    snprintf(listen, sizeof listen, "127.0.0.1:%d", rpc_server_port(echo.server));
    struct rpc_server_options options = echo_options();
    options.listen = listen;
    struct rpc_server *server = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_server_new(&options, &server, &e), e);
    ck_assert_int_eq(rpc_server_start(server, &e), ERR_IO);
    ck_assert_ptr_nonnull(strstr(e.note, listen));
    rpc_server_free(server);
}
END_TEST

START_TEST(unknown_service_and_double_service_are_refused)
{
    struct rpc_server_options options = echo_options();
    options.extra_descriptor_set = NULL;
    struct rpc_server *server = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_server_new(&options, &server, &e), e);
    ck_assert_int_eq(rpc_server_add(server, &echo.service.base, &e), ERR_NOT_FOUND);
    rpc_server_free(server);
    options = echo_options();
    ck_assert_ok(rpc_server_new(&options, &server, &e), e);
    ck_assert_ok(rpc_server_add(server, &echo.service.base, &e), e);
    ck_assert_ok(rpc_server_add(server, &echo.service.base, &e), e);
    ck_assert_int_eq(rpc_server_start(server, &e), ERR_EXISTS);
    rpc_server_free(server);
    options.extra_descriptor_set_len = 17;
    ck_assert_int_eq(rpc_server_new(&options, &server, &e), ERR_INPUT);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("drain");
    TCase *tc = tcase_create("drain");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, call_in_flight_completes);
    tcase_add_test(tc, call_that_outlasts_the_grace_is_cancelled);
    tcase_add_test(tc, idle_server_drains_soon);
    tcase_add_test(tc, open_stream_ends_as_unavailable);
    tcase_add_test(tc, lame_duck_serves_and_says_not_serving);
    tcase_add_test(tc, drain_under_load_loses_no_accepted_call);
    tcase_add_test(tc, silent_connections_do_not_hold_the_drain);
    tcase_add_test(tc, two_servers_and_one_drains_without_a_failed_call);
    tcase_add_test(tc, server_is_freed_without_start_and_without_drain);
    tcase_add_test(tc, taken_port_is_an_error);
    tcase_add_test(tc, unknown_service_and_double_service_are_refused);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

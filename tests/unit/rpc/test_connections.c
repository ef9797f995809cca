/* More connections than are allowed: who has a call stays, and others still come in. */
#include "base/clock.h"
#include "tests/support/echo_server.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT  16
#define SILENT 60

static const struct host {
    const char *listen, *name;
    int family;
} hosts[] = {{"127.0.0.1:0", "127.0.0.1", AF_INET}, {"[::1]:0", "[::1]", AF_INET6}};

static struct echo echo;

static struct rpc_channel *channel_to(const struct host *host)
{
    char target[64];
    struct rpc_channel *channel = NULL;
    struct err e = {0};
    snprintf(target, sizeof target, "%s:%d", host->name, rpc_server_port(echo.server));
    const struct rpc_channel_options options = {.target = target, .tls.insecure = true};
    ck_assert_ok(rpc_channel_new(&options, &channel, &e), e);
    return channel;
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
    ProtobufCMessage *answer = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_stream_send(stream, &ECHO_REQUEST("x").base, &e), e);
    ck_assert_ok(rpc_stream_next(stream, 20000, &answer, &e), e);
    protobuf_c_message_free_unpacked(answer, NULL);
}

static void connect_silently(const struct host *host, int fds[SILENT])
{
    const uint16_t port = htons((uint16_t)rpc_server_port(echo.server));
    const struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    for (int i = 0; i < SILENT; i++) {
        fds[i] = socket(host->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(host->family == AF_INET ? connect(fds[i], (const struct sockaddr *)&v4, sizeof v4)
                                                 : connect(fds[i], (const struct sockaddr *)&v6, sizeof v6),
                         0);
    }
}

static void wait_for_close(uint64_t most)
{
    struct rpc_server_counts counts = {0};
    for (int i = 0; i < 4000; i++) {
        counts = rpc_server_counts(echo.server);
        if (counts.closed_over > 0 && counts.connections > 0 && counts.connections <= most)
            return;
        clock_sleep_ms(5);
    }
    ck_abort_msg("%d connections, %d closed", (int)counts.connections, (int)counts.closed_over);
}

START_TEST(silent_connections_over_the_limit_are_closed_and_calls_go_on)
{
    const struct host *const host = &hosts[_i];
    struct rpc_server_options options = echo_options();
    int fds[SILENT];
    options.listen = host->listen;
    options.max_connections = LIMIT;
    echo_start(&echo, &options);
    struct rpc_channel *const early = channel_to(host);
    struct rpc_stream *const stream = talk_open(early);
    talk(stream);
    connect_silently(host, fds);
    wait_for_close(LIMIT);
    talk(stream);
    struct rpc_channel *const late = channel_to(host);
    struct err e = {0};
    ck_assert_ok(echo_say(late, &ECHO_REQUEST("x"), &(struct rpc_call_options){.idempotent = true}, NULL, &e),
                 e);
    talk(stream);
    rpc_channel_free(late);
    rpc_stream_free(stream);
    rpc_channel_free(early);
    for (int i = 0; i < SILENT; i++)
        close(fds[i]);
    echo_stop(&echo);
}
END_TEST

START_TEST(one_caller_does_not_fill_the_limit)
{
    struct rpc_server_options options = echo_options();
    struct rpc_channel *many[2 * LIMIT];
    struct err e = {0};
    options.max_connections = LIMIT;
    echo_start(&echo, &options);
    for (size_t i = 0; i < 2 * LIMIT; i++) {
        many[i] = echo_channel(rpc_server_port(echo.server));
        ck_assert_ok(
            echo_say(many[i], &ECHO_REQUEST("x"), &(struct rpc_call_options){.idempotent = true}, NULL, &e),
            e);
    }
    wait_for_close(LIMIT);
    struct rpc_channel *const late = echo_channel(rpc_server_port(echo.server));
    ck_assert_ok(echo_say(late, &ECHO_REQUEST("x"), &(struct rpc_call_options){.idempotent = true}, NULL, &e),
                 e);
    rpc_channel_free(late);
    for (size_t i = 0; i < 2 * LIMIT; i++)
        rpc_channel_free(many[i]);
    echo_stop(&echo);
}
END_TEST

START_TEST(messages_that_are_too_large_are_no_flood)
{
    struct rpc_server_options options = echo_options();
    char *const large = malloc(512 * 1024);
    options.max_message_bytes = 64 * 1024;
    echo_start(&echo, &options);
    memset(large, 'x', 512 * 1024 - 1);
    large[512 * 1024 - 1] = '\0';
    for (int i = 0; i < 3; i++) {
        struct err e = {0};
        ck_assert_int_eq(echo_say(echo.channel, &ECHO_REQUEST(large), NULL, NULL, &e), ERR_LIMIT);
        clock_sleep_ms(600); /* two looks */
        ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("x"), NULL, NULL, &e), e);
    }
    ck_assert_uint_eq(rpc_server_counts(echo.server).closed_floods, 0);
    free(large);
    echo_stop(&echo);
}
END_TEST

/* Requests that come faster than they are answered are work, however much they are. */
START_TEST(many_large_requests_are_no_flood)
{
    struct rpc_server_options options = echo_options();
    const int64_t until_ms = clock_monotonic_ms() + 1500;
    char text[60000];
    options.max_message_bytes = 64 * 1024;
    echo_start(&echo, &options);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct rpc_stream *stream = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_stream_open(echo.channel, &posward__test__v1__echo__descriptor, "Gather", NULL, NULL,
                                 &stream, &e),
                 e);
    while (clock_monotonic_ms() < until_ms)
        ck_assert_ok(rpc_stream_send(stream, &ECHO_REQUEST(text).base, &e), e);
    ck_assert_uint_eq(rpc_server_counts(echo.server).closed_floods, 0);
    rpc_stream_free(stream);
    echo_stop(&echo);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("connections");
    TCase *tc = tcase_create("limit");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, silent_connections_over_the_limit_are_closed_and_calls_go_on, 0,
                        sizeof hosts / sizeof hosts[0]);
    tcase_add_test(tc, one_caller_does_not_fill_the_limit);
    tcase_add_test(tc, messages_that_are_too_large_are_no_flood);
    tcase_add_test(tc, many_large_requests_are_no_flood);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

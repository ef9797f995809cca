#include "base/clock.h"
#include "grpc/health/v1/health.pb-c.h"
#include "tests/support/echo_server.h"

#include <string.h>

#define SERVING         GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

static struct echo echo;

static enum err_code nobody(void *context, const struct rpc_peer *peer, const char *path, struct err *e)
{
    (void)context, (void)peer, (void)path;
    return err_set(e, ERR_DENIED, "nobody may call");
}

/* Health answers even where nobody is allowed to call anything. */
static void start(void)
{
    struct rpc_server_options options = echo_options();
    options.authorise = nobody;
    echo_start(&echo, &options);
}

static void stop(void)
{
    echo_stop(&echo);
}

static enum err_code check(const char *service, int *out_status, struct err *e)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)service;
    ProtobufCMessage *response = NULL;
    TRY(rpc_unary(echo.channel, &grpc__health__v1__health__descriptor, "Check", &request.base, NULL,
                  &response, e));
    *out_status = (int)((Grpc__Health__V1__HealthCheckResponse *)response)->status;
    protobuf_c_message_free_unpacked(response, NULL);
    return ERR_OK;
}

START_TEST(check_tells_of_server_and_services)
{
    int status = 0;
    struct err e = {0};
    ck_assert_ok(check("", &status, &e), e);
    ck_assert_int_eq(status, SERVING);
    ck_assert_ok(check("posward.test.v1.Echo", &status, &e), e);
    ck_assert_int_eq(status, SERVING);
    ck_assert_int_eq(check("posward.test.v1.Ech", &status, &e), ERR_NOT_FOUND);
    rpc_server_set_serving(echo.server, false);
    ck_assert_ok(check("posward.test.v1.Echo", &status, &e), e);
    ck_assert_int_eq(status, NOT_SERVING);
    ck_assert_int_eq(echo_say(echo.channel, &ECHO_REQUEST("x"), NULL, NULL, &e), ERR_DENIED);
}
END_TEST

static struct rpc_stream *watch(const char *service)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)service;
    struct rpc_stream *stream = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_stream_open(echo.channel, &grpc__health__v1__health__descriptor, "Watch", &request.base,
                                 NULL, &stream, &e),
                 e);
    return stream;
}

static int next_status(struct rpc_stream *stream)
{
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_stream_next(stream, 5000, &message, &e), e);
    ck_assert_ptr_nonnull(message);
    const int status = (int)((Grpc__Health__V1__HealthCheckResponse *)message)->status;
    protobuf_c_message_free_unpacked(message, NULL);
    return status;
}

START_TEST(watch_tells_of_changes_only)
{
    struct rpc_stream *stream = watch("");
    ck_assert_int_eq(next_status(stream), SERVING);
    rpc_server_set_serving(echo.server, true);
    rpc_server_set_serving(echo.server, false);
    ck_assert_int_eq(next_status(stream), NOT_SERVING);
    rpc_server_set_serving(echo.server, true);
    ck_assert_int_eq(next_status(stream), SERVING);
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_int_eq(rpc_stream_next(stream, 100, &message, &e), ERR_TIMEOUT);
    rpc_stream_free(stream);
}
END_TEST

START_TEST(watch_of_an_unknown_service_stays_open)
{
    struct rpc_stream *stream = watch("no.such.Service");
    ck_assert_int_eq(next_status(stream), SERVICE_UNKNOWN);
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_int_eq(rpc_stream_next(stream, 100, &message, &e), ERR_TIMEOUT);
    rpc_stream_free(stream);
}
END_TEST

START_TEST(watchers_take_no_slots)
{
    struct rpc_stream *streams[100];
    for (int i = 0; i < 100; i++) {
        streams[i] = watch("");
        ck_assert_int_eq(next_status(streams[i]), SERVING);
    }
    ck_assert_uint_eq(rpc_server_counts(echo.server).in_flight, 0);
    for (int i = 0; i < 100; i++)
        rpc_stream_free(streams[i]);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("health");
    TCase *tc = tcase_create("health");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, check_tells_of_server_and_services);
    tcase_add_test(tc, watch_tells_of_changes_only);
    tcase_add_test(tc, watch_of_an_unknown_service_stays_open);
    tcase_add_test(tc, watchers_take_no_slots);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

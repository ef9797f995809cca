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

struct heard {
    int messages, ends;
    char text[64];
};

static void hear(const echo_response *response, void *closure_data)
{
    struct heard *heard = closure_data;
    if (response == NULL) {
        heard->ends++;
        return;
    }
    heard->messages++;
    strncpy(heard->text, response->text, sizeof heard->text - 1);
}

START_TEST(stub_calls_unary)
{
    ProtobufCService *client = rpc_client_new(echo.channel, &posward__test__v1__echo__descriptor, NULL);
    struct heard heard = {0};
    posward__test__v1__echo__say(client, &ECHO_REQUEST("stub"), hear, &heard);
    ck_assert_int_eq(heard.messages, 1);
    ck_assert_int_eq(heard.ends, 0);
    ck_assert_str_eq(heard.text, "stub");
    ck_assert_int_eq(rpc_client_error(client)->code, ERR_OK);
    protobuf_c_service_destroy(client);
}
END_TEST

START_TEST(stub_tells_of_failure)
{
    ProtobufCService *client = rpc_client_new(echo.channel, &posward__test__v1__echo__descriptor, NULL);
    struct heard heard = {0};
    posward__test__v1__echo__say(client, &ECHO_REQUEST("no", .fail_class = ERR_CHECK), hear, &heard);
    ck_assert_int_eq(heard.messages, 0);
    ck_assert_int_eq(heard.ends, 1);
    ck_assert_int_eq(rpc_client_error(client)->code, ERR_CHECK);
    ck_assert_str_eq(rpc_client_error(client)->note, "no");
    posward__test__v1__echo__say(client, &ECHO_REQUEST("yes"), hear, &heard);
    ck_assert_int_eq(rpc_client_error(client)->code, ERR_OK);
    protobuf_c_service_destroy(client);
}
END_TEST

START_TEST(stub_reads_a_stream)
{
    ProtobufCService *client = rpc_client_new(echo.channel, &posward__test__v1__echo__descriptor, NULL);
    struct heard heard = {0};
    posward__test__v1__echo__count(client, &ECHO_REQUEST("s", .count = 7), hear, &heard);
    ck_assert_int_eq(heard.messages, 7);
    ck_assert_int_eq(heard.ends, 1);
    ck_assert_int_eq(rpc_client_error(client)->code, ERR_OK);
    heard = (struct heard){0};
    posward__test__v1__echo__count(client, &ECHO_REQUEST("s", .count = 2, .fail_class = ERR_LIMIT), hear,
                                   &heard);
    ck_assert_int_eq(heard.messages, 2);
    ck_assert_int_eq(heard.ends, 1);
    ck_assert_int_eq(rpc_client_error(client)->code, ERR_LIMIT);
    posward__test__v1__echo__talk(client, &ECHO_REQUEST("s"), hear, &heard);
    ck_assert_int_eq(rpc_client_error(client)->code, ERR_UNSUPPORTED);
    protobuf_c_service_destroy(client);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("stub");
    TCase *tc = tcase_create("stub");
    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, stub_calls_unary);
    tcase_add_test(tc, stub_tells_of_failure);
    tcase_add_test(tc, stub_reads_a_stream);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

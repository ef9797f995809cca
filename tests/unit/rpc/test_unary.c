#include "base/clock.h"
#include "tests/unit/rpc/echo_server.h"

#include <pthread.h>
#include <string.h>

START_TEST(unary_answers)
{
    struct echo echo;
    echo_start(&echo, NULL);
    echo_response *response = NULL;
    struct err e = {0};
    ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("hello"), NULL, &response, &e), e);
    ck_assert_str_eq(response->text, "hello");
    ck_assert_str_eq(response->identity, "");
    ck_assert_int_gt(response->left_ms, 3000);
    echo_free(response);
    echo_stop(&echo);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("unary");
    TCase *tc = tcase_create("unary");
    tcase_add_test(tc, unary_answers);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

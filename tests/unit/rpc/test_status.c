#include "rpc/status.h"

#include "tests/support/suite.h"

START_TEST(class_survives_the_wire)
{
    for (int class = ERR_OK; class < ERR_CODE_COUNT; class ++) {
        const enum err_code back = rpc_status_class(rpc_status_of((enum err_code) class));
        ck_assert_int_eq(back, class == ERR_IO ? ERR_INTERNAL : class);
    }
}
END_TEST

START_TEST(numbers_out_of_range_are_internal)
{
    ck_assert_int_eq(rpc_status_class(17), ERR_INTERNAL);
    ck_assert_int_eq(rpc_status_class(-1), ERR_INTERNAL);
    ck_assert_int_eq(rpc_status_of((enum err_code)99), 13);
    ck_assert_str_eq(rpc_status_name(99), "UNKNOWN");
    ck_assert_str_eq(rpc_status_name(3), "INVALID_ARGUMENT");
    ck_assert_str_eq(rpc_status_name(16), "UNAUTHENTICATED");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("status");
    TCase *tc = tcase_create("status");
    tcase_add_test(tc, class_survives_the_wire);
    tcase_add_test(tc, numbers_out_of_range_are_internal);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

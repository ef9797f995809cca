#include "hsm-service/components.h"

#include "base/hex.h"
#include "tests/support/suite.h"

#include <string.h>

#define ONE "0123456789ABCDEFFEDCBA9876543210"
#define TWO "11111111222222223333333344444444"

static enum err_code add(struct components *c, const char *text, bool odd, struct err *e)
{
    AUTO(secret) line = {0};
    TRY(secret_init_copy(&line, text, strlen(text), e));
    return components_add(c, &line, odd, e);
}

START_TEST(exclusive_or_is_the_key)
{
    AUTO(components) c = {.key_bytes = 16};
    AUTO(secret) key = {0};
    struct err e = {0};
    uint8_t expected[16];
    ck_assert_ok(add(&c, ONE, false, &e), e);
    ck_assert_ok(add(&c, "1111 1111 2222 2222 3333 3333 4444 4444", false, &e), e);
    ck_assert_ok(components_combine(&c, &key, &e), e);
    ck_assert_ok(hex_decode("10325476AB89EFCDCDEF89AB32107654", 32, expected, &e), e);
    ck_assert_uint_eq(key.len, 16);
    ck_assert(secret_equal(key.bytes, expected, 16));
}
END_TEST

static const char *const wrong[] = {"",
                                    "01",
                                    ONE "00",
                                    "0123456789ABCDEFFEDCBA987654321",
                                    "0123456789ABCDEFFEDCBA987654321G",
                                    "00000000000000000000000000000000",
                                    "0x0123456789ABCDEFFEDCBA98765432"};

START_TEST(a_wrong_component_is_refused_and_not_kept)
{
    AUTO(components) c = {.key_bytes = 16};
    struct err e = {0};
    ck_assert_int_eq(add(&c, wrong[_i], false, &e), ERR_INPUT);
    ck_assert_uint_eq(c.count, 0);
    ck_assert_ptr_null(strstr(e.note, "FEDCBA"));
}
END_TEST

START_TEST(parity_is_checked_when_asked_for)
{
    AUTO(components) c = {.key_bytes = 16};
    struct err e = {0};
    ck_assert_ok(add(&c, ONE, true, &e), e); /* odd throughout */
    ck_assert_int_eq(add(&c, TWO, true, &e), ERR_INPUT);
    ck_assert_ok(add(&c, TWO, false, &e), e);
}
END_TEST

START_TEST(one_component_is_too_few)
{
    AUTO(components) c = {.key_bytes = 16};
    AUTO(secret) key = {0};
    struct err e = {0};
    ck_assert_ok(add(&c, ONE, false, &e), e);
    ck_assert_int_eq(components_combine(&c, &key, &e), ERR_INPUT);
}
END_TEST

START_TEST(equal_components_are_refused)
{
    AUTO(components) c = {.key_bytes = 16};
    AUTO(secret) key = {0};
    struct err e = {0};
    ck_assert_ok(add(&c, ONE, false, &e), e);
    ck_assert_ok(add(&c, TWO, false, &e), e);
    ck_assert_ok(add(&c, "0123456789abcdeffedcba9876543210", false, &e), e);
    ck_assert_int_eq(components_combine(&c, &key, &e), ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(e.note, "1 and 3"));
}
END_TEST

START_TEST(components_that_cancel_are_refused)
{
    AUTO(components) c = {.key_bytes = 16};
    AUTO(secret) key = {0};
    struct err e = {0};
    ck_assert_ok(add(&c, ONE, false, &e), e);
    ck_assert_ok(add(&c, TWO, false, &e), e);
    ck_assert_ok(add(&c, "10325476AB89EFCDCDEF89AB32107654", false, &e), e);
    ck_assert_int_eq(components_combine(&c, &key, &e), ERR_INPUT);
    ck_assert_ptr_null(key.bytes);
}
END_TEST

START_TEST(there_is_a_most)
{
    AUTO(components) c = {.key_bytes = 16};
    struct err e = {0};
    for (int i = 0; i < COMPONENTS_MOST; i++)
        ck_assert_ok(add(&c, ONE, false, &e), e);
    ck_assert_int_eq(add(&c, ONE, false, &e), ERR_INPUT);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm components");
    TCase *t = tcase_create("components");
    tcase_add_test(t, exclusive_or_is_the_key);
    tcase_add_loop_test(t, a_wrong_component_is_refused_and_not_kept, 0, sizeof wrong / sizeof wrong[0]);
    tcase_add_test(t, parity_is_checked_when_asked_for);
    tcase_add_test(t, one_component_is_too_few);
    tcase_add_test(t, equal_components_are_refused);
    tcase_add_test(t, components_that_cancel_are_refused);
    tcase_add_test(t, there_is_a_most);
    suite_add_tcase(s, t);
    return s;
}

SUITE_MAIN(suite())

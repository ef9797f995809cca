#include "posv/page_token.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>

static const struct store_filter any = {.merchant_id = "", .terminal_prefix = ""};

static enum err_code read_token(const struct store_filter *filter, const char *token)
{
    char last[TERMINAL_ID_CHARS + 1];
    struct err e = {0};
    return page_token_read(filter, token, last, &e);
}

START_TEST(token_carries_the_last_terminal)
{
    char token[PAGE_TOKEN_CHARS + 1], last[TERMINAL_ID_CHARS + 1];
    struct err e = {0};
    page_token_make(&any, "A0000042", token);
    ck_assert_ok(page_token_read(&any, token, last, &e), e);
    ck_assert_str_eq(last, "A0000042");
}
END_TEST

START_TEST(no_token_is_the_first_page)
{
    char last[TERMINAL_ID_CHARS + 1] = "x";
    struct err e = {0};
    ck_assert_ok(page_token_read(&any, "", last, &e), e);
    ck_assert_str_eq(last, "");
}
END_TEST

START_TEST(token_of_other_filters_is_refused)
{
    static const struct store_filter others[] = {
        {.state = 1, .merchant_id = "", .terminal_prefix = ""},
        {.suite = 1, .merchant_id = "", .terminal_prefix = ""},
        {.merchant_id = "898100012345678", .terminal_prefix = ""},
        {.merchant_id = "", .terminal_prefix = "A"},
    };
    char token[PAGE_TOKEN_CHARS + 1];
    page_token_make(&any, "A0000042", token);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        ck_assert_int_eq(read_token(&others[i], token), ERR_INPUT);
}
END_TEST

START_TEST(token_cut_or_changed_anywhere_is_refused)
{
    char token[PAGE_TOKEN_CHARS + 1], wrong[PAGE_TOKEN_CHARS + 2];
    page_token_make(&any, "A0000042", token);
    for (size_t i = 1; i < PAGE_TOKEN_CHARS; i++) {
        memcpy(wrong, token, i);
        wrong[i] = '\0';
        ck_assert_int_eq(read_token(&any, wrong), ERR_INPUT);
    }
    for (size_t i = 0; i < PAGE_TOKEN_CHARS; i++) {
        memcpy(wrong, token, sizeof token);
        wrong[i] = wrong[i] == '5' ? '6' : '5';
        ck_assert_int_eq(read_token(&any, wrong), ERR_INPUT);
    }
    snprintf(wrong, sizeof wrong, "%s0", token);
    ck_assert_int_eq(read_token(&any, wrong), ERR_INPUT);
    ck_assert_int_eq(read_token(&any, "not hexadecimal at all!!!!"), ERR_INPUT);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("page_token");
    TCase *tc = tcase_create("page_token");
    tcase_add_test(tc, token_carries_the_last_terminal);
    tcase_add_test(tc, no_token_is_the_first_page);
    tcase_add_test(tc, token_of_other_filters_is_refused);
    tcase_add_test(tc, token_cut_or_changed_anywhere_is_refused);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

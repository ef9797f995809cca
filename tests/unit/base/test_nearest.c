#include "base/nearest.h"
#include "tests/support/suite.h"

#include <string.h>

static const struct {
    const char *word, *found;
} cases[] = {
    {"polciy", "policy"}, {"regster", "register"}, {"Policy", "policy"}, {"list", "list"},
    {"x", NULL},          {"qqqqqq", NULL},        {"", NULL},
};

START_TEST(nearest_finds_the_slip_and_nothing_else)
{
    static const char *const names[] = {"list", "policy", "register", "revoke"};
    struct nearest n = {.word = cases[_i].word};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        nearest_offer(&n, names[i]);
    if (cases[_i].found == NULL)
        ck_assert_ptr_null(nearest_found(&n));
    else
        ck_assert_str_eq(nearest_found(&n), cases[_i].found);
}
END_TEST

START_TEST(nearest_passes_over_long_names)
{
    char name[NEAREST_WORD_BYTES + 10];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    struct nearest n = {.word = name};
    nearest_offer(&n, "aaaa");
    ck_assert_ptr_null(nearest_found(&n));
    struct nearest m = {.word = "aaaa"};
    nearest_offer(&m, name);
    ck_assert_ptr_null(nearest_found(&m));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("nearest");
    TCase *tc = tcase_create("nearest");
    tcase_add_loop_test(tc, nearest_finds_the_slip_and_nothing_else, 0,
                        (int)(sizeof cases / sizeof cases[0]));
    tcase_add_test(tc, nearest_passes_over_long_names);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

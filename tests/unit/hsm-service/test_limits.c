/* How often: windows that slide, a table that forgets with care, buckets. */
#include "hsm-service/limits/limits.h"
#include "hsm-service/limits/window.h"
#include "tests/support/suite.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_MS (INT64_C(3600000) * 100) /* the start of a minute and of an hour */

static struct err e;
static struct limits *limits;

static void open_limits(struct limits_policy policy)
{
    ck_assert_ok(limits_new(&policy, NULL, 0, &limits, &e), e);
}

static void tear_down(void)
{
    limits_free(limits);
    limits = NULL;
}

static struct limits_digits digits(const char *text)
{
    return (struct limits_digits){text, strlen(text)};
}

static struct limits_verdict pin(const char *terminal, const char *account, int64_t now_ms)
{
    return limits_pin(limits, digits(terminal), digits(account), now_ms);
}

#define TERMINAL "62010000001234567890"
#define PAN      "6225758326736419"

START_TEST(account_is_stopped_at_its_count_through_any_terminal)
{
    open_limits((struct limits_policy){.account_per_minute = 5, .account_per_hour = 8});
    char terminal[21];
    for (unsigned i = 0; i < 5; i++) {
        snprintf(terminal, sizeof terminal, "%020u", i);
        ck_assert(!pin(terminal, PAN, START_MS).refused);
    }
    const struct limits_verdict v = pin("00000000000000000099", PAN, START_MS + 1000);
    ck_assert(v.refused);
    ck_assert_int_eq(v.kind, LIMITS_ACCOUNT);
    ck_assert(!pin(TERMINAL, "6225758326736427", START_MS + 1000).refused);
    ck_assert(pin(TERMINAL, PAN, START_MS + 1000 + v.retry_ms - 1).refused);
    ck_assert(!pin(TERMINAL, PAN, START_MS + 1000 + v.retry_ms).refused);
    ck_assert_uint_eq(limits_counts(limits).refused[LIMITS_ACCOUNT], 2);
}
END_TEST

START_TEST(terminal_is_stopped_at_its_count_whatever_the_account)
{
    open_limits(
        (struct limits_policy){.terminal_per_minute = 30, .terminal_per_hour = 40, .account_per_minute = 2});
    char pan[20];
    unsigned passed = 0;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(pan, sizeof pan, "62257583%08u", i);
        passed += !pin(TERMINAL, pan, START_MS + i).refused;
    }
    ck_assert_uint_eq(passed, 30);
    for (unsigned i = 0; i < 100; i++) { /* two minutes later the hour's count is what is left */
        snprintf(pan, sizeof pan, "62257584%08u", i);
        passed += !pin(TERMINAL, pan, START_MS + 120000 + i).refused;
    }
    ck_assert_uint_eq(passed, 40);
    const struct limits_verdict v = pin(TERMINAL, PAN, START_MS + 125000);
    ck_assert(v.refused && v.kind == LIMITS_TERMINAL && v.retry_ms > 3000000);
    ck_assert(!pin(TERMINAL, PAN, START_MS + 125000 + v.retry_ms).refused);
}
END_TEST

/* Whatever the moments, no stretch of a window's length passes more than the limit and what fades in. */
START_TEST(no_minute_passes_much_more_than_the_limit)
{
    open_limits((struct limits_policy){.terminal_per_minute = 20});
    int64_t passed[4096];
    size_t count = 0;
    srand(7);
    for (int64_t now_ms = START_MS + 31000; now_ms < START_MS + 900000; now_ms += rand() % 400)
        if (!pin(TERMINAL, "", now_ms).refused)
            passed[count++] = now_ms;
    size_t most = 0;
    for (size_t from = 0, to = 0; to < count; to++) {
        while (passed[to] - passed[from] >= WINDOW_MINUTE_MS)
            from++;
        most = to - from + 1 > most ? to - from + 1 : most;
    }
    ck_assert_uint_ge(count, 14 * 20);
    ck_assert_uint_le(most, 30); /* half as much again: the window before is taken as even */
}
END_TEST

START_TEST(retry_hint_is_exact)
{
    srand(1);
    for (int round = 0; round < 20000; round++) {
        const int64_t now_ms = START_MS + rand() % 200000;
        const unsigned limit = 1 + (unsigned)rand() % 30;
        struct window w = {.number = (uint32_t)(now_ms / WINDOW_MINUTE_MS),
                           .now = (uint16_t)(rand() % 40),
                           .before = (uint16_t)(rand() % 40)};
        const int64_t wait_ms = window_wait(&w, WINDOW_MINUTE_MS, limit, now_ms);
        struct window later = w, sooner = w;
        window_move(&later, WINDOW_MINUTE_MS, now_ms + wait_ms);
        ck_assert_int_eq(window_wait(&later, WINDOW_MINUTE_MS, limit, now_ms + wait_ms), 0);
        if (wait_ms == 0)
            continue;
        window_move(&sooner, WINDOW_MINUTE_MS, now_ms + wait_ms - 1);
        ck_assert_int_gt(window_wait(&sooner, WINDOW_MINUTE_MS, limit, now_ms + wait_ms - 1), 0);
    }
}
END_TEST

START_TEST(what_is_no_number_or_has_no_limit_passes)
{
    open_limits((struct limits_policy){.terminal_per_minute = 1, .account_per_minute = 1});
    for (int i = 0; i < 10; i++) {
        ck_assert(!pin("", "", START_MS).refused);
        ck_assert(!pin("x", "62257583x6736419", START_MS).refused);
        ck_assert(!pin("", "12345678901", START_MS).refused);
        ck_assert(!pin("", "123456789012345678901", START_MS).refused);
    }
    limits_set(limits, &(struct limits_policy){0});
    for (int i = 0; i < 10; i++)
        ck_assert(!pin(TERMINAL, PAN, START_MS).refused);
    limits_set(limits, &(struct limits_policy){.terminal_per_minute = 3});
    ck_assert_uint_eq(limits_get(limits).terminal_per_minute, 3);
    ck_assert(pin(TERMINAL, PAN, START_MS).refused); /* counts stayed */
    ck_assert(!limits_pin(NULL, digits(TERMINAL), digits(PAN), START_MS).refused);
}
END_TEST

START_TEST(undone_operation_does_not_count)
{
    open_limits((struct limits_policy){.terminal_per_minute = 2, .account_per_minute = 2});
    for (int i = 0; i < 50; i++) {
        ck_assert(!pin(TERMINAL, PAN, START_MS).refused);
        limits_pin_undone(limits, digits(TERMINAL), digits(PAN), START_MS);
    }
    ck_assert(!pin(TERMINAL, PAN, START_MS).refused);
    ck_assert(!pin(TERMINAL, PAN, START_MS).refused);
    ck_assert(pin(TERMINAL, PAN, START_MS).refused);
}
END_TEST

START_TEST(flood_of_numbers_does_not_wash_a_full_count_away)
{
    open_limits((struct limits_policy){.account_per_minute = 5, .account_per_hour = 20});
    char pan[20];
    for (int i = 0; i < 5; i++)
        ck_assert(!pin("", PAN, START_MS).refused);
    for (unsigned i = 0; i < 2 * LIMITS_ENTRIES; i++) {
        snprintf(pan, sizeof pan, "51%010u", i);
        ck_assert(!pin("", pan, START_MS).refused);
    }
    ck_assert(pin("", PAN, START_MS).refused);
    const struct limits_counts counts = limits_counts(limits);
    ck_assert_uint_le(counts.entries, LIMITS_ENTRIES);
    ck_assert_uint_gt(counts.forgotten, LIMITS_ENTRIES / 2);
}
END_TEST

START_TEST(stricter_of_two_policies_applies)
{
    const struct limits_policy a = {10, 0, 5, 0}, b = {20, 100, 3, 0};
    const struct limits_policy s = limits_stricter(&a, &b);
    ck_assert_uint_eq(s.terminal_per_minute, 10);
    ck_assert_uint_eq(s.terminal_per_hour, 100);
    ck_assert_uint_eq(s.account_per_minute, 3);
    ck_assert_uint_eq(s.account_per_hour, 0);
}
END_TEST

START_TEST(callers_have_buckets)
{
    const struct limits_quota quotas[] = {{"posp-a", 10, 20}, {"posp-b", 0, 0}, {"", 5, 0}};
    const struct limits_policy none = {0};
    ck_assert_ok(limits_new(&none, quotas, 3, &limits, &e), e);
    ck_assert(!limits_caller(limits, "posp-a", 20, START_MS).refused);
    const struct limits_verdict v = limits_caller(limits, "posp-a", 1, START_MS);
    ck_assert(v.refused && v.kind == LIMITS_CALLER);
    ck_assert_int_eq(v.retry_ms, 100);
    ck_assert(!limits_caller(limits, "posp-a", 1, START_MS + 100).refused);
    ck_assert(!limits_caller(limits, "posp-a", 20, START_MS + 10000).refused);
    ck_assert(!limits_caller(limits, "posp-b", 100000, START_MS).refused);
    ck_assert(!limits_caller(limits, "x", 3, START_MS).refused);
    ck_assert(!limits_caller(limits, "y", 2, START_MS).refused); /* the others share one */
    ck_assert(limits_caller(limits, "z", 1, START_MS).refused);
    ck_assert(
        !limits_caller(limits, "x", 256, START_MS + 60000).refused); /* a large batch, when all is full */
    ck_assert(limits_caller(limits, "x", 1, START_MS + 70000).refused);
}
END_TEST

START_TEST(account_has_a_name_that_is_not_its_number)
{
    char name[9], again[9], other[9];
    open_limits((struct limits_policy){0});
    limits_account_name(limits, digits(PAN), name);
    limits_account_name(limits, digits(PAN), again);
    limits_account_name(limits, digits("6225758326736427"), other);
    ck_assert_uint_eq(strlen(name), 8);
    ck_assert_str_eq(name, again);
    ck_assert_str_ne(name, other);
    tear_down();
    open_limits((struct limits_policy){0});
    limits_account_name(limits, digits(PAN), other);
    ck_assert_str_ne(name, other); /* another key after each start */
}
END_TEST

static void *hammer(void *context)
{
    unsigned *const passed = context;
    for (int i = 0; i < 1000; i++)
        *passed += !pin(TERMINAL, PAN, START_MS).refused;
    return NULL;
}

START_TEST(threads_share_one_count)
{
    pthread_t threads[4];
    unsigned passed[4] = {0};
    open_limits((struct limits_policy){.account_per_minute = 500});
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, &passed[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(passed[0] + passed[1] + passed[2] + passed[3], 500);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm-service/limits");
    TCase *tc = tcase_create("limits");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, NULL, tear_down);
    tcase_add_test(tc, account_is_stopped_at_its_count_through_any_terminal);
    tcase_add_test(tc, terminal_is_stopped_at_its_count_whatever_the_account);
    tcase_add_test(tc, no_minute_passes_much_more_than_the_limit);
    tcase_add_test(tc, retry_hint_is_exact);
    tcase_add_test(tc, what_is_no_number_or_has_no_limit_passes);
    tcase_add_test(tc, undone_operation_does_not_count);
    tcase_add_test(tc, flood_of_numbers_does_not_wash_a_full_count_away);
    tcase_add_test(tc, stricter_of_two_policies_applies);
    tcase_add_test(tc, callers_have_buckets);
    tcase_add_test(tc, account_has_a_name_that_is_not_its_number);
    tcase_add_test(tc, threads_share_one_count);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

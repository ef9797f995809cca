/* Equal events joined, by a clock that the test sets. */
#include "base/repeats.h"

#include "tests/support/suite.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define PERIOD_MS 1000

/* What was told. */
struct told {
    size_t sums;
    uint64_t events;
    struct repeats_sum last;
};

static struct told told;
static struct repeats *repeats;

static void take(void *context, const struct repeats_sum *sum)
{
    struct told *const t = context;
    t->sums++;
    t->events += sum->count;
    t->last = *sum;
}

static void start(void)
{
    struct err e = {0};
    told = (struct told){0};
    ck_assert_ok(repeats_new(PERIOD_MS, take, &told, &repeats, &e), e);
}

static void stop(void)
{
    repeats_free(repeats);
}

static bool come(const char *who, const char *what, enum err_code code, int64_t now_ms)
{
    const struct repeats_event event = {.who = who, .what = what, .code = code, .note = "why"};
    return repeats_first(repeats, &event, now_ms);
}

START_TEST(first_is_told_at_once_and_the_rest_together)
{
    ck_assert(come("bank", "/Say", ERR_DENIED, 0));
    for (int i = 0; i < 4812; i++)
        ck_assert(!come("bank", "/Say", ERR_DENIED, i % PERIOD_MS));
    repeats_tell_due(repeats, PERIOD_MS - 1);
    ck_assert_uint_eq(told.sums, 0);
    repeats_tell_due(repeats, PERIOD_MS);
    ck_assert_uint_eq(told.sums, 1);
    ck_assert_uint_eq(told.last.count, 4812);
    ck_assert_int_eq(told.last.span_ms, PERIOD_MS);
    ck_assert_int_eq(told.last.code, ERR_DENIED);
    ck_assert_str_eq(told.last.who, "bank");
    ck_assert_str_eq(told.last.what, "/Say");
    ck_assert_str_eq(told.last.note, "why");
    char text[REPEATS_TEXT_BYTES];
    repeats_text(&told.last, text);
    ck_assert_str_eq(text, "and 4,812 more in 1 s");
}
END_TEST

START_TEST(flood_that_goes_on_is_told_once_a_period)
{
    ck_assert(come("bank", "/Say", ERR_DENIED, 0));
    for (int64_t now_ms = 1; now_ms <= 100 * PERIOD_MS; now_ms++) {
        ck_assert(!come("bank", "/Say", ERR_DENIED, now_ms));
        repeats_tell_due(repeats, now_ms);
    }
    ck_assert_uint_eq(told.sums, 100);
    repeats_tell_all(repeats, 100 * PERIOD_MS);
    ck_assert_uint_eq(told.events, 100 * PERIOD_MS);
}
END_TEST

START_TEST(one_that_comes_late_is_a_first_again)
{
    ck_assert(come("bank", "/Say", ERR_DENIED, 0));
    repeats_tell_due(repeats, PERIOD_MS);
    ck_assert(come("bank", "/Say", ERR_DENIED, PERIOD_MS));
    ck_assert(!come("bank", "/Say", ERR_DENIED, PERIOD_MS + 1));
    repeats_tell_due(repeats, 2 * PERIOD_MS);
    ck_assert_uint_eq(told.events, 1);
    ck_assert(!come("bank", "/Say", ERR_DENIED, 2 * PERIOD_MS)); /* its kind went on */
    repeats_tell_due(repeats, 3 * PERIOD_MS);
    repeats_tell_due(repeats, 4 * PERIOD_MS);
    ck_assert_uint_eq(told.events, 2);
    ck_assert(come("bank", "/Say", ERR_DENIED, 4 * PERIOD_MS));
    repeats_tell_all(repeats, 4 * PERIOD_MS);
    ck_assert_uint_eq(told.events, 2);
}
END_TEST

START_TEST(kinds_are_told_apart)
{
    static const struct repeats_event events[] = {
        {"bank", "/Say", NULL, "a", ERR_DENIED}, {"banks", "/Say", NULL, "a", ERR_DENIED},
        {"ban", "k/Say", NULL, "a", ERR_DENIED}, {"bank", "/Sa", NULL, "a", ERR_DENIED},
        {"bank", "/Say", NULL, "a", ERR_LIMIT},  {"bank", "/Say", "T1", "a", ERR_DENIED},
        {NULL, "/Say", NULL, "a", ERR_DENIED},   {"bank", NULL, NULL, "a", ERR_DENIED},
    };
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        ck_assert_msg(repeats_first(repeats, &events[i], 0), "event %zu", i);
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        ck_assert_msg(!repeats_first(repeats, &events[i], 0), "event %zu", i);
    const struct repeats_event other_note = {"bank", "/Say", "", "b", ERR_DENIED};
    ck_assert(!repeats_first(repeats, &other_note, 0));
}
END_TEST

START_TEST(kinds_without_room_are_counted)
{
    const int kinds = 4 * REPEATS_KINDS_MAX;
    uint64_t firsts = 0;
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < kinds; i++) {
            char who[32];
            snprintf(who, sizeof who, "caller %d", i);
            firsts += come(who, "/Say", i % 2 == 0 ? ERR_DENIED : ERR_LIMIT, round);
        }
    ck_assert_uint_eq(firsts, REPEATS_KINDS_MAX);
    repeats_tell_all(repeats, 10);
    ck_assert_uint_eq(told.events + firsts, 3 * kinds);
    ck_assert_uint_eq(told.sums, REPEATS_KINDS_MAX + 2);
    ck_assert_str_eq(told.last.who, REPEATS_OTHERS);
    repeats_tell_due(repeats, PERIOD_MS + 10);
    ck_assert(come("late", "/Say", ERR_DENIED, PERIOD_MS + 10)); /* there is room again */
}
END_TEST

START_TEST(long_texts_are_cut)
{
    char who[2 * REPEATS_WHO_BYTES];
    memset(who, 'w', sizeof who);
    who[sizeof who - 1] = '\0';
    ck_assert(come(who, who, ERR_DENIED, 0));
    ck_assert(!come(who, who, ERR_DENIED, 0));
    repeats_tell_all(repeats, 0);
    ck_assert_uint_eq(strlen(told.last.who), REPEATS_WHO_BYTES - 1);
    ck_assert_uint_eq(strlen(told.last.what), REPEATS_WHAT_BYTES - 1);
}
END_TEST

START_TEST(numbers_are_grouped)
{
    static const struct {
        uint64_t count;
        int64_t span_ms;
        const char *text;
    } rows[] = {{1, 0, "and 1 more in 0 s"},
                {999, 1, "and 999 more in 1 s"},
                {1000, 60000, "and 1,000 more in 60 s"},
                {UINT64_MAX, 60001, "and 18,446,744,073,709,551,615 more in 61 s"}};
    char text[REPEATS_TEXT_BYTES];
    const struct repeats_sum sum = {.count = rows[_i].count, .span_ms = rows[_i].span_ms};
    repeats_text(&sum, text);
    ck_assert_str_eq(text, rows[_i].text);
}
END_TEST

#define THREADS    4
#define A_THREADS  20000
#define TOLD_EVERY 100

struct flooder {
    pthread_t thread;
    uint64_t firsts;
};

static void *flood(void *context)
{
    struct flooder *const f = context;
    for (int i = 0; i < A_THREADS; i++) {
        char who[16];
        snprintf(who, sizeof who, "%d", i % (2 * REPEATS_KINDS_MAX));
        f->firsts += come(who, "/Say", ERR_DENIED, i);
    }
    return NULL;
}

START_TEST(threads_lose_no_event)
{
    struct flooder flooders[THREADS] = {0};
    uint64_t firsts = 0;
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&flooders[i].thread, NULL, flood, &flooders[i]), 0);
    for (int64_t now_ms = 0; now_ms < A_THREADS; now_ms += TOLD_EVERY)
        repeats_tell_due(repeats, now_ms);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(flooders[i].thread, NULL);
        firsts += flooders[i].firsts;
    }
    repeats_tell_all(repeats, A_THREADS);
    ck_assert_uint_eq(told.events + firsts, (uint64_t)THREADS * A_THREADS);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("repeats");
    TCase *tc = tcase_create("repeats");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, first_is_told_at_once_and_the_rest_together);
    tcase_add_test(tc, flood_that_goes_on_is_told_once_a_period);
    tcase_add_test(tc, one_that_comes_late_is_a_first_again);
    tcase_add_test(tc, kinds_are_told_apart);
    tcase_add_test(tc, kinds_without_room_are_counted);
    tcase_add_test(tc, long_texts_are_cut);
    tcase_add_loop_test(tc, numbers_are_grouped, 0, 4);
    tcase_add_test(tc, threads_lose_no_event);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

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

static struct limits_policy only(enum limits_kind kind, unsigned per_minute, unsigned per_hour)
{
    struct limits_policy policy = {0};
    policy.rows[kind] = (struct limits_row){per_minute, per_hour};
    return policy;
}

static void tear_down(void)
{
    limits_free(limits);
    limits = NULL;
}

static struct limits_name name(const char *text)
{
    return (struct limits_name){text, strlen(text)};
}

static struct limits_verdict pin(const char *terminal, const char *account, int64_t now_ms)
{
    const struct limits_pin_use use = {.terminal = name(terminal), .account = name(account)};
    return limits_pin(limits, &use, now_ms);
}

#define TERMINAL "62010000001234567890"
#define ACCOUNT  "575832673641"
#define OTHER    "575832673642"

#define ROW(kind, minute, hour) .rows[kind] = {(minute), (hour)}
#define POLICY(...)             ((struct limits_policy){__VA_ARGS__})

START_TEST(account_is_stopped_at_its_count_through_any_terminal)
{
    open_limits(POLICY(ROW(LIMITS_ACCOUNT, 5, 8)));
    char terminal[21];
    for (unsigned i = 0; i < 5; i++) {
        snprintf(terminal, sizeof terminal, "%020u", i);
        ck_assert(!pin(terminal, ACCOUNT, START_MS).refused);
    }
    const struct limits_verdict v = pin("00000000000000000099", ACCOUNT, START_MS + 1000);
    ck_assert(v.refused);
    ck_assert_int_eq(v.kind, LIMITS_ACCOUNT);
    ck_assert(!pin(TERMINAL, OTHER, START_MS + 1000).refused);
    ck_assert(pin(TERMINAL, ACCOUNT, START_MS + 1000 + v.retry_ms - 1).refused);
    ck_assert(!pin(TERMINAL, ACCOUNT, START_MS + 1000 + v.retry_ms).refused);
    ck_assert_uint_eq(limits_counts(limits).refused[LIMITS_ACCOUNT], 2);
}
END_TEST

START_TEST(terminal_is_stopped_at_its_count_whatever_the_account)
{
    open_limits(POLICY(ROW(LIMITS_TERMINAL, 30, 40), ROW(LIMITS_ACCOUNT, 2, 0)));
    char account[20];
    unsigned passed = 0;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(account, sizeof account, "6225%08u", i);
        passed += !pin(TERMINAL, account, START_MS + i).refused;
    }
    ck_assert_uint_eq(passed, 30);
    for (unsigned i = 0; i < 100; i++) { /* two minutes later the hour's count is what is left */
        snprintf(account, sizeof account, "6226%08u", i);
        passed += !pin(TERMINAL, account, START_MS + 120000 + i).refused;
    }
    ck_assert_uint_eq(passed, 40);
    const struct limits_verdict v = pin(TERMINAL, ACCOUNT, START_MS + 125000);
    ck_assert(v.refused && v.kind == LIMITS_TERMINAL && v.retry_ms > 3000000);
    ck_assert(!pin(TERMINAL, ACCOUNT, START_MS + 125000 + v.retry_ms).refused);
}
END_TEST

/* Whatever the moments, no stretch of a window's length passes more than the limit and what fades in. */
START_TEST(no_minute_passes_much_more_than_the_limit)
{
    open_limits(POLICY(ROW(LIMITS_TERMINAL, 20, 0)));
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
    open_limits(POLICY(ROW(LIMITS_TERMINAL, 1, 0), ROW(LIMITS_ACCOUNT, 1, 0)));
    for (int i = 0; i < 10; i++) {
        ck_assert(!pin("", "", START_MS).refused);
        ck_assert(!pin("", "57583x673641", START_MS).refused);
        ck_assert(!pin("", "12345678901", START_MS).refused);
        ck_assert(!pin("", "1234567890123", START_MS).refused);
    }
    limits_set(limits, &(struct limits_policy){0});
    for (int i = 0; i < 10; i++)
        ck_assert(!pin(TERMINAL, ACCOUNT, START_MS).refused);
    limits_set(limits, &POLICY(ROW(LIMITS_TERMINAL, 3, 0)));
    ck_assert_uint_eq(limits_get(limits).rows[LIMITS_TERMINAL].per_minute, 3);
    ck_assert(pin(TERMINAL, ACCOUNT, START_MS).refused); /* counts stayed */
    ck_assert(!limits_pin(NULL, &(struct limits_pin_use){.terminal = name(TERMINAL)}, START_MS).refused);
}
END_TEST

/* Any spelling of a card number has the account's 12 digits: what comes here is those. */
START_TEST(terminal_is_stopped_at_so_many_accounts)
{
    open_limits(POLICY(ROW(LIMITS_TERMINAL_ACCOUNTS, 0, 5)));
    char account[13];
    for (int round = 0; round < 3; round++) /* the same five again and again are still five */
        for (unsigned i = 0; i < 5; i++) {
            snprintf(account, sizeof account, "6225%08u", i);
            ck_assert(!pin(TERMINAL, account, START_MS + round).refused);
        }
    for (int round = 0; round < 3; round++) { /* what was refused is not a known one afterwards */
        const struct limits_verdict v = pin(TERMINAL, ACCOUNT, START_MS + 10);
        ck_assert(v.refused && v.kind == LIMITS_TERMINAL_ACCOUNTS);
    }
    ck_assert(!pin(TERMINAL, "622500000003", START_MS + 11).refused);
    ck_assert(!pin("62010000001234567891", ACCOUNT, START_MS + 11).refused);
}
END_TEST

START_TEST(zone_is_stopped_at_its_count)
{
    open_limits(POLICY(ROW(LIMITS_ZONE, 3, 0), ROW(LIMITS_TERMINAL, 1, 0)));
    struct limits_pin_use use = {.zone = name("acquirer"), .account = name(ACCOUNT)};
    for (int i = 0; i < 3; i++)
        ck_assert(!limits_pin(limits, &use, START_MS).refused);
    ck_assert_int_eq(limits_pin(limits, &use, START_MS).kind, LIMITS_ZONE);
    use.zone = name("bank");
    ck_assert(!limits_pin(limits, &use, START_MS).refused);
}
END_TEST

static struct limits_pin_use decoded(const char *terminal, const char *account, const char *caller,
                                     bool failed)
{
    return (struct limits_pin_use){.terminal = name(terminal),
                                   .account = name(account),
                                   .caller = name(caller),
                                   .decoded = true,
                                   .failed = failed};
}

/* Each row of failures: so many blocks that do not decode, then nothing of its name is decoded any more. */
START_TEST(failures_stop_what_is_decoded)
{
    static const struct {
        enum limits_kind kind;
        const char *terminal, *account, *caller; /* of what is stopped as well, by this name alone */
    } rows[] = {
        {LIMITS_FAILURE_KEY, TERMINAL, OTHER, "other"},
        {LIMITS_FAILURE_ACCOUNT, "1111111111111111", ACCOUNT, "other"},
        {LIMITS_FAILURE_CALLER, "1111111111111111", OTHER, "posp"},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        open_limits(only(rows[r].kind, 0, 2));
        struct limits_pin_use good = decoded(TERMINAL, ACCOUNT, "posp", false),
                              bad = decoded(TERMINAL, ACCOUNT, "posp", true),
                              same = decoded(rows[r].terminal, rows[r].account, rows[r].caller, false),
                              none = decoded("2222222222222222", "622500000009", "third", false);
        for (int i = 0; i < 20; i++)
            ck_assert(!limits_pin(limits, &good, START_MS).refused); /* what decodes does not count */
        ck_assert(!limits_pin(limits, &bad, START_MS).refused);
        ck_assert(!limits_pin(limits, &bad, START_MS).refused);
        ck_assert_int_eq(limits_pin(limits, &bad, START_MS).kind, rows[r].kind);
        ck_assert(limits_pin(limits, &good, START_MS).refused);
        ck_assert(limits_pin(limits, &same, START_MS).refused);
        ck_assert(!limits_pin(limits, &none, START_MS).refused);
        ck_assert(!pin(TERMINAL, ACCOUNT, START_MS).refused); /* passed on undecoded: nothing can be learnt */
        tear_down();
    }
}
END_TEST

START_TEST(flood_of_numbers_does_not_wash_a_full_count_away)
{
    open_limits(POLICY(ROW(LIMITS_ACCOUNT, 5, 20)));
    char account[20];
    for (int i = 0; i < 5; i++)
        ck_assert(!pin("", ACCOUNT, START_MS).refused);
    for (unsigned i = 0; i < 2 * LIMITS_ENTRIES; i++) {
        snprintf(account, sizeof account, "51%010u", i);
        ck_assert(!pin("", account, START_MS).refused);
    }
    ck_assert(pin("", ACCOUNT, START_MS).refused);
    const struct limits_counts counts = limits_counts(limits);
    ck_assert_uint_le(counts.entries, LIMITS_ENTRIES);
    ck_assert_uint_gt(counts.forgotten, LIMITS_ENTRIES / 2);
}
END_TEST

START_TEST(stricter_of_two_policies_applies)
{
    for (int kind = 0; kind < LIMITS_WINDOW_COUNT; kind++) {
        const struct limits_policy a = only((enum limits_kind)kind, 10, 0),
                                   b = only((enum limits_kind)kind, 20, 100), s = limits_stricter(&a, &b);
        ck_assert_uint_eq(s.rows[kind].per_minute, 10);
        ck_assert_uint_eq(s.rows[kind].per_hour, 100);
        ck_assert_uint_eq(s.rows[(kind + 1) % LIMITS_WINDOW_COUNT].per_minute, 0);
    }
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
    char first[9], again[9], other[9];
    open_limits((struct limits_policy){0});
    limits_account_name(limits, name(ACCOUNT), first);
    limits_account_name(limits, name(ACCOUNT), again);
    limits_account_name(limits, name(OTHER), other);
    ck_assert_uint_eq(strlen(first), 8);
    ck_assert_str_eq(first, again);
    ck_assert_str_ne(first, other);
    tear_down();
    open_limits((struct limits_policy){0});
    limits_account_name(limits, name(ACCOUNT), other);
    ck_assert_str_ne(first, other); /* another key after each start */
}
END_TEST

static void *hammer(void *context)
{
    unsigned *const passed = context;
    for (int i = 0; i < 1000; i++)
        *passed += !pin(TERMINAL, ACCOUNT, START_MS).refused;
    return NULL;
}

START_TEST(threads_share_one_count)
{
    pthread_t threads[4];
    unsigned passed[4] = {0};
    open_limits(POLICY(ROW(LIMITS_ACCOUNT, 500, 0)));
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
    tcase_add_test(tc, terminal_is_stopped_at_so_many_accounts);
    tcase_add_test(tc, zone_is_stopped_at_its_count);
    tcase_add_test(tc, failures_stop_what_is_decoded);
    tcase_add_test(tc, flood_of_numbers_does_not_wash_a_full_count_away);
    tcase_add_test(tc, stricter_of_two_policies_applies);
    tcase_add_test(tc, callers_have_buckets);
    tcase_add_test(tc, account_has_a_name_that_is_not_its_number);
    tcase_add_test(tc, threads_share_one_count);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

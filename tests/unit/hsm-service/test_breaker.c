/* The circuit breaker, by itself. */
#include "hsm-service/front/breaker.h"
#include "tests/support/suite.h"

#include <string.h>

#define NOW 1000000

static void open_by_failures(struct breaker *b)
{
    for (int i = 1; i < BREAKER_FAILURES; i++)
        ck_assert(!breaker_call_failed(b, "C_Sign: CKR_DEVICE_REMOVED", NOW));
    ck_assert(breaker_call_failed(b, "C_Sign: CKR_DEVICE_REMOVED", NOW));
    ck_assert_int_eq(b->state, BREAKER_OPEN);
}

START_TEST(opens_after_failures_in_a_row_only)
{
    struct breaker b = {0};
    for (int i = 0; i < 100; i++) {
        ck_assert(!breaker_call_failed(&b, "x", NOW));
        ck_assert(!breaker_call_ok(&b));
    }
    open_by_failures(&b);
    ck_assert_str_eq(b.why, "C_Sign: CKR_DEVICE_REMOVED");
    ck_assert(!breaker_call_failed(&b, "y", NOW)); /* told once */
    ck_assert_uint_eq(b.changes[BREAKER_OPEN], 1);
}
END_TEST

START_TEST(probe_decides_after_a_pause_that_grows)
{
    struct breaker b = {0};
    int64_t now_ms = NOW, last_ms = 0;
    open_by_failures(&b);
    for (int round = 0; round < 10; round++) {
        int64_t waited_ms = 0;
        for (; !breaker_wants_probe(&b, now_ms); now_ms++)
            waited_ms++;
        ck_assert_int_eq(b.state, BREAKER_HALF_OPEN);
        ck_assert(!breaker_wants_probe(&b, now_ms)); /* one at a time */
        ck_assert_int_ge(waited_ms, last_ms);
        ck_assert_int_le(waited_ms, BREAKER_PAUSE_MOST);
        last_ms = waited_ms;
        ck_assert(breaker_probed(&b, false, now_ms));
        ck_assert_str_eq(b.why, "C_Sign: CKR_DEVICE_REMOVED");
        ck_assert_int_eq(b.state, BREAKER_OPEN);
    }
    ck_assert_int_eq(last_ms, BREAKER_PAUSE_MOST);
    now_ms += BREAKER_PAUSE_MOST;
    ck_assert(breaker_wants_probe(&b, now_ms));
    ck_assert(breaker_probed(&b, true, now_ms));
    ck_assert_int_eq(b.state, BREAKER_CLOSED);
    open_by_failures(&b);
    ck_assert(!breaker_wants_probe(&b, NOW + BREAKER_PAUSE_MS - 1)); /* the pause is short again */
    ck_assert(breaker_wants_probe(&b, NOW + BREAKER_PAUSE_MS));
}
END_TEST

START_TEST(keepers_open_and_close_it)
{
    struct breaker b = {0};
    ck_assert(breaker_no_keeper(&b, "no token", NOW));
    ck_assert(!breaker_no_keeper(&b, "still no token", NOW + 1));
    ck_assert_str_eq(b.why, "still no token");
    ck_assert(breaker_keeper_ready(&b));
    ck_assert(!breaker_keeper_ready(&b));
    ck_assert_int_eq(b.state, BREAKER_CLOSED);
    ck_assert(!breaker_probed(&b, false, NOW)); /* a keeper's own probe does not open it */
}
END_TEST

START_TEST(late_answer_closes_it)
{
    struct breaker b = {0};
    open_by_failures(&b);
    ck_assert(breaker_call_ok(&b));
    ck_assert_int_eq(b.state, BREAKER_CLOSED);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm-service/breaker");
    TCase *tc = tcase_create("breaker");
    tcase_add_test(tc, opens_after_failures_in_a_row_only);
    tcase_add_test(tc, probe_decides_after_a_pause_that_grows);
    tcase_add_test(tc, keepers_open_and_close_it);
    tcase_add_test(tc, late_answer_closes_it);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

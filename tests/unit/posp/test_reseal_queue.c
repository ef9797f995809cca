/* Terminals that wait to have their blobs moved: each once, as many as fit, and not those that only a sign-in
 * helps. */
#include "posp/reseal_queue.h"
#include "tests/support/suite.h"

#include <stdio.h>

static struct reseal_queue *queue;
static struct err e;

static void setup(void)
{
    ck_assert_ok(reseal_queue_new(&queue, &e), e);
}

static void teardown(void)
{
    reseal_queue_free(queue);
}

START_TEST(queue_takes_a_terminal_once_and_in_order)
{
    struct reseal_waiting taken[4];
    reseal_queue_add(queue, "T0000001", 1);
    reseal_queue_add(queue, "T0000002", 2);
    reseal_queue_add(queue, "T0000001", 3);
    ck_assert_uint_eq(reseal_queue_figures(queue).waiting, 2);
    ck_assert_uint_eq(reseal_queue_take(queue, taken, 1), 1);
    ck_assert_str_eq(taken[0].terminal_id, "T0000001");
    ck_assert_uint_eq(reseal_queue_take(queue, taken, 4), 1);
    ck_assert_str_eq(taken[0].terminal_id, "T0000002");
    reseal_queue_add(queue, "T0000001", 3); /* it is not waiting any more */
    ck_assert_uint_eq(reseal_queue_figures(queue).waiting, 1);
}
END_TEST

START_TEST(queue_drops_what_does_not_fit)
{
    struct reseal_waiting taken[2];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < RESEAL_QUEUE_MOST + 5; i++) {
            char terminal[STORE_TERMINAL_BYTES];
            snprintf(terminal, sizeof terminal, "T%07d", i);
            reseal_queue_add(queue, terminal, 1);
        }
        ck_assert_uint_eq(reseal_queue_figures(queue).waiting, RESEAL_QUEUE_MOST);
        ck_assert_uint_eq(reseal_queue_figures(queue).dropped, round == 0 ? 5 : 10);
        ck_assert_uint_eq(reseal_queue_take(queue, taken, 2), 2); /* the ring goes round */
    }
}
END_TEST

START_TEST(queue_remembers_who_must_sign_in_until_he_does)
{
    const struct reseal_waiting stuck = {.terminal_id = "T0000001", .generation = 7};
    reseal_queue_settle(queue, &stuck);
    reseal_queue_add(queue, "T0000001", 7);
    ck_assert_uint_eq(reseal_queue_figures(queue).waiting, 0);
    reseal_queue_add(queue, "T0000001", 8);
    ck_assert_uint_eq(reseal_queue_figures(queue).waiting, 1);
}
END_TEST

START_TEST(queue_that_is_stopped_gives_nothing)
{
    struct reseal_waiting taken[1];
    reseal_queue_add(queue, "T0000001", 1);
    reseal_queue_stop(queue);
    reseal_queue_sleep(queue, 60000); /* returns at once, or the test times out */
    ck_assert_uint_eq(reseal_queue_take(queue, taken, 1), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("reseal_queue");
    TCase *tc = tcase_create("queue");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, queue_takes_a_terminal_once_and_in_order);
    tcase_add_test(tc, queue_drops_what_does_not_fit);
    tcase_add_test(tc, queue_remembers_who_must_sign_in_until_he_does);
    tcase_add_test(tc, queue_that_is_stopped_gives_nothing);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

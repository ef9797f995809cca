/* Waits by the monotonic clock. */
#include "base/wait.h"

#include "base/clock.h"
#include "tests/support/suite.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond;

START_TEST(end_is_reached_and_not_before)
{
    static const int64_t waits_ms[] = {-5, 0, 1, 40, 999, 1001};
    const int64_t ms = waits_ms[_i];
    wait_cond_init(&cond);
    const int64_t begun_us = clock_monotonic_us();
    const struct timespec end = wait_end(ms);
    ck_assert(end.tv_nsec >= 0 && end.tv_nsec < 1000000000);
    pthread_mutex_lock(&lock);
    while (wait_until(&cond, &lock, &end))
        ;
    pthread_mutex_unlock(&lock);
    ck_assert_int_ge(clock_monotonic_us() - begun_us, ms * 1000);
    pthread_cond_destroy(&cond);
}
END_TEST

static bool told;

static void *tell(void *unused)
{
    pthread_mutex_lock(&lock);
    told = true;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&lock);
    return unused;
}

/* Also where the wait has no end. */
START_TEST(who_is_told_goes_on)
{
    pthread_t thread;
    const struct timespec far = wait_end(3600000);
    wait_cond_init(&cond);
    pthread_mutex_lock(&lock);
    ck_assert_int_eq(pthread_create(&thread, NULL, tell, NULL), 0);
    while (!told)
        ck_assert(wait_until(&cond, &lock, _i == 0 ? &far : NULL));
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    pthread_cond_destroy(&cond);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("wait");
    TCase *tc = tcase_create("wait");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, end_is_reached_and_not_before, 0, 6);
    tcase_add_loop_test(tc, who_is_told_goes_on, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

#include "base/clock.h"
#include "posv/changes.h"
#include "tests/unit/posv/store_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#define HEARTBEAT_MS 100

static struct folder folder;
static struct store *store;
static struct changes *changes;

static void set_up(void)
{
    struct err e = {0};
    folder_make(&folder);
    store = store_must_open(&folder);
    ck_assert_ok(changes_new(store, HEARTBEAT_MS, &changes, &e), e);
}

static void tear_down(void)
{
    changes_free(changes);
    store_free(store);
    folder_remove(&folder);
}

/* Collects what it is sent until `stop_at` was reached, then it is gone. */
struct collector {
    int64_t from, stop_at, last;
    atomic_int devices, marks;
    atomic_bool gone;
    bool disorder;
    int delay_ms;
    enum err_code code;
    struct err e;
};

static void collect(void *context, int64_t revision, const struct device *device)
{
    struct collector *c = context;
    if (c->delay_ms > 0)
        clock_sleep_ms(c->delay_ms);
    c->disorder |= device != NULL ? revision <= c->last || device->revision != revision : revision < c->last;
    c->last = revision;
    atomic_fetch_add(device != NULL ? &c->devices : &c->marks, 1);
    if (c->stop_at > 0 && revision >= c->stop_at)
        atomic_store(&c->gone, true);
}

static bool is_gone(void *context)
{
    return atomic_load(&((struct collector *)context)->gone);
}

static void *follow(void *context)
{
    struct collector *c = context;
    const struct changes_sink sink = {c, collect, is_gone};
    c->last = c->from;
    c->code = changes_follow(changes, c->from, &sink, &c->e);
    return NULL;
}

static struct device register_and_notify(int i)
{
    char terminal_id[9], card[21];
    snprintf(terminal_id, sizeof terminal_id, "A%07d", i);
    snprintf(card, sizeof card, "6201%016d", i);
    const struct device device = must_change(store, registration(terminal_id, card));
    changes_notify(changes, device.revision);
    return device;
}

START_TEST(replay_crosses_pages_then_marks_the_end)
{
    for (int i = 0; i < 300; i++)
        register_and_notify(i);
    struct collector c = {.from = 10, .stop_at = 300};
    follow(&c);
    ck_assert_int_eq(c.code, ERR_CANCELLED);
    ck_assert_int_eq(c.devices, 290);
    ck_assert(!c.disorder);
}
END_TEST

START_TEST(follower_hears_marks_heartbeats_and_news)
{
    struct collector c = {0};
    pthread_t thread;
    pthread_create(&thread, NULL, follow, &c);
    for (int waited = 0; atomic_load(&c.marks) < 3 && waited < 5000; waited += 10)
        clock_sleep_ms(10);
    ck_assert_int_ge(atomic_load(&c.marks), 3);
    const int64_t start_ms = clock_monotonic_ms();
    register_and_notify(1);
    while (atomic_load(&c.devices) == 0 && clock_monotonic_ms() - start_ms < 5000)
        clock_sleep_ms(1);
    ck_assert_int_lt(clock_monotonic_ms() - start_ms, 1000);
    ck_assert_uint_eq(changes_followers(changes), 1);
    atomic_store(&c.gone, true);
    pthread_join(thread, NULL);
    ck_assert_int_eq(c.code, ERR_CANCELLED);
    ck_assert_uint_eq(changes_followers(changes), 0);
}
END_TEST

START_TEST(news_does_not_wait_for_the_heartbeat)
{
    struct collector c = {.stop_at = 1};
    struct err e = {0};
    pthread_t thread;
    changes_free(changes);
    ck_assert_ok(changes_new(store, 600000, &changes, &e), e);
    pthread_create(&thread, NULL, follow, &c);
    while (atomic_load(&c.marks) == 0)
        clock_sleep_ms(1);
    const int64_t start_ms = clock_monotonic_ms();
    register_and_notify(1);
    pthread_join(thread, NULL);
    ck_assert_int_lt(clock_monotonic_ms() - start_ms, 1000);
    ck_assert_int_eq(c.devices, 1);
}
END_TEST

START_TEST(change_without_notice_comes_with_the_heartbeat)
{
    struct collector c = {.from = register_and_notify(1).revision, .stop_at = 2};
    pthread_t thread;
    pthread_create(&thread, NULL, follow, &c);
    while (atomic_load(&c.marks) == 0)
        clock_sleep_ms(1);
    must_change(store, move(DEVICE_SUSPEND, "A0000001", "no notice"));
    pthread_join(thread, NULL);
    ck_assert_int_eq(c.code, ERR_CANCELLED);
    ck_assert_int_eq(c.devices, 1);
    ck_assert_int_eq(c.last, 2);
}
END_TEST

START_TEST(close_ends_followers_at_once)
{
    struct collector c = {0};
    pthread_t thread;
    pthread_create(&thread, NULL, follow, &c);
    while (changes_followers(changes) == 0)
        clock_sleep_ms(1);
    const int64_t start_ms = clock_monotonic_ms();
    changes_close(changes);
    pthread_join(thread, NULL);
    ck_assert_int_lt(clock_monotonic_ms() - start_ms, 500);
    ck_assert_int_eq(c.code, ERR_UNAVAILABLE);
    follow(&c);
    ck_assert_int_eq(c.code, ERR_UNAVAILABLE);
}
END_TEST

START_TEST(revision_ahead_of_the_table_is_refused)
{
    register_and_notify(1);
    struct collector c = {.from = 2};
    follow(&c);
    ck_assert_int_eq(c.code, ERR_STATE);
    ck_assert_ptr_nonnull(strstr(c.e.note, "from_revision 2 is ahead of the table, which is at 1"));
    c.from = -1;
    follow(&c);
    ck_assert_int_eq(c.code, ERR_INPUT);
}
END_TEST

START_TEST(slow_follower_gets_newest_forms_and_misses_nothing)
{
    struct collector slow = {.delay_ms = 5};
    pthread_t thread;
    pthread_create(&thread, NULL, follow, &slow);
    int64_t last = 0;
    for (int i = 0; i < 40; i++)
        last = register_and_notify(i).revision;
    for (int i = 0; i < 40; i++) {
        const struct device device =
            must_change(store, move(i % 2 ? DEVICE_RESUME : DEVICE_SUSPEND, "A0000007", ""));
        changes_notify(changes, last = device.revision);
    }
    for (int waited = 0; waited < 10000; waited += 5) {
        clock_sleep_ms(5);
        if (atomic_load(&slow.devices) >= 41 && atomic_load(&slow.marks) >= 2)
            break;
    }
    atomic_store(&slow.gone, true);
    pthread_join(thread, NULL);
    ck_assert_int_eq(slow.last, last);
    ck_assert(!slow.disorder);
    ck_assert_int_le(slow.devices, 80);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("changes");
    TCase *tc = tcase_create("changes");
    tcase_set_timeout(tc, 20);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, replay_crosses_pages_then_marks_the_end);
    tcase_add_test(tc, follower_hears_marks_heartbeats_and_news);
    tcase_add_test(tc, news_does_not_wait_for_the_heartbeat);
    tcase_add_test(tc, change_without_notice_comes_with_the_heartbeat);
    tcase_add_test(tc, close_ends_followers_at_once);
    tcase_add_test(tc, revision_ahead_of_the_table_is_refused);
    tcase_add_test(tc, slow_follower_gets_newest_forms_and_misses_nothing);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

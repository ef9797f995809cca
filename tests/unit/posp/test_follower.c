/* The follower and a POSV that the test plays: its feed falls silent, or never said that it would speak. */
#include "posp/follower.h"

#include "base/clock.h"
#include "posward/posv/v1/posv.pb-c.h"
#include "rpc/server.h"
#include "tests/support/suite.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SOON_MS 20000

typedef Posward__Posv__V1__Registry_Service registry_service;

/* What the feed does after its first mark. */
struct feed {
    registry_service service;          /* first */
    uint32_t heartbeat_ms;             /* as it says */
    bool speaks;                       /* and comes */
    Posward__Posv__V1__Device *device; /* in the mark; NULL: none */
    atomic_int watched;
    struct rpc_server *server;
    struct rpc_channel *channel;
    struct store *store;
    struct follower *follower;
};

static struct feed feed;
static struct err e_of_test;

static void get_status(registry_service *service, const Posward__Posv__V1__GetStatusRequest *request,
                       Posward__Posv__V1__GetStatusResponse_Closure closure, void *call)
{
    (void)service;
    (void)request;
    Posward__Posv__V1__GetStatusResponse response = POSWARD__POSV__V1__GET_STATUS_RESPONSE__INIT;
    response.version = (char *)"";
    closure(&response, call);
}

static void watch_devices(registry_service *service, const Posward__Posv__V1__WatchDevicesRequest *request,
                          Posward__Posv__V1__DeviceChange_Closure closure, void *call)
{
    struct feed *const f = (struct feed *)service;
    (void)request;
    Posward__Posv__V1__DeviceChange mark = POSWARD__POSV__V1__DEVICE_CHANGE__INIT;
    Posward__Posv__V1__Heartbeat heartbeat = POSWARD__POSV__V1__HEARTBEAT__INIT;
    heartbeat.interval_ms = f->heartbeat_ms;
    mark.device = f->device;
    mark.revision = f->device != NULL;
    mark.heartbeat = f->heartbeat_ms != 0 ? &heartbeat : NULL;
    atomic_fetch_add(&f->watched, 1);
    do {
        closure(&mark, call);
        while (!f->speaks && rpc_call_wait(rpc_call_of(call), 1000))
            continue;
    } while (rpc_call_wait(rpc_call_of(call), f->heartbeat_ms));
    closure(NULL, call);
}

static void begin(uint32_t heartbeat_ms, bool speaks)
{
    char path[128], target[32];
    struct err e = {0};
    suite_scratch_name("follower", path, sizeof path);
    const int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    unlink(path);
    feed = (struct feed){.service = {.base = POSWARD__POSV__V1__REGISTRY__BASE_INIT,
                                     .get_status = get_status,
                                     .watch_devices = watch_devices},
                         .heartbeat_ms = heartbeat_ms,
                         .speaks = speaks};
    const struct rpc_server_options options = {.listen = "127.0.0.1:0", .tls.insecure = true};
    ck_assert_ok(rpc_server_new(&options, &feed.server, &e), e);
    ck_assert_ok(rpc_server_add(feed.server, &feed.service.base, &e), e);
    ck_assert_ok(rpc_server_start(feed.server, &e), e);
    snprintf(target, sizeof target, "127.0.0.1:%d", rpc_server_port(feed.server));
    const struct rpc_channel_options how = {.target = target, .tls.insecure = true};
    ck_assert_ok(rpc_channel_new(&how, &feed.channel, &e), e);
    ck_assert_ok(store_open(path, &feed.store, &e), e);
    ck_assert_ok(follower_start(feed.store, feed.channel, &feed.follower, &e), e);
}

static void end(void)
{
    follower_free(feed.follower);
    store_free(feed.store);
    rpc_channel_free(feed.channel);
    rpc_server_drain(feed.server, 0, 5000);
    rpc_server_free(feed.server);
}

static void await(bool following)
{
    for (int64_t until_ms = clock_monotonic_ms() + SOON_MS;
         follower_is_following(feed.follower) != following && clock_monotonic_ms() < until_ms;)
        clock_sleep_ms(5);
    ck_assert(follower_is_following(feed.follower) == following);
}

START_TEST(feed_without_heartbeats_is_left)
{
    begin(200, false);
    await(true);
    await(false);
    await(true); /* a new feed on the same connection */
    ck_assert_int_ge(atomic_load(&feed.watched), 2);
    end();
}
END_TEST

START_TEST(feed_with_heartbeats_is_kept)
{
    begin(2000, true);
    await(true);
    clock_sleep_ms(6000); /* longer than the feed may be silent */
    ck_assert(follower_is_following(feed.follower));
    ck_assert_int_eq(atomic_load(&feed.watched), 1);
    end();
}
END_TEST

/* A POSV of before does not say how often it speaks. */
START_TEST(feed_that_promises_nothing_is_kept)
{
    begin(0, false);
    await(true);
    clock_sleep_ms(11000); /* longer than the first message may take */
    ck_assert(follower_is_following(feed.follower));
    ck_assert_int_eq(atomic_load(&feed.watched), 1);
    end();
}
END_TEST

static void fill_disk(rlim_t bytes)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* What was logged since the last time. */
static void read_log(int fd, char *out_text, size_t capacity)
{
    const ssize_t len = read(fd, out_text, capacity - 1);
    out_text[len > 0 ? len : 0] = '\0';
}

/* POSV is there, and nobody is to look for it. */
START_TEST(store_that_takes_nothing_is_not_said_of_posv)
{
    char text[65536] = "";
    int fds[2];
    const int kept = dup(STDERR_FILENO);
    signal(SIGXFSZ, SIG_IGN);
    begin(200, true);
    await(true);
    Posward__Posv__V1__Device device = POSWARD__POSV__V1__DEVICE__INIT;
    device.terminal_id = (char *)"10000001";
    device.merchant_id = (char *)"898100012345678";
    device.psam_number = (char *)"62010000001234567890";
    follower_free(feed.follower);
    feed.device = &device;
    ck_assert_int_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    (void)dup2(fds[1], STDERR_FILENO);
    fill_disk(0);
    ck_assert_ok(follower_start(feed.store, feed.channel, &feed.follower, &e_of_test), e_of_test);
    size_t len = 0;
    for (int64_t until_ms = clock_monotonic_ms() + SOON_MS;
         strstr(text, "cannot be stored here") == NULL && clock_monotonic_ms() < until_ms;
         clock_sleep_ms(5)) {
        read_log(fds[0], text + len, sizeof text - len);
        len = strlen(text);
    }
    fill_disk(RLIM_INFINITY);
    (void)dup2(kept, STDERR_FILENO);
    ck_assert_ptr_nonnull(strstr(text, "cannot be stored here"));
    ck_assert_ptr_null(strstr(text, "posv is unavailable"));
    await(true); /* by itself, once there is room */
    struct store_device stored;
    bool found = false;
    for (int64_t until_ms = clock_monotonic_ms() + SOON_MS; !found && clock_monotonic_ms() < until_ms;
         clock_sleep_ms(5))
        found = store_device_get(feed.store, "10000001", &stored, &e_of_test) == ERR_OK;
    ck_assert(found);
    end();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("follower");
    TCase *tc = tcase_create("follower");
    tcase_set_timeout(tc, 90);
    tcase_add_test(tc, feed_without_heartbeats_is_left);
    tcase_add_test(tc, feed_with_heartbeats_is_kept);
    tcase_add_test(tc, feed_that_promises_nothing_is_kept);
    tcase_add_test(tc, store_that_takes_nothing_is_not_said_of_posv);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

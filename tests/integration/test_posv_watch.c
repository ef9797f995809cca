/* WatchDevices of the real posward-posv: no gap under concurrent writers, heartbeats, slow watchers, ends. */
#include "base/clock.h"
#include "tests/support/daemon.h"
#include "tests/support/suite.h"

#include <posward/posv/v1/posv.pb-c.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define SERVICE        &posward__posv__v1__registry__descriptor
#define WRITERS        16
#define WRITER_DEVICES 6
#define WRITER_MOVES   20
#define WATCHERS       3

typedef Posward__Posv__V1__DeviceChange Change;

static const char config[] = "listen: 127.0.0.1:0\n"
                             "tls:\n  insecure: true\n"
                             "metrics:\n  listen: ''\n"
                             "store:\n  path: @FOLDER@/posv.db\n"
                             "watch:\n  heartbeat_ms: 100\n";

static struct daemon posv;

static void set_up(void)
{
    daemon_init(&posv, "posward-posv");
    daemon_start(&posv, config);
}

static void tear_down(void)
{
    daemon_drop(&posv);
}

static struct rpc_stream *open_watch(int64_t from_revision)
{
    Posward__Posv__V1__WatchDevicesRequest request = POSWARD__POSV__V1__WATCH_DEVICES_REQUEST__INIT;
    request.from_revision = from_revision;
    const struct rpc_call_options options = {0};
    struct rpc_stream *stream = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_stream_open(posv.channel, SERVICE, "WatchDevices", &request.base, &options, &stream, &e),
                 e);
    return stream;
}

static Change *next_change(struct rpc_stream *stream)
{
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_stream_next(stream, 10000, &message, &e), e);
    ck_assert_ptr_nonnull(message);
    return (Change *)message;
}

static void drop_change(Change *change)
{
    protobuf_c_message_free_unpacked(&change->base, NULL);
}

static void register_device(const char *terminal_id, const char *psam_number)
{
    char request[300];
    struct err e = {0};
    snprintf(request, sizeof request,
             "{\"terminalId\": \"%s\", \"merchantId\": \"898100012345678\", \"psamNumber\": \"%s\","
             " \"suite\": \"SUITE_TDES\", \"masterVersion\": 1}",
             terminal_id, psam_number);
    ck_assert_ok(daemon_call(&posv, SERVICE, "RegisterDevice", request, NULL, &e), e);
}

static void move_device(const char *method, const char *terminal_id)
{
    char request[100];
    struct err e = {0};
    snprintf(request, sizeof request, "{\"terminalId\": \"%s\"}", terminal_id);
    ck_assert_ok(daemon_call(&posv, SERVICE, method, request, NULL, &e), e);
}

static void name_device(int writer, int device, char terminal_id[9], char card[21])
{
    snprintf(terminal_id, 9, "W%02d%05d", writer, device);
    snprintf(card, 21, "6201%02d%014d", writer, device);
}

static void *write_devices(void *context)
{
    const int writer = *(const int *)context;
    unsigned seed = (unsigned)writer + 1;
    bool suspended[WRITER_DEVICES] = {false};
    char terminal_id[9], card[21];
    for (int i = 0; i < WRITER_DEVICES; i++) {
        name_device(writer, i, terminal_id, card);
        register_device(terminal_id, card);
    }
    for (int i = 0; i < WRITER_MOVES; i++) {
        const int device = (int)(rand_r(&seed) % WRITER_DEVICES);
        name_device(writer, device, terminal_id, card);
        move_device(suspended[device] ? "ResumeDevice" : "SuspendDevice", terminal_id);
        suspended[device] = !suspended[device];
    }
    return NULL;
}

/* What a follower like POSP keeps: the newest revision of each device and where it stands. */
struct follower {
    int64_t revision;
    int64_t newest[WRITERS][WRITER_DEVICES];
    int resumed;
    unsigned seed;
};

static void keep(struct follower *f, const Change *change)
{
    if (change->device == NULL) {
        ck_assert_int_ge(change->revision, f->revision);
    } else {
        int writer, device;
        ck_assert_int_gt(change->revision, f->revision);
        ck_assert_int_eq(change->device->revision, change->revision);
        ck_assert_int_eq(sscanf(change->device->terminal_id, "W%2d%5d", &writer, &device), 2);
        f->newest[writer][device] = change->revision;
    }
    f->revision = change->revision;
}

static void *follow(void *context)
{
    struct follower *f = context;
    const int64_t last = WRITERS * (WRITER_DEVICES + WRITER_MOVES);
    while (f->revision < last) {
        struct rpc_stream *stream = open_watch(f->revision);
        const unsigned stay = 1 + rand_r(&f->seed) % 60; /* changes until this connection is lost */
        for (unsigned i = 0; i < stay && f->revision < last; i++) {
            Change *change = next_change(stream);
            keep(f, change);
            drop_change(change);
        }
        rpc_stream_free(stream);
        f->resumed++;
    }
    return NULL;
}

static void expect_all_final(const struct follower *f)
{
    for (int writer = 0; writer < WRITERS; writer++) {
        for (int device = 0; device < WRITER_DEVICES; device++) {
            char terminal_id[9], card[21], request[100], expected[24];
            json_t *response = NULL;
            struct err e = {0};
            name_device(writer, device, terminal_id, card);
            snprintf(request, sizeof request, "{\"terminalId\": \"%s\"}", terminal_id);
            ck_assert_ok(daemon_call(&posv, SERVICE, "GetDevice", request, &response, &e), e);
            snprintf(expected, sizeof expected, "%lld", (long long)f->newest[writer][device]);
            ck_assert_str_eq(json_string_value(json_object_get(response, "revision")), expected);
            json_decref(response);
        }
    }
}

START_TEST(watchers_that_resume_miss_nothing_of_16_writers)
{
    static struct follower followers[WATCHERS];
    pthread_t writers[WRITERS], watchers[WATCHERS];
    int numbers[WRITERS];
    for (int i = 0; i < WATCHERS; i++) {
        followers[i] = (struct follower){.seed = (unsigned)i + 77};
        ck_assert_int_eq(pthread_create(&watchers[i], NULL, follow, &followers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&writers[i], NULL, write_devices, &numbers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    for (int i = 0; i < WATCHERS; i++) {
        pthread_join(watchers[i], NULL);
        ck_assert_int_gt(followers[i].resumed, 3);
        expect_all_final(&followers[i]);
    }
}
END_TEST

START_TEST(new_watch_hears_the_mark_then_heartbeats_then_news)
{
    struct rpc_stream *stream = open_watch(0);
    for (int i = 0; i < 3; i++) {
        Change *change = next_change(stream);
        ck_assert_ptr_null(change->device);
        ck_assert_int_eq(change->revision, 0);
        ck_assert_ptr_nonnull(change->heartbeat);
        ck_assert_uint_eq(change->heartbeat->interval_ms, 100);
        drop_change(change);
    }
    register_device("A0000001", "62010000001234567890");
    const int64_t start_ms = clock_monotonic_ms();
    Change *change = next_change(stream);
    while (change->device == NULL) {
        drop_change(change);
        change = next_change(stream);
    }
    ck_assert_int_lt(clock_monotonic_ms() - start_ms, 1000);
    ck_assert_str_eq(change->device->terminal_id, "A0000001");
    ck_assert_ptr_null(change->heartbeat);
    drop_change(change);
    rpc_stream_free(stream);
}
END_TEST

START_TEST(watch_ahead_of_the_table_or_negative_is_refused)
{
    static const struct {
        int64_t from;
        enum err_code code;
        const char *note;
    } rows[] = {{1, ERR_STATE, "from_revision 1 is ahead of the table, which is at 0"},
                {INT64_MAX, ERR_STATE, "older backup"},
                {-1, ERR_INPUT, "from_revision must be 0 or more, got -1"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rpc_stream *stream = open_watch(rows[i].from);
        ProtobufCMessage *message = NULL;
        struct err e = {0};
        ck_assert_int_eq(rpc_stream_next(stream, 10000, &message, &e), rows[i].code);
        ck_assert_msg(strstr(e.note, rows[i].note) != NULL, "note is '%s'", e.note);
        rpc_stream_free(stream);
    }
}
END_TEST

START_TEST(watcher_that_does_not_read_holds_nobody_up)
{
    struct rpc_stream *stream = open_watch(0);
    char terminal_id[9], card[21];
    for (int i = 0; i < 500; i++) {
        name_device(0, i, terminal_id, card);
        register_device(terminal_id, card);
    }
    int64_t revision = 0;
    while (revision < 500) {
        Change *change = next_change(stream);
        ck_assert_int_le(change->revision, revision + 1);
        revision = change->revision;
        drop_change(change);
    }
    rpc_stream_free(stream);
}
END_TEST

static int watcher_count(void)
{
    json_t *status = NULL;
    struct err e = {0};
    ck_assert_ok(daemon_call(&posv, SERVICE, "GetStatus", "{}", &status, &e), e);
    const int count = (int)json_integer_value(json_object_get(status, "watchers"));
    json_decref(status);
    return count;
}

START_TEST(cancelled_watch_is_gone_soon)
{
    struct rpc_stream *streams[8];
    for (int i = 0; i < 8; i++) {
        streams[i] = open_watch(0);
        drop_change(next_change(streams[i]));
    }
    ck_assert_int_eq(watcher_count(), 8);
    for (int i = 0; i < 8; i++)
        rpc_stream_free(streams[i]);
    const int64_t start_ms = clock_monotonic_ms();
    while (watcher_count() > 0 && clock_monotonic_ms() - start_ms < 5000)
        clock_sleep_ms(10);
    ck_assert_int_lt(clock_monotonic_ms() - start_ms, 1000);
}
END_TEST

static void *expect_unavailable(void *context)
{
    struct rpc_stream *stream = context;
    struct err e = {0};
    enum err_code code = ERR_OK;
    while (code == ERR_OK) {
        ProtobufCMessage *message = NULL;
        code = rpc_stream_next(stream, 10000, &message, &e);
        if (code == ERR_OK && message == NULL)
            break;
        if (message != NULL)
            protobuf_c_message_free_unpacked(message, NULL);
    }
    rpc_stream_free(stream);
    return code == ERR_UNAVAILABLE && strstr(e.note, "watch again") != NULL ? stream : NULL;
}

START_TEST(drain_with_open_watches_ends_quickly)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        struct rpc_stream *stream = open_watch(0);
        drop_change(next_change(stream));
        ck_assert_int_eq(pthread_create(&threads[i], NULL, expect_unavailable, stream), 0);
    }
    int64_t took_ms = 0;
    ck_assert_int_eq(daemon_stop(&posv, &took_ms), 0);
    ck_assert_int_lt(took_ms, 2500);
    for (int i = 0; i < 8; i++) {
        void *told = NULL;
        pthread_join(threads[i], &told);
        ck_assert_ptr_nonnull(told);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("posv_watch");
    TCase *tc = tcase_create("posv_watch");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, watchers_that_resume_miss_nothing_of_16_writers);
    tcase_add_test(tc, new_watch_hears_the_mark_then_heartbeats_then_news);
    tcase_add_test(tc, watch_ahead_of_the_table_or_negative_is_refused);
    tcase_add_test(tc, watcher_that_does_not_read_holds_nobody_up);
    tcase_add_test(tc, cancelled_watch_is_gone_soon);
    tcase_add_test(tc, drain_with_open_watches_ends_quickly);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

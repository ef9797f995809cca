#include "posp/follower.h"

#include "base/clock.h"
#include "base/log.h"
#include "posward/posv/v1/posv.pb-c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MOST_MS  3000
#define POLL_MS          500 /* how soon a stop is noticed */
#define STATUS_MS        3000
#define FIRST_MS         10000 /* until POSV, which may wait for its disk, sends something */
#define FOREVER_MS       (INT64_MAX / 2)
#define LATE_MS          500 /* how late a heartbeat may be, beyond one that is left out */

struct follower {
    struct store *store;
    struct rpc_channel *channel;
    pthread_t thread;
    atomic_bool stopping, following;
    bool unstored; /* the last failure was of our store, not of POSV */
};

static enum err_code take_device(const Posward__Posv__V1__Device *from, struct store_device *out_device,
                                 struct err *e)
{
    struct store_device device = {.suite = (int)from->suite,
                                  .master_version = from->master_version,
                                  .wrap_version = from->wrap_version == 0 ? 1 : from->wrap_version,
                                  .state = (int)from->state,
                                  .revision = from->revision};
    const struct {
        char *to;
        size_t capacity;
        const char *text;
    } texts[] = {
        {device.terminal_id, sizeof device.terminal_id, from->terminal_id},
        {device.merchant_id, sizeof device.merchant_id, from->merchant_id},
        {device.psam_number, sizeof device.psam_number, from->psam_number},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const int len = snprintf(texts[i].to, texts[i].capacity, "%s", texts[i].text);
        if (len < 0 || (size_t)len >= texts[i].capacity)
            return err_set(e, ERR_INPUT, "posv: a device with a number that is too long");
    }
    *out_device = device;
    return ERR_OK;
}

static enum err_code take_change(struct follower *f, const Posward__Posv__V1__DeviceChange *change,
                                 struct err *e)
{
    struct store_device device;
    if (change->device == NULL)
        return store_device_put(f->store, NULL, change->revision, e);
    TRY(take_device(change->device, &device, e));
    TRY(store_device_put(f->store, &device, change->revision, e));
    log_event(LOG_DEBUG, "device followed", LOG_STR("terminal", device.terminal_id),
              LOG_INT("revision", change->revision), LOG_INT("state", device.state));
    return ERR_OK;
}

/* A revision behind ours means that POSV's table was started anew or restored: only all of it will do. */
static enum err_code check_revision(struct follower *f, int64_t *revision, struct err *e)
{
    Posward__Posv__V1__GetStatusRequest request = POSWARD__POSV__V1__GET_STATUS_REQUEST__INIT;
    const struct rpc_call_options options = {.timeout_ms = STATUS_MS};
    ProtobufCMessage *response = NULL;
    uint64_t count;
    TRY(store_device_progress(f->store, revision, &count, e));
    TRY(rpc_unary(f->channel, &posward__posv__v1__registry__descriptor, "GetStatus", &request.base, &options,
                  &response, e));
    const int64_t theirs = ((Posward__Posv__V1__GetStatusResponse *)response)->revision;
    protobuf_c_message_free_unpacked(response, NULL);
    if (theirs >= *revision)
        return ERR_OK;
    log_event(LOG_WARN, "device table of POSV is older than the copy; the copy is made anew",
              LOG_INT("theirs", theirs), LOG_INT("ours", *revision));
    *revision = 0;
    const enum err_code code = store_devices_clear(f->store, e);
    f->unstored = code != ERR_OK;
    return code;
}

/* How long the feed may be silent before it counts as dead, once it has said how often it speaks. Its
 * connection may live all the same: a proxy may end it. */
static int64_t silence_allowed(const Posward__Posv__V1__DeviceChange *change, int64_t allowed_ms)
{
    if (change->heartbeat != NULL)
        return 2 * (int64_t)change->heartbeat->interval_ms + LATE_MS;
    return change->device != NULL ? allowed_ms : FOREVER_MS; /* a mark of a POSV that does not say */
}

/* The next message, as rpc_stream_next, but ERR_UNAVAILABLE at `silent_at_ms`. */
static enum err_code hear(struct rpc_stream *stream, int64_t silent_at_ms, ProtobufCMessage **out_message,
                          struct err *e)
{
    const int64_t left_ms = silent_at_ms - clock_monotonic_ms();
    const enum err_code code =
        rpc_stream_next(stream, left_ms < POLL_MS ? (left_ms > 0 ? left_ms : 0) : POLL_MS, out_message, e);
    if (code == ERR_TIMEOUT && clock_monotonic_ms() >= silent_at_ms)
        return err_set(e, ERR_UNAVAILABLE, "posv's feed is silent: no heartbeat came");
    if (code == ERR_OK && *out_message == NULL)
        return err_set(e, ERR_UNAVAILABLE, "posv has ended the feed");
    return code;
}

/* Until the stream ends or we stop. */
static enum err_code follow_stream(struct follower *f, struct rpc_stream *stream, int64_t revision,
                                   struct err *e)
{
    int64_t allowed_ms = FIRST_MS, heard_ms = clock_monotonic_ms();
    while (!atomic_load(&f->stopping)) {
        ProtobufCMessage *message = NULL;
        const enum err_code code = hear(stream, heard_ms + allowed_ms, &message, e);
        if (code == ERR_TIMEOUT)
            continue;
        if (code != ERR_OK)
            return code;
        atomic_store(&f->following, true);
        const Posward__Posv__V1__DeviceChange *change = (const Posward__Posv__V1__DeviceChange *)message;
        allowed_ms = silence_allowed(change, allowed_ms);
        const bool news = change->device != NULL || change->revision != revision;
        const enum err_code taken = news ? take_change(f, change, e) : ERR_OK;
        f->unstored = taken != ERR_OK;
        revision = change->revision;
        protobuf_c_message_free_unpacked(message, NULL);
        TRY(taken);
        heard_ms = clock_monotonic_ms(); /* the store may have taken its time */
    }
    return ERR_OK;
}

static enum err_code follow_once(struct follower *f, struct err *e)
{
    int64_t revision = 0;
    f->unstored = false;
    TRY(check_revision(f, &revision, e));
    Posward__Posv__V1__WatchDevicesRequest request = POSWARD__POSV__V1__WATCH_DEVICES_REQUEST__INIT;
    request.from_revision = revision;
    const struct rpc_call_options options = {.timeout_ms = 0};
    struct rpc_stream *stream = NULL;
    TRY(rpc_stream_open(f->channel, &posward__posv__v1__registry__descriptor, "WatchDevices", &request.base,
                        &options, &stream, e));
    const enum err_code code = follow_stream(f, stream, revision, e);
    rpc_stream_free(stream);
    return code;
}

static void pause_ms(struct follower *f, int64_t ms)
{
    const int64_t until = clock_monotonic_ms() + ms;
    while (!atomic_load(&f->stopping) && clock_monotonic_ms() < until)
        clock_sleep_ms(50);
}

static void tell(const struct follower *f, const struct err *e)
{
    log_failure(LOG_WARN,
                f->unstored ? "a change of the device table cannot be stored here; trying again"
                            : "posv is unavailable; working with the copy of its table",
                e);
}

static void *follow_loop(void *context)
{
    struct follower *f = context;
    int64_t backoff_ms = BACKOFF_FIRST_MS;
    bool told = false;
    while (!atomic_load(&f->stopping)) {
        struct err e = {0};
        const bool was_unstored = f->unstored;
        (void)!follow_once(f, &e);
        const bool followed = atomic_exchange(&f->following, false);
        if (f->unstored != was_unstored || (followed && !f->unstored)) {
            backoff_ms = BACKOFF_FIRST_MS;
            told = false;
        }
        if (atomic_load(&f->stopping))
            break;
        if (!told)
            tell(f, &e);
        told = true;
        pause_ms(f, backoff_ms);
        backoff_ms = backoff_ms * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : backoff_ms * 2;
    }
    return NULL;
}

enum err_code follower_start(struct store *store, struct rpc_channel *channel, struct follower **out_follower,
                             struct err *e)
{
    struct follower *f = calloc(1, sizeof *f);
    if (f == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    f->store = store;
    f->channel = channel;
    if (pthread_create(&f->thread, NULL, follow_loop, f) != 0) {
        free(f);
        return err_set(e, ERR_LIMIT, "cannot start the follower's thread");
    }
    *out_follower = f;
    return ERR_OK;
}

bool follower_is_following(const struct follower *f)
{
    return atomic_load(&f->following);
}

void follower_free(struct follower *f)
{
    if (f == NULL)
        return;
    atomic_store(&f->stopping, true);
    pthread_join(f->thread, NULL);
    free(f);
}

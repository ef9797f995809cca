#include "posv/changes.h"

#include "base/clock.h"
#include "base/wait.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define PAGE_DEVICES 128
#define GONE_POLL_MS 100 /* how late a follower may notice that its caller went away */

struct changes {
    struct store *store;
    int64_t heartbeat_ms;
    pthread_mutex_t lock;
    pthread_cond_t news;
    int64_t latest; /* under lock, like the rest */
    uint32_t followers;
    bool closed;
};

enum err_code changes_new(struct store *store, int64_t heartbeat_ms, struct changes **out_changes,
                          struct err *e)
{
    int64_t revision = 0;
    TRY(store_revision(store, &revision, e));
    struct changes *c = calloc(1, sizeof *c);
    if (c == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    c->store = store;
    c->heartbeat_ms = heartbeat_ms;
    c->latest = revision;
    pthread_mutex_init(&c->lock, NULL);
    wait_cond_init(&c->news);
    *out_changes = c;
    return ERR_OK;
}

int64_t changes_heartbeat_ms(const struct changes *c)
{
    return c->heartbeat_ms;
}

void changes_free(struct changes *c)
{
    if (c == NULL)
        return;
    pthread_cond_destroy(&c->news);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void changes_notify(struct changes *c, int64_t revision)
{
    pthread_mutex_lock(&c->lock);
    if (revision > c->latest)
        c->latest = revision;
    pthread_cond_broadcast(&c->news);
    pthread_mutex_unlock(&c->lock);
}

void changes_close(struct changes *c)
{
    pthread_mutex_lock(&c->lock);
    c->closed = true;
    pthread_cond_broadcast(&c->news);
    pthread_mutex_unlock(&c->lock);
}

uint32_t changes_followers(struct changes *c)
{
    pthread_mutex_lock(&c->lock);
    const uint32_t followers = c->followers;
    pthread_mutex_unlock(&c->lock);
    return followers;
}

static bool is_closed(struct changes *c)
{
    pthread_mutex_lock(&c->lock);
    const bool closed = c->closed;
    pthread_mutex_unlock(&c->lock);
    return closed;
}

static enum err_code check_still_open(struct changes *c, const struct changes_sink *sink, int64_t revision,
                                      struct err *e)
{
    if (sink->gone(sink->context))
        return err_set(e, ERR_CANCELLED, "the watcher went away");
    if (is_closed(c))
        return err_set(e, ERR_UNAVAILABLE, "POSV is shutting down: watch again from revision %" PRId64,
                       revision);
    return ERR_OK;
}

/* Send pages until one is not full; *revision moves along. */
static enum err_code replay(struct changes *c, const struct changes_sink *sink, struct device *page,
                            int64_t *revision, struct err *e)
{
    size_t count = PAGE_DEVICES;
    while (count == PAGE_DEVICES) {
        TRY(store_changes(c->store, *revision, PAGE_DEVICES, page, &count, e));
        for (size_t i = 0; i < count; i++) {
            TRY(check_still_open(c, sink, *revision, e));
            sink->send(sink->context, page[i].revision, &page[i]);
            *revision = page[i].revision;
        }
    }
    return ERR_OK;
}

/* Until there is something newer than `revision`, a heartbeat is due (*out_news false) or the end has come.
 */
static enum err_code wait_for_news(struct changes *c, const struct changes_sink *sink, int64_t revision,
                                   bool *out_news, struct err *e)
{
    const int64_t heartbeat_at = clock_monotonic_ms() + c->heartbeat_ms;
    for (;;) {
        TRY(check_still_open(c, sink, revision, e));
        const int64_t left_ms = heartbeat_at - clock_monotonic_ms();
        pthread_mutex_lock(&c->lock);
        if (c->latest <= revision && !c->closed && left_ms > 0) {
            const struct timespec end = wait_end(left_ms < GONE_POLL_MS ? left_ms : GONE_POLL_MS);
            (void)wait_until(&c->news, &c->lock, &end);
        }
        const bool news = c->latest > revision;
        pthread_mutex_unlock(&c->lock);
        if (news || left_ms <= 0) {
            *out_news = news;
            return ERR_OK;
        }
    }
}

static enum err_code follow(struct changes *c, int64_t revision, const struct changes_sink *sink,
                            struct device *page, struct err *e)
{
    TRY(replay(c, sink, page, &revision, e));
    sink->send(sink->context, revision, NULL);
    for (;;) {
        bool news = false;
        TRY(wait_for_news(c, sink, revision, &news, e));
        /* At a heartbeat too: a commit that was reported as failed may have reached the disk after all. */
        TRY(replay(c, sink, page, &revision, e));
        if (!news)
            sink->send(sink->context, revision, NULL);
    }
}

static enum err_code check_start(struct changes *c, int64_t from_revision, struct err *e)
{
    if (from_revision < 0)
        return err_set(e, ERR_INPUT, "from_revision must be 0 or more, got %" PRId64, from_revision);
    int64_t revision = 0;
    TRY(store_revision(c->store, &revision, e));
    if (from_revision > revision)
        return err_set(e, ERR_STATE,
                       "from_revision %" PRId64 " is ahead of the table, which is at %" PRId64
                       ": POSV's store was restored from an older backup; watch from 0 to start afresh",
                       from_revision, revision);
    return ERR_OK;
}

static bool enter(struct changes *c)
{
    pthread_mutex_lock(&c->lock);
    const bool open = !c->closed;
    c->followers += open;
    pthread_mutex_unlock(&c->lock);
    return open;
}

static void leave(struct changes *c)
{
    pthread_mutex_lock(&c->lock);
    c->followers--;
    pthread_mutex_unlock(&c->lock);
}

enum err_code changes_follow(struct changes *c, int64_t from_revision, const struct changes_sink *sink,
                             struct err *e)
{
    TRY(check_start(c, from_revision, e));
    struct device *page = malloc(PAGE_DEVICES * sizeof *page);
    if (page == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    enum err_code code;
    if (enter(c)) {
        code = follow(c, from_revision, sink, page, e);
        leave(c);
    } else {
        code = err_set(e, ERR_UNAVAILABLE, "POSV is shutting down: watch again soon");
    }
    free(page);
    return code;
}

/* The change feed: followers replay the store from a revision, then wait for what is new.
 *
 * Nothing is queued for a follower: it reads pages from the store at its own pace, so a slow one costs
 * nothing and misses nothing. A page is in the order of revisions and revisions are given out under the
 * store's write lock, so a follower that has revision n has all changes up to n. */
#ifndef POSWARD_POSV_CHANGES_H
#define POSWARD_POSV_CHANGES_H

#include "posv/store.h"

struct changes;

/* `store` is borrowed. Followers hear a heartbeat when nothing else was said for `heartbeat_ms`. */
enum err_code changes_new(struct store *store, int64_t heartbeat_ms, struct changes **out_changes,
                          struct err *e) MUST_CHECK;
int64_t changes_heartbeat_ms(const struct changes *changes);
/* After the last follower has left. Accepts NULL. */
void changes_free(struct changes *c);

/* Wake followers: the table has reached `revision`. After the commit; any thread, any order. */
void changes_notify(struct changes *c, int64_t revision);
/* End all followers now and refuse new ones. Any thread, more than once. */
void changes_close(struct changes *c);
uint32_t changes_followers(struct changes *c);

/* Where a follower's changes go; called on the follower's thread. */
struct changes_sink {
    void *context;
    /* `device` NULL: a heartbeat, or the mark that everything up to `revision` has been sent. May block. */
    void (*send)(void *context, int64_t revision, const struct device *device);
    bool (*gone)(void *context); /* asked several times a second */
};

/* Follow from after `from_revision` until the sink is gone (ERR_CANCELLED), the feed closes (ERR_UNAVAILABLE)
 * or the store fails. Never ERR_OK. ERR_INPUT a negative revision; ERR_STATE one that the table has not
 * reached. */
enum err_code changes_follow(struct changes *c, int64_t from_revision, const struct changes_sink *sink,
                             struct err *e) MUST_CHECK;

#endif

#include "hsm-service/audit/writer.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/wait.h"
#include "hsm-service/audit/signature.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define RETRY_MS 200

struct posted {
    STAILQ_ENTRY(posted) link;
    struct audit_record record;
    audit_done_fn done;
    void *context;
    int64_t posted_ms;
};
STAILQ_HEAD(posted_list, posted);

struct audit_writer {
    struct audit_store *store;    /* the thread's, as `records` */
    struct audit_record *records; /* room for a batch */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct posted_list queue;
    struct audit_counts counts;
    uint64_t lost_told, tries;
    int64_t unsigned_since_ms; /* monotonic */
    bool healthy, stopping;
};

/* Tell who waits for them, and free them. */
static void tell(struct posted_list *list, bool on_disk)
{
    struct posted *p;
    while ((p = STAILQ_FIRST(list)) != NULL) {
        STAILQ_REMOVE_HEAD(list, link);
        if (p->done != NULL)
            p->done(p->context, on_disk);
        free(p);
    }
}

/* The first records of the queue, which stay there. Lock held. */
static size_t copy_batch(struct audit_writer *w, struct audit_record *out_records)
{
    size_t count = 0;
    const struct posted *p;
    STAILQ_FOREACH (p, &w->queue, link) {
        if (count == AUDIT_BATCH_MOST - 1) /* room for one about lost records */
            break;
        out_records[count++] = p->record;
    }
    if (w->counts.lost > w->lost_told) {
        struct audit_record r = {
            .kind = AUDIT_LOST, .time_ms = clock_wall_ms(), .who = "audit", .result = "OK"};
        snprintf(r.what, sizeof r.what, "records had no room");
        snprintf(r.note, sizeof r.note, "count=%" PRIu64, w->counts.lost - w->lost_told);
        out_records[count++] = r;
    }
    return count;
}

/* Lock held. `seq` is on the disk. A checkpoint leaves those unsigned that came after what it signs. */
static void count_unsigned(struct audit_writer *w, const struct audit_record *r, uint64_t seq)
{
    struct audit_head at;
    uint8_t signature[AUDIT_SIGNATURE_BYTES];
    struct err ignored;
    const uint64_t before = w->counts.unsigned_records;
    if (r->kind != AUDIT_CHECKPOINT) {
        w->counts.unsigned_records++;
    } else {
        w->counts.checkpoints++;
        const bool sound = audit_checkpoint_read(r->note, &at, signature, &ignored) == ERR_OK;
        const uint64_t after = sound && at.seq < seq ? seq - 1 - at.seq : 0;
        w->counts.unsigned_records = after < before ? after : before;
    }
    if (before == 0 || r->kind == AUDIT_CHECKPOINT)
        w->unsigned_since_ms = clock_monotonic_ms();
}

/* Lock held. Those whose `done` is to be called go to `out_told`. */
static void settle(struct audit_writer *w, size_t count, const struct audit_head *head,
                   struct posted_list *out_told)
{
    size_t left = count;
    while (left > 0 && !STAILQ_EMPTY(&w->queue)) {
        struct posted *const p = STAILQ_FIRST(&w->queue);
        STAILQ_REMOVE_HEAD(&w->queue, link);
        STAILQ_INSERT_TAIL(out_told, p, link);
        count_unsigned(w, &p->record, head->seq - left + 1);
        w->counts.waiting--;
        left--;
    }
    w->counts.written += count;
    w->counts.head = *head;
}

/* Lock held: each `done` is called now and not again; the records stay. */
static void disappoint(struct audit_writer *w, struct posted_list *out_told)
{
    struct posted *p;
    STAILQ_FOREACH (p, &w->queue, link) {
        if (p->done == NULL)
            continue;
        struct posted *const told = calloc(1, sizeof *told);
        if (told == NULL)
            continue; /* the next try comes back to it */
        told->done = p->done;
        told->context = p->context;
        p->done = NULL;
        STAILQ_INSERT_TAIL(out_told, told, link);
    }
}

static void log_change(bool was_healthy, const struct err *failure)
{
    if (failure != NULL && was_healthy)
        log_failure(LOG_ERROR, "the audit log cannot be written: sensitive operations are refused", failure);
    else if (failure == NULL && !was_healthy)
        log_event(LOG_INFO, "the audit log is written again");
}

/* Lock held at entry and exit. */
static bool write_batch(struct audit_writer *w, struct audit_record *records)
{
    struct err e = {0};
    struct audit_head head = {0};
    struct posted_list told = STAILQ_HEAD_INITIALIZER(told);
    const uint64_t lost = w->counts.lost;
    const size_t of_queue =
        w->counts.waiting < AUDIT_BATCH_MOST - 1 ? w->counts.waiting : AUDIT_BATCH_MOST - 1;
    const size_t count = copy_batch(w, records);
    pthread_mutex_unlock(&w->lock);
    const enum err_code code = audit_store_append(w->store, records, count, &head, &e);
    pthread_mutex_lock(&w->lock);
    const bool was_healthy = w->healthy;
    w->healthy = code == ERR_OK;
    w->tries++;
    if (code == ERR_OK) {
        settle(w, of_queue, &head, &told);
        w->lost_told = lost;
        w->counts.files = audit_store_files(w->store);
    } else {
        w->counts.failures++;
        disappoint(w, &told);
    }
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    log_change(was_healthy, code == ERR_OK ? NULL : &e);
    tell(&told, code == ERR_OK);
    pthread_mutex_lock(&w->lock);
    return code == ERR_OK;
}

static void wait_ms(struct audit_writer *w, int64_t ms)
{
    const struct timespec end = wait_end(ms);
    (void)wait_until(&w->changed, &w->lock, &end);
}

static void *run(void *context)
{
    struct audit_writer *const w = context;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (STAILQ_EMPTY(&w->queue) && w->counts.lost == w->lost_told && !w->stopping)
            pthread_cond_wait(&w->changed, &w->lock);
        if (STAILQ_EMPTY(&w->queue) && w->counts.lost == w->lost_told)
            break;
        const bool written = write_batch(w, w->records);
        if (!written && w->stopping)
            break;
        const int64_t again_ms = clock_monotonic_ms() + RETRY_MS;
        while (!written && !w->stopping && clock_monotonic_ms() < again_ms) /* posts wake it too */
            wait_ms(w, RETRY_MS);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

enum err_code audit_writer_start(struct audit_store *store, struct audit_writer **out_writer, struct err *e)
{
    struct audit_writer *const w = calloc(1, sizeof *w);
    struct audit_record *const records = calloc(AUDIT_BATCH_MOST, sizeof *records);
    if (w == NULL || records == NULL) {
        free(records);
        free(w);
        audit_store_close(store);
        return err_set(e, ERR_LIMIT, "no memory for the audit log");
    }
    w->records = records;
    w->store = store;
    w->healthy = true;
    w->counts.head = audit_store_head(store);
    STAILQ_INIT(&w->queue);
    wait_cond_init(&w->changed);
    pthread_mutex_init(&w->lock, NULL);
    const int failed = pthread_create(&w->thread, NULL, run, w);
    if (failed != 0) {
        audit_store_close(store);
        free(records);
        free(w);
        return err_native(e, ERR_IO, failed, "cannot start the audit log's thread: %s", strerror(failed));
    }
    *out_writer = w;
    return ERR_OK;
}

void audit_writer_stop(struct audit_writer *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    if (w->counts.waiting > 0)
        log_event(LOG_ERROR, "audit records could not be written before the end",
                  LOG_INT("records", w->counts.waiting));
    tell(&w->queue, false);
    audit_store_close(w->store);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w->records);
    free(w);
}

void audit_writer_post(struct audit_writer *w, const struct audit_record *record, audit_done_fn done,
                       void *context)
{
    struct posted *const p = calloc(1, sizeof *p);
    if (p != NULL) {
        p->record = *record;
        p->done = done;
        p->context = context;
        p->posted_ms = clock_monotonic_ms();
    }
    pthread_mutex_lock(&w->lock);
    const bool room = p != NULL && w->counts.waiting < AUDIT_QUEUE_MOST;
    if (room) {
        STAILQ_INSERT_TAIL(&w->queue, p, link);
        w->counts.waiting++;
    } else {
        w->counts.lost++;
    }
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (room)
        return;
    free(p);
    if (done != NULL)
        done(context, false);
}

void audit_writer_flush(struct audit_writer *w, int64_t timeout_ms)
{
    const int64_t until_ms = clock_monotonic_ms() + timeout_ms;
    pthread_mutex_lock(&w->lock);
    const uint64_t tries = w->tries;
    while (w->counts.waiting > 0 && (w->healthy || w->tries == tries) && clock_monotonic_ms() < until_ms)
        wait_ms(w, 50);
    pthread_mutex_unlock(&w->lock);
}

bool audit_writer_healthy(struct audit_writer *w)
{
    pthread_mutex_lock(&w->lock);
    const bool healthy = w->healthy && w->counts.waiting < AUDIT_QUEUE_MOST;
    pthread_mutex_unlock(&w->lock);
    return healthy;
}

struct audit_counts audit_writer_counts(struct audit_writer *w)
{
    pthread_mutex_lock(&w->lock);
    struct audit_counts counts = w->counts;
    const struct posted *const oldest = STAILQ_FIRST(&w->queue);
    const int64_t now_ms = clock_monotonic_ms();
    counts.waiting_ms = oldest != NULL ? now_ms - oldest->posted_ms : 0;
    counts.unsigned_ms = counts.unsigned_records > 0 ? now_ms - w->unsigned_since_ms : 0;
    pthread_mutex_unlock(&w->lock);
    return counts;
}

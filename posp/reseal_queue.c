#include "posp/reseal_queue.h"

#include "base/wait.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SETTLED_SLOTS 4096 /* a power of two; a newer terminal takes the slot */

struct reseal_queue {
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct reseal_waiting ring[RESEAL_QUEUE_MOST], settled[SETTLED_SLOTS];
    size_t first, count;
    uint64_t dropped;
    bool stopping;
};

enum err_code reseal_queue_new(struct reseal_queue **out_queue, struct err *e)
{
    struct reseal_queue *const q = calloc(1, sizeof *q);
    if (q == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    pthread_mutex_init(&q->lock, NULL);
    wait_cond_init(&q->changed);
    *out_queue = q;
    return ERR_OK;
}

void reseal_queue_free(struct reseal_queue *q)
{
    if (q == NULL)
        return;
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

/* FNV-1a */
static struct reseal_waiting *slot_of(struct reseal_queue *q, const char *terminal_id)
{
    uint32_t hash = 2166136261u;
    for (; *terminal_id != '\0'; terminal_id++)
        hash = (hash ^ (uint8_t)*terminal_id) * 16777619u;
    return &q->settled[hash & (SETTLED_SLOTS - 1)];
}

static bool is_same(const struct reseal_waiting *w, const char *terminal_id, int64_t generation)
{
    return w->generation == generation && strcmp(w->terminal_id, terminal_id) == 0;
}

static bool waits(const struct reseal_queue *q, const char *terminal_id)
{
    for (size_t i = 0; i < q->count; i++)
        if (strcmp(q->ring[(q->first + i) % RESEAL_QUEUE_MOST].terminal_id, terminal_id) == 0)
            return true;
    return false;
}

void reseal_queue_add(struct reseal_queue *q, const char *terminal_id, int64_t generation)
{
    pthread_mutex_lock(&q->lock);
    if (!is_same(slot_of(q, terminal_id), terminal_id, generation) && !waits(q, terminal_id)) {
        if (q->count == RESEAL_QUEUE_MOST) {
            q->dropped++;
        } else {
            struct reseal_waiting *const w = &q->ring[(q->first + q->count++) % RESEAL_QUEUE_MOST];
            snprintf(w->terminal_id, sizeof w->terminal_id, "%s", terminal_id);
            w->generation = generation;
            pthread_cond_signal(&q->changed);
        }
    }
    pthread_mutex_unlock(&q->lock);
}

size_t reseal_queue_take(struct reseal_queue *q, struct reseal_waiting *out_taken, size_t capacity)
{
    size_t taken = 0;
    pthread_mutex_lock(&q->lock);
    while (q->count == 0 && !q->stopping)
        pthread_cond_wait(&q->changed, &q->lock);
    while (!q->stopping && q->count > 0 && taken < capacity) {
        out_taken[taken++] = q->ring[q->first];
        q->first = (q->first + 1) % RESEAL_QUEUE_MOST;
        q->count--;
    }
    pthread_mutex_unlock(&q->lock);
    return taken;
}

void reseal_queue_sleep(struct reseal_queue *q, int64_t ms)
{
    const struct timespec end = wait_end(ms);
    pthread_mutex_lock(&q->lock);
    for (bool in_time = ms > 0; in_time && !q->stopping;)
        in_time = wait_until(&q->changed, &q->lock, &end);
    pthread_mutex_unlock(&q->lock);
}

void reseal_queue_stop(struct reseal_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->stopping = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

void reseal_queue_settle(struct reseal_queue *q, const struct reseal_waiting *waiting)
{
    pthread_mutex_lock(&q->lock);
    *slot_of(q, waiting->terminal_id) = *waiting;
    pthread_mutex_unlock(&q->lock);
}

struct reseal_queue_figures reseal_queue_figures(struct reseal_queue *q)
{
    pthread_mutex_lock(&q->lock);
    const struct reseal_queue_figures figures = {q->count, q->dropped};
    pthread_mutex_unlock(&q->lock);
    return figures;
}

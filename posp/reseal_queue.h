/* Terminals whose blobs wait to be re-sealed: bounded, each once. Any thread. */
#ifndef POSWARD_POSP_RESEAL_QUEUE_H
#define POSWARD_POSP_RESEAL_QUEUE_H

#include "posp/store.h"

#define RESEAL_QUEUE_MOST 1024

struct reseal_queue;

struct reseal_waiting {
    char terminal_id[STORE_TERMINAL_BYTES];
    int64_t generation;
};

enum err_code reseal_queue_new(struct reseal_queue **out_queue, struct err *e) MUST_CHECK;
/* Nobody waits in it any more. Accepts NULL. */
void reseal_queue_free(struct reseal_queue *queue);
/* Nothing when it waits already, was settled, or the queue is full (counted). */
void reseal_queue_add(struct reseal_queue *queue, const char *terminal_id, int64_t generation);
/* Blocks until somebody waits; takes up to `capacity`. 0: stopped. */
size_t reseal_queue_take(struct reseal_queue *queue, struct reseal_waiting *out_taken, size_t capacity);
/* Or until it is stopped. */
void reseal_queue_sleep(struct reseal_queue *queue, int64_t ms);
void reseal_queue_stop(struct reseal_queue *queue);
/* Only a sign-in can help this set: it is not taken in again, as far as the queue can remember. */
void reseal_queue_settle(struct reseal_queue *queue, const struct reseal_waiting *waiting);

struct reseal_queue_figures {
    uint64_t waiting, dropped;
};
struct reseal_queue_figures reseal_queue_figures(struct reseal_queue *queue);

#endif

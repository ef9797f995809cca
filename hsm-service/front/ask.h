/* Inside front/ only: what the front asks keepers for itself - which keys they have, a signature, a key
 * order.
 *
 * No gRPC call waits for such a question in the queue, and it is never handed to a second keeper: who asks
 * decides what a lost one means. */
#ifndef POSWARD_HSM_SERVICE_FRONT_ASK_H
#define POSWARD_HSM_SERVICE_FRONT_ASK_H

#include "hsm-service/ipc.h"

#include <stdbool.h>

struct front;
struct front_keeper;

/* Called once: with the keeper's answer (IPC_RESPONSE or IPC_FAILURE), on the loop thread with the mutex
 * free; or with NULL when the keeper ended or was killed over it, with the mutex in any state. */
typedef void (*front_asked_fn)(struct front *f, void *context, const struct ipc_frame *frame);

struct front_question {
    uint16_t method;
    const uint8_t *body; /* borrowed during the call */
    size_t len;
    front_asked_fn done;
    void *context;
};

/* Mutex held. False: the keeper takes no packet now, and `done` is not called. */
bool front_ask(struct front *f, struct front_keeper *keeper, const struct front_question *question);

/* What a keeper answered to front_ask_wait. */
struct front_reply {
    uint8_t *body;
    size_t len;
    bool lost; /* on failure: the question was with a keeper, and nobody knows what it did */
};
/* Ask the ready keeper with the fewest calls, however many wait for it, and wait. Its failure comes back as
 * class and note. ERR_UNAVAILABLE: no keeper (lost false), or it ended, or keepers.hang_ms passed (lost
 * true). Not on the loop thread; mutex free. */
enum err_code front_ask_wait(struct front *f, const struct ipc_frame *question, struct front_reply *out_reply,
                             struct err *e) MUST_CHECK;
/* Accepts a zeroed one. */
void front_reply_drop(struct front_reply *reply);

#endif

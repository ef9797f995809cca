/* Inside front/ only: a keeper's answer to a gRPC call, as it may leave the service. */
#ifndef POSWARD_HSM_SERVICE_FRONT_RELEASE_H
#define POSWARD_HSM_SERVICE_FRONT_RELEASE_H

#include "hsm-service/ipc.h"
#include "rpc/wire.h"

#include <stdbool.h>

struct front;
struct front_call;

struct release {
    bool failed;
    struct err failure;     /* where it failed */
    bool told;              /* of a failure: it is on record */
    struct wire_bytes body; /* the packed response; empty where it failed */
    uint8_t *own;           /* the body's memory where items were replaced, else NULL */
};

/* As the keeper said it; borrows the frame. */
struct release release_view(const struct ipc_frame *frame);
/* Count what was done with PINs, and take out what was refused, before or now; refusals go on record. Loop
 * thread. */
struct release release_answer(struct front *f, struct front_call *call, const struct ipc_frame *frame);
/* Put one record of the refused items of a batch into the audit log. Any thread. */
void front_record_items(struct front *f, const struct front_call *call, const struct err *first,
                        size_t count);
void release_drop(struct release *release); /* wipes */

#endif

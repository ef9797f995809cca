/* Items of a batch that were refused: before a keeper saw them (rights), or after it worked on them (counts).
 * Their results never leave as the keeper gave them. One thread at a time. */
#ifndef POSWARD_HSM_SERVICE_GATE_REFUSALS_H
#define POSWARD_HSM_SERVICE_GATE_REFUSALS_H

#include "base/err.h"
#include "rpc/wire.h"

#include <stdbool.h>

struct refusal {
    uint16_t item;
    struct err why;
};
struct refusals {
    struct refusal *items; /* in the order in which they were refused */
    size_t count, capacity;
};

void refusals_drop(struct refusals *refusals); /* accepts zeroes */
/* An item that is refused twice keeps its first reason. ERR_LIMIT no memory. */
enum err_code refusals_add(struct refusals *refusals, uint16_t item, const struct err *why,
                           struct err *e) MUST_CHECK;
bool refusals_have(const struct refusals *refusals, uint16_t item);
/* Set the bit of each item in `bits`, which has room for IPC_REFUSED_BYTES. */
void refusals_mark(const struct refusals *refusals, uint8_t *bits);
/* The packed ProcessBatchResponse with the results of refused items replaced by their status, message and
 * retry_ms. *out_bytes is malloc'd; wipe it. ERR_LIMIT no memory. ERR_INTERNAL: there is no result for a
 * refused item. */
enum err_code refusals_apply(const struct refusals *refusals, struct wire_bytes response, uint8_t **out_bytes,
                             size_t *out_len, struct err *e) MUST_CHECK;

#endif

/* Working keys and TMKs move to the storage and tag keys that are current.
 *
 * Lazily: when an answer of the HSM service advises it, the terminal waits in a bounded queue, and one thread
 * moves the blobs of waiting terminals, a round at a time and at most hsm.reseal_per_second. No transaction
 * waits for it or fails by it; a terminal that found no place is advised again by its next transaction.
 * By command: reseal_store goes through the whole store. Rounds of both take turns. */
#ifndef POSWARD_POSP_RESEAL_H
#define POSWARD_POSP_RESEAL_H

#include "posp/reseal_rows.h"
#include "run/prometheus.h"

struct reseal;

/* `posp` is borrowed until reseal_free. */
enum err_code reseal_start(struct posp *posp, struct reseal **out_reseal, struct err *e) MUST_CHECK;
/* Joins the thread; nobody is in reseal_store any more. Accepts NULL. */
void reseal_free(struct reseal *reseal);

/* A blob of this set of the terminal is not under the current keys. Any thread; never blocks for long.
 * Accepts NULL. */
void reseal_advise(struct reseal *reseal, const char *terminal_id, int64_t generation);

/* Told after each round how far it came, of `total` blobs at the start; waits for `pause_ms`. False: stop. */
typedef bool (*reseal_pause_fn)(void *context, const struct reseal_counts *counts, uint64_t total,
                                int64_t pause_ms);
/* All rows, at most `per_second` blobs a second; 0: as configured. *out_left: blobs that are not under
 * the newest keys now. One at a time: ERR_STATE. ERR_CANCELLED: `pause` said so; what was moved stays moved,
 * and another run skips it. A service that is away is asked again for half a minute. */
enum err_code reseal_store(struct reseal *reseal, uint32_t per_second, reseal_pause_fn pause, void *context,
                           struct reseal_counts *out_counts, uint64_t *out_left, struct err *e) MUST_CHECK;

void reseal_metrics(struct reseal *reseal, struct prometheus *page);

#endif

/* Joins operations of many threads into ProcessBatch messages (8.5 times the rate of single calls at 10 a
 * message).
 *
 * Whoever finds fewer than FLYING_MAX messages under way sends what waits, its own and others'; so an idle
 * system adds no delay, and a busy one fills its messages by itself. Any thread. */
#ifndef POSWARD_POSP_HSM_BATCH_H
#define POSWARD_POSP_HSM_BATCH_H

#include "posward/hsm/v1/hsm.pb-c.h"
#include "rpc/client.h"

struct hsm_batch;

/* `channel` is borrowed. */
enum err_code hsm_batch_new(struct rpc_channel *channel, int64_t timeout_ms, struct hsm_batch **out_batch,
                            struct err *e) MUST_CHECK;
/* Nobody is in a call any more. Accepts NULL. */
void hsm_batch_free(struct hsm_batch *batch);

/* One operation. *out_result has the kind of `item`'s operation and is freed with
 * ..._batch_result__free_unpacked. */
enum err_code hsm_batch_call(struct hsm_batch *batch, Posward__Hsm__V1__BatchItem *item,
                             Posward__Hsm__V1__BatchResult **out_result, struct err *e) MUST_CHECK;

#endif

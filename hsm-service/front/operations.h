/* Inside front/ only: operations by kind and outcome, and what the token said when one failed; for metrics.
 * An item of a batch is an operation like a call of its own. Loop thread, but for the page. */
#ifndef POSWARD_HSM_SERVICE_FRONT_OPERATIONS_H
#define POSWARD_HSM_SERVICE_FRONT_OPERATIONS_H

#include "base/err.h"
#include "hsm-service/front/release.h"
#include "hsm-service/gate/facts.h"

struct front_operations;
struct prometheus;

enum err_code front_operations_new(struct front_operations **out_operations, struct err *e) MUST_CHECK;
void front_operations_free(struct front_operations *operations); /* accepts NULL */
/* A keeper answered a call. */
void front_operations_answer(struct front_operations *operations, const struct facts *facts,
                             const struct release *release);
/* The same, but the call is tried again: only the errors count. */
void front_operations_retry(struct front_operations *operations, const struct facts *facts,
                            const struct release *release);
void front_operations_metrics(struct front_operations *operations, struct prometheus *page);

/* The first "CKR_NAME" in a note, as it stands there; NULL: none, or one that is too long to be one. */
#define CKR_NAME_BYTES 48
const char *front_operations_ckr(const char *note, size_t len, char out_name[CKR_NAME_BYTES]);

#endif

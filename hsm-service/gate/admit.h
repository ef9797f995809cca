/* Whether a call may go to a keeper, and whether what came back may leave: rights, quotas, and how often a
 * PIN is worked on.
 *
 * Rights and quotas are asked before a keeper sees the call. PIN operations are counted after the keeper
 * worked on them and before the answer is released: only the keeper knows the account of an enciphered
 * track, and that the message was proven. What is refused then is dropped: nobody outside gets the block. */
#ifndef POSWARD_HSM_SERVICE_GATE_ADMIT_H
#define POSWARD_HSM_SERVICE_GATE_ADMIT_H

#include "hsm-service/config.h"
#include "hsm-service/gate/facts.h"
#include "hsm-service/gate/refusals.h"
#include "hsm-service/ipc.h"
#include "hsm-service/limits/limits.h"

struct admit;
struct prometheus;

enum err_code admit_new(const struct hsm_config *config, struct admit **out_admit, struct err *e) MUST_CHECK;
void admit_free(struct admit *admit); /* accepts NULL */
/* The stricter of the configuration and `policy` from now on. Any thread. */
void admit_set(struct admit *admit, const struct limits_policy *policy);

/* Whose call it is: not terminated, as in struct ipc_frame. */
struct admit_caller {
    const char *identity;
    size_t identity_len;
};

/* What was refused of a batch, for one record of it. */
struct admit_told {
    struct err first;
    size_t count;
};

/* Before a keeper. ERR_LIMIT, with retry_ms: the caller's quota is used up. Any thread. */
enum err_code admit_quota(struct admit *admit, const struct admit_caller *caller, const struct facts *facts,
                          struct err *e) MUST_CHECK;
/* A keeper answered: count its PIN uses. ERR_LIMIT, with retry_ms: the answer of a call of its own may not
 * leave. Items of a batch that may not are added to `refusals`, and told. Any thread. */
enum err_code admit_answer(struct admit *admit, const struct admit_caller *caller, const struct facts *facts,
                           const struct ipc_frame *answer, struct refusals *refusals,
                           struct admit_told *out_told, struct err *e) MUST_CHECK;
void admit_metrics(struct admit *admit, struct prometheus *page);

#endif

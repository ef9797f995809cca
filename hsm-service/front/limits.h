/* Inside front/ only: how often callers, terminals and accounts may, decided before a call goes to a keeper.
 */
#ifndef POSWARD_HSM_SERVICE_FRONT_LIMITS_H
#define POSWARD_HSM_SERVICE_FRONT_LIMITS_H

#include "hsm-service/config.h"
#include "hsm-service/ipc.h"
#include "hsm-service/limits/limits.h"

struct front_audit;
struct front_limits;
struct prometheus;
struct rpc_call;

enum err_code front_limits_new(const struct hsm_config *config, struct front_audit *audit,
                               struct front_limits **out_limits, struct err *e) MUST_CHECK;
void front_limits_free(struct front_limits *limits); /* accepts NULL */
/* The stricter of the configuration and `policy` from now on. Any thread. */
void front_limits_set(struct front_limits *limits, const struct limits_policy *policy);
/* What applies. Any thread. */
struct limits_policy front_limits_get(struct front_limits *limits);

/* Count the call. ERR_LIMIT: it is refused, and is in the audit log. Items of a batch that may not run are
 * told to the keeper: frame->refused points into out_refused then. Any thread. */
enum err_code front_limits_admit(struct front_limits *limits, struct rpc_call *call, struct ipc_frame *frame,
                                 uint8_t out_refused[IPC_REFUSED_BYTES], struct err *e) MUST_CHECK;
/* A keeper answered the request that this packet carried: a PIN behind a wrong MAC was not used. Any thread.
 */
void front_limits_answer(struct front_limits *limits, const uint8_t *packet, size_t packet_len,
                         const struct ipc_frame *answer);
void front_limits_metrics(struct front_limits *limits, struct prometheus *page);

#endif

/* Inside front/ only: the KeyManagement service - dual control in front, orders to keepers behind.
 *
 * Handlers run on gRPC's worker threads and may wait for the token. One thread looks after proposals whose
 * time is over and those whose execution was interrupted. */
#ifndef POSWARD_HSM_SERVICE_FRONT_MANAGE_H
#define POSWARD_HSM_SERVICE_FRONT_MANAGE_H

#include "hsm-service/config.h"
#include "posward/hsm/v1/hsm.pb-c.h"

struct front;
struct prometheus;
struct rpc_call;
struct rpc_server;
struct manage;
struct roles;

/* Open keymgmt.path and add the service. Without a path it says so to each call. */
enum err_code manage_new(struct front *f, struct rpc_server *server, struct manage **out_manage,
                         struct err *e) MUST_CHECK;
/* Before the server listens: who the operators are, now and after each SIGHUP. Too few for the policy that is
 * in force is logged, and does not stop the service: payments need no operator. */
void manage_granted(struct manage *m, struct roles *roles);
/* ReportKeyUse, which is on the data plane. ERR_STATE: keymgmt.path is not set. Writes to the store. */
enum err_code manage_report_key_use(struct manage *m, const struct rpc_call *call,
                                    const Posward__Hsm__V1__ReportKeyUseRequest *request,
                                    struct err *e) MUST_CHECK;
/* From now on, interrupted executions are settled: keepers are being started. */
enum err_code manage_start(struct manage *m, struct err *e) MUST_CHECK;
/* Ends the thread. Before keepers go. Accepts NULL. */
void manage_stop(struct manage *m);
void manage_free(struct manage *m); /* accepts NULL */
void manage_metrics(struct manage *m, struct prometheus *page);

#endif

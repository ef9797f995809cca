/* The front: terminates gRPC and passes packed messages to keepers. It holds no key and loads no token
 * module.
 *
 * The functions are those of struct service_spec. */
#ifndef POSWARD_HSM_SERVICE_FRONT_FRONT_H
#define POSWARD_HSM_SERVICE_FRONT_FRONT_H

#include "hsm-service/config.h"
#include "run/prometheus.h"

/* The data plane is what POSP calls; the control plane is for operators, auditors and monitors. */
enum front_plane { FRONT_DATA, FRONT_CONTROL, FRONT_PLANES };
extern const struct service_server front_servers[];
/* Who may call what, and where. */
extern const struct roles_row front_roles[];

/* Add the services to `servers`, one a plane, and start the keepers; does not wait for one. `config` (struct
 * hsm_config) and `servers` are borrowed. */
enum err_code front_start(const void *config, struct rpc_server *const *servers, void **out_front,
                          struct err *e) MUST_CHECK;
/* As service_spec.granted. */
void front_granted(void *front, struct roles *roles);
/* Wait until the first keeper is ready or could not start, so that a service that reports itself up mostly
 * is. */
enum err_code front_serve(void *front, struct rpc_server *server, struct err *e) MUST_CHECK;
/* Replace every keeper in turn, so that new keys are seen; lifts the halt after a wrong PIN. */
void front_reload(void *front);
/* Leave the health answer alone from now on. */
void front_drain(void *front);
/* Let keepers go and wait for them. Accepts NULL. */
void front_stop(void *front);
/* A call was refused before its payload was read: an audit record. */
void front_refused(void *front, const struct rpc_call *call, const char *path, const struct err *e);
void front_metrics(void *front, struct prometheus *page);

#endif

/* Whether a caller may do what the facts of its call say: rights (rights.h) applied operation by operation.
 */
#ifndef POSWARD_HSM_SERVICE_GATE_PERMIT_H
#define POSWARD_HSM_SERVICE_GATE_PERMIT_H

#include "hsm-service/gate/facts.h"
#include "hsm-service/gate/refusals.h"
#include "hsm-service/gate/rights.h"
#include "run/roles.h"

/* ERR_DENIED: a call of its own may not be done. Items of a batch that may not are added to `refusals`. Each
 * is counted and logged (roles_refuse_right). Any thread. */
enum err_code permit_call(struct roles *roles, const char *identity, const struct facts *facts,
                          struct refusals *refusals, struct err *e) MUST_CHECK;

/* The same for a method that uses no key, so that facts say nothing of it. */
enum err_code permit_method(struct roles *roles, const char *identity, enum rights_operation operation,
                            struct err *e) MUST_CHECK;

#endif

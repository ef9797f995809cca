/* Inside keeper/ only: orders that bring a key in or hand a new one out. A clear value is in this process's
 * locked memory at most while its order runs, and the outcome's grade says so. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_ORDER_TRAVEL_H
#define POSWARD_HSM_SERVICE_KEEPER_ORDER_TRAVEL_H

#include "hsm-service/keeper/order.h"

enum err_code order_import(struct keeper_call *call, const HsmKeyOrder *order, HsmKeyOutcome *out,
                           struct err *e) MUST_CHECK;
/* The check value of one component. */
enum err_code order_component(struct keeper_call *call, const HsmKeyOrder *order, HsmKeyOutcome *out,
                              struct err *e) MUST_CHECK;
/* A creation with export_to. */
enum err_code order_create_exported(struct keeper_call *call, const HsmKeyOrder *order,
                                    const struct tok_key_name *name, HsmKeyOutcome *out,
                                    struct err *e) MUST_CHECK;
/* The public keys under which others encipher for this token. */
enum err_code order_transport(struct keeper_call *call, const HsmKeyOrder *order, HsmKeyOutcome *out,
                              struct err *e) MUST_CHECK;

#endif

/* Inside keeper/ only: from a packed request to a packed answer, by a table. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_METHODS_H
#define POSWARD_HSM_SERVICE_KEEPER_METHODS_H

#include "hsm-service/keeper/cases.h"

/* Serve method `method` (IPC_METHOD). `call` has all but the session, which is borrowed here where the method
 * needs one, and knows afterwards whether the token was away. The answer lies in the arena. */
enum err_code methods_serve(struct keeper_call *call, uint16_t method, const uint8_t *body, size_t len,
                            ProtobufCBinaryData *out_answer, struct err *e) MUST_CHECK;

#endif

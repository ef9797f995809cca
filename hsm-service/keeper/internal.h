/* Inside keeper/ only: what the front asks for itself. No gRPC method leads here: the front makes these
 * calls. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_INTERNAL_H
#define POSWARD_HSM_SERVICE_KEEPER_INTERNAL_H

#include "hsm-service/keeper/cases.h"

/* `index` is an enum ipc_internal. ERR_UNSUPPORTED another. */
enum err_code internal_serve(struct keeper_call *call, unsigned index, const uint8_t *body, size_t len,
                             ProtobufCBinaryData *out_answer, struct err *e) MUST_CHECK;

#endif

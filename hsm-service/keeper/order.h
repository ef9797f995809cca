/* Inside keeper/ only: orders of key management (proto KeyOrder), which the front gives after the operators
 * agreed.
 *
 * An order is carried out in the token at once, but this keeper, like the others, works on with the keys that
 * it loaded at its start: the front replaces keepers after each order. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_ORDER_H
#define POSWARD_HSM_SERVICE_KEEPER_ORDER_H

#include "hsm-service/keeper/cases.h"
#include "posward/hsm/v1/keys.pb-c.h"

typedef Posward__Hsm__V1__KeyOrder HsmKeyOrder;
typedef Posward__Hsm__V1__KeyOutcome HsmKeyOutcome;

/* `body` is a packed KeyOrder, *out_answer a packed KeyOutcome in the arena. */
enum err_code order_serve(struct keeper_call *call, const uint8_t *body, size_t len,
                          ProtobufCBinaryData *out_answer, struct err *e) MUST_CHECK;

/* For a new key: version 0 becomes the one after the newest. ERR_EXISTS the key is there; ERR_LIMIT versions
 * are used up. */
enum err_code order_new_name(struct keeper_call *call, struct tok_key_name *name, struct err *e) MUST_CHECK;
/* The key that an order names, which is there. ERR_NOT_FOUND; ERR_INPUT without a version. */
enum err_code order_find_key(struct keeper_call *call, const Posward__Hsm__V1__KeyName *key,
                             struct tok_key_info *out_info, struct err *e) MUST_CHECK;
/* Say of the key in the outcome. */
enum err_code order_tell(struct keeper_call *call, const struct tok_key_info *info, HsmKeyOutcome *out,
                         struct err *e) MUST_CHECK;

#endif

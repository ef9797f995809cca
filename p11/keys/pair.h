/* Inside p11 only: key pairs. The audit key signs; under transport and component keys other keys travel in.
 */
#ifndef POSWARD_P11_KEYS_PAIR_H
#define POSWARD_P11_KEYS_PAIR_H

#include "p11/keys/keys.h"
#include "p11/module/session.h"

/* CKA_EC_PARAMS of the audit key, RFC 5480 2.1.1.1; a key pair of a role that is one. */
extern const CK_BYTE tok_curve_p256[10];
enum err_code tok_pair_generate(struct tok_session *rw, const struct tok_key_name *name, const char *label,
                                struct err *e) MUST_CHECK;
/* The public half beside the private one. ERR_NOT_FOUND. */
enum err_code tok_pair_public(struct tok_session *s, const char *label, CK_OBJECT_HANDLE *out_key,
                              struct err *e) MUST_CHECK;
#endif

/* Inside p11 only: a session of the token, and how a CK_RV becomes an error. */
#ifndef POSWARD_P11_MODULE_SESSION_H
#define POSWARD_P11_MODULE_SESSION_H

#include "p11/module/token.h"

#include <p11-kit/pkcs11.h>

struct tok_session {
    struct tok *tok;
    CK_FUNCTION_LIST *fn;
    CK_SESSION_HANDLE handle;
};

/* A session of its own, outside the pool, that may write token objects: `AUTO(tok_session) rw = {0};` */
enum err_code tok_session_open_rw(struct tok *tok, struct tok_session *out_session, struct err *e) MUST_CHECK;
void tok_session_drop(struct tok_session *session);

/* The one map from CK_RV to an error class; `call` is the C_ function. native = rv. ERR_OK for CKR_OK. */
enum err_code tok_rv(CK_RV rv, const char *call, struct err *e);
const char *tok_rv_name(CK_RV rv); /* "CKR_MECHANISM_INVALID" */

#endif

/* A PKCS#11 module that holds no secret: for the fuzzer, and to make a token fail at a given call.
 *
 * Enciphering copies, signatures are zeros, every key is sound: so whatever a request asks for goes all the
 * way through. Keys: all masters, storage and tag key, and zone "bank" in both suites, version 1. Loaded
 * through tok_open like any other, from NULL_TOKEN_MODULE. One thread. */
#ifndef POSWARD_TESTS_SUPPORT_NULL_TOKEN_H
#define POSWARD_TESTS_SUPPORT_NULL_TOKEN_H

#include "p11/flow/flows.h"

#include <p11-kit/pkcs11.h>

/* What the module exports beside C_GetFunctionList; found by dlsym. */
struct null_token_control {
    const char *call; /* "C_Encrypt": this call fails */
    CK_RV rv;
    unsigned times;     /* so often */
    bool ends_sessions; /* and all sessions with it, as when the token is unplugged */
    CK_FLAGS token_flags;
    unsigned made; /* calls of that name since the control was set, the failed ones too */
};

/* Open it with every way at hand, and keys loaded. Needs a directory for its PIN file: made under /tmp and
 * removed by null_token_close. A failure ends the process. */
struct tok *null_token_open(size_t session_count);
void null_token_close(struct tok *tok);
struct null_token_control *null_token_control(void);

#endif

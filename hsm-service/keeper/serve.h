/* Inside keeper/ only: the threads that serve. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_SERVE_H
#define POSWARD_HSM_SERVICE_KEEPER_SERVE_H

#include "hsm-service/keeper/policy.h"
#include "p11/tok.h"

/* Serve requests from `fd` on `threads` threads until the other end closes.
 * ERR_UNAVAILABLE: the token was lost for good; this process should end and another log in anew. */
enum err_code serve_until_closed(struct tok *tok, int fd, size_t threads, const struct keeper_policy *policy,
                                 struct err *e) MUST_CHECK;

#endif

/* A PKCS#11 token: the module, the login, and a pool of sessions.
 *
 * One struct tok a process: a module is initialised once and its state does not survive fork. No PKCS#11 type
 * crosses this folder's public headers. Source: PKCS #11 v2.40. */
#ifndef POSWARD_P11_TOK_H
#define POSWARD_P11_TOK_H

#include "p11/module/token.h"

/* Load, initialise (CKF_OS_LOCKING_OK), find the token, log in once, open the sessions.
 * A start that fails with a passing error is retried with back-off for 5 s; a wrong PIN never
 * (ERR_UNAUTHENTICATED). ERR_NOT_FOUND no such token, ERR_STATE more than one. */
enum err_code tok_open(const struct tok_options *options, struct tok **out_tok, struct err *e) MUST_CHECK;
/* All sessions must have been given back. Accepts NULL. */
void tok_close(struct tok *tok);

/* Borrow a session; waits while all are taken. One thread a session. A session that the token dropped is
 * opened anew. */
enum err_code tok_session_take(struct tok *tok, struct tok_session **out_session, struct err *e) MUST_CHECK;
void tok_info(const struct tok *tok, struct tok_info *out_info);

/* Sessions, and what it took to keep the token: for metrics. Any thread. */
struct tok_health {
    size_t sessions, sessions_idle;
    unsigned relogins, reinitialised;
    size_t cached, cache_room; /* opened blobs */
    uint64_t cache_hits, cache_misses;
};
void tok_health(struct tok *tok, struct tok_health *out_health);
#endif

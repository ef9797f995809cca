/* A PKCS#11 token: the module, the login, and a pool of sessions.
 *
 * One struct tok a process: a module is initialised once and its state does not survive fork. No PKCS#11 type
 * crosses this folder's public headers. Source: PKCS #11 v2.40. */
#ifndef POSWARD_P11_TOKEN_H
#define POSWARD_P11_TOKEN_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct tok;
struct tok_session;

struct tok_options {
    const char *module_path;  /* the vendor's shared library */
    const char *token_label;  /* selects the token; slot numbers change */
    const char *token_serial; /* NULL: any token of that label, but exactly one */
    const char *pin_path;     /* file of mode 0400 or 0600 with the user PIN in its first line */
    /* NULL, or what the module takes in C_Initialize's pReserved. NSS: "configdir='sql:DIR' secmod=''
     * dbTokenDescription='LABEL' certPrefix='' keyPrefix='' flags=noModDB" */
    const char *init_string;
    /* Held by flock around initialise and login, so that starts never overlap. NULL: none */
    const char *lock_path;
    size_t session_count; /* sessions that work in parallel, 1..256; one more is kept for shared objects */
};

/* Load, initialise (CKF_OS_LOCKING_OK), find the token, log in once, open the sessions.
 * A start that fails with a passing error is retried with back-off for 5 s; a wrong PIN never
 * (ERR_UNAUTHENTICATED). ERR_NOT_FOUND no such token, ERR_STATE more than one. */
enum err_code tok_open(const struct tok_options *options, struct tok **out_tok, struct err *e) MUST_CHECK;
/* All sessions must have been given back. Accepts NULL. */
void tok_close(struct tok *tok);

/* Borrow a session; waits while all are taken. One thread a session. A session that the token dropped is
 * opened anew. */
enum err_code tok_session_take(struct tok *tok, struct tok_session **out_session, struct err *e) MUST_CHECK;
void tok_session_give(struct tok_session *session);
/* It is there and logged in. */
bool tok_session_alive(const struct tok_session *session);
/* Give back a session that failed: it is closed, and who borrows it next gets one that was opened anew. */
void tok_session_discard(struct tok_session *session);

struct tok_info {
    char manufacturer[33], model[33], serial[17], label[33], library[33];
    int library_major, library_minor;
};
void tok_info(const struct tok *tok, struct tok_info *out_info);

/* Sessions, and what it took to keep the token: for metrics. Any thread. */
struct tok_health {
    size_t sessions, sessions_idle;
    unsigned relogins, reinitialised;
    size_t cached, cache_room; /* opened blobs */
    uint64_t cache_hits, cache_misses;
};
void tok_health(struct tok *tok, struct tok_health *out_health);
/* Does the token still work? Random bytes, and the check value of one of its keys, another one each time.
 * ERR_CHECK: the key is not the one that was loaded. */
enum err_code tok_probe(struct tok_session *session, struct err *e) MUST_CHECK;

/* Random bytes from the token's generator. */
enum err_code tok_random(struct tok_session *session, uint8_t *out, size_t len, struct err *e) MUST_CHECK;

#endif

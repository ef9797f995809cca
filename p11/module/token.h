/* A token as its module gives it. No PKCS#11 type crosses this folder's public headers. */
#ifndef POSWARD_P11_MODULE_TOKEN_H
#define POSWARD_P11_MODULE_TOKEN_H

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

struct tok_info {
    char manufacturer[33], model[33], serial[17], label[33], library[33];
    int library_major, library_minor;
};

void tok_session_give(struct tok_session *session);
/* It is there and logged in. */
bool tok_session_alive(const struct tok_session *session);
/* Give back a session that failed: it is closed, and who borrows it next gets one that was opened anew. */
void tok_session_discard(struct tok_session *session);

/* Random bytes from the token's generator. */
enum err_code tok_random(struct tok_session *session, uint8_t *out, size_t len, struct err *e) MUST_CHECK;

#endif

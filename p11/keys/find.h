/* Inside p11 only: a key of the token by its name. */
#ifndef POSWARD_P11_KEYS_FIND_H
#define POSWARD_P11_KEYS_FIND_H

#include "p11/keys/keys.h"
#include "p11/module/session.h"

/* A found token key. role, suite, version and zone as in its name; version 0: the newest that is active;
 * suite 0: the only one. ERR_NOT_FOUND names the label that is missing; ERR_STATE the key that is not active,
 * or, where something is only opened, neither active nor deactivated. The handle is shared: never destroy it.
 */
enum tok_purpose {
    TOK_PROTECT = 1, /* derive, seal, encipher, make a MAC, sign */
    TOK_OPEN         /* what the key protected: unwrap, decipher, check a MAC */
};
struct tok_found {
    CK_OBJECT_HANDLE handle;
    CK_OBJECT_HANDLE left; /* a TDES zone MAC key's K1||K1, which algorithm 3 needs; 0: none */
    struct tok_key_name name;
};
enum err_code tok_keys_find(struct tok *tok, const struct tok_key_name *name, enum tok_purpose purpose,
                            struct tok_found *out_found, struct err *e) MUST_CHECK;

/* load.c: forget handles that died with the holder session, and find them anew when they were loaded before.
 */
enum err_code tok_keys_reload(struct tok *tok, struct err *e) MUST_CHECK;
void tok_keys_free(struct tok *tok);

#endif

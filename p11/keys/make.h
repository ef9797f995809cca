/* Inside p11 only: keys that are made from what came in, or to be taken out once. */
#ifndef POSWARD_P11_KEYS_MAKE_H
#define POSWARD_P11_KEYS_MAKE_H

#include "p11/keys/keys.h"
#include "p11/keys/role.h"

#define TOK_WRAPPED_KEY_BYTES 64 /* of a symmetric key, wrapped symmetrically */

/* A key that comes out of C_UnwrapKey. */
struct tok_unwrap {
    CK_MECHANISM mechanism; /* its parameter is the caller's */
    CK_OBJECT_HANDLE key;
    const uint8_t *wrapped;
    size_t len;
    const uint8_t *expected_kcv; /* TOK_KCV_BYTES; NULL: not known */
};
/* It becomes a key of the token, whose value no process sees. ERR_CHECK: another check value. */
enum err_code tok_key_unwrap(struct tok *tok, const struct tok_key_name *name, enum tok_key_state state,
                             const struct tok_unwrap *unwrap, struct tok_key_info *out_info,
                             struct err *e) MUST_CHECK;
/* The same without keeping it. */
enum err_code tok_key_try_unwrap(struct tok *tok, const struct tok_key_name *name,
                                 const struct tok_unwrap *unwrap, uint8_t out_kcv[TOK_KCV_BYTES],
                                 struct err *e) MUST_CHECK;
/* A key of the token's generator that is wrapped under `key` while it is made, and never again. */
struct tok_wrap {
    CK_MECHANISM_TYPE mechanism;
    CK_OBJECT_HANDLE key;
};
enum err_code tok_key_make_wrapped(struct tok *tok, const struct tok_key_name *name, enum tok_key_state state,
                                   const struct tok_wrap *wrap, struct tok_key_info *out_info,
                                   uint8_t out_wrapped[TOK_WRAPPED_KEY_BYTES], size_t *out_len,
                                   struct err *e) MUST_CHECK;
/* What a key of this name is made with in a session; `hardened` as far as not every token takes it. */
void tok_key_template(const struct tok_key_name *name, bool hardened, struct tok_template *out_template);
/* ERR_CHECK, with both values, unless `expected` is NULL or the same. */
enum err_code tok_expect_kcv(const uint8_t kcv[TOK_KCV_BYTES], const uint8_t *expected,
                             struct err *e) MUST_CHECK;

/* It has the length of such a key and is no single DES in disguise: ERR_INPUT. A TDES key gets odd parity. */
enum err_code tok_key_check_value(const struct tok_key_name *name, struct secret *value,
                                  struct err *e) MUST_CHECK;

/* DES parity, which is odd. */
void tok_force_odd_parity(uint8_t *bytes, size_t len);

#endif

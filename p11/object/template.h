/* Inside p11 only: attribute templates. A key's template names every usage, so that no token's default slips
 * in. */
#ifndef POSWARD_P11_TEMPLATE_H
#define POSWARD_P11_TEMPLATE_H

#include "p11/module/session.h"

#define TOK_TEMPLATE_ROWS 32

struct tok_template {
    CK_ATTRIBUTE rows[TOK_TEMPLATE_ROWS];
    CK_ULONG count;
    CK_ULONG numbers[4]; /* what CK_ULONG rows point to */
    unsigned number_count;
};

/* Rows point to the caller's values, which must outlive the template; numbers are copied. A row set again is
 * replaced. */
void tok_template_bool(struct tok_template *t, CK_ATTRIBUTE_TYPE type, bool value);
void tok_template_remove(struct tok_template *t, CK_ATTRIBUTE_TYPE type);
void tok_template_number(struct tok_template *t, CK_ATTRIBUTE_TYPE type, CK_ULONG value);
void tok_template_bytes(struct tok_template *t, CK_ATTRIBUTE_TYPE type, const void *bytes, size_t len);

/* A secret key as a session object: SENSITIVE true; EXTRACTABLE and each usage false unless in `uses` (ended
 * by CK_UNAVAILABLE_INFORMATION). CKA_PRIVATE is false: a session object is seen by this process only, and
 * SoftHSM deciphers private ones at every use. */
void tok_template_secret(struct tok_template *t, CK_KEY_TYPE type, const CK_ATTRIBUTE_TYPE *uses);

/* Uses as an argument: TOK_USES(CKA_ENCRYPT, CKA_SIGN). */
#define TOK_USES(...) ((const CK_ATTRIBUTE_TYPE[]){__VA_ARGS__ __VA_OPT__(, ) CK_UNAVAILABLE_INFORMATION})

#endif

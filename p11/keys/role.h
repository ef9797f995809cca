/* Inside p11 only: what a key of each role may do, and how its check value is computed. */
#ifndef POSWARD_P11_KEYROLE_H
#define POSWARD_P11_KEYROLE_H

#include "p11/keys/keys.h"
#include "p11/object/template.h"

#define TOK_KCV_BYTES 3
/* Suffix of the label of the K1||K1 that stands beside a TDES zone MAC key. */
#define TOK_LEFT_SUFFIX  "/left"
#define TOK_SUFFIX_BYTES 8 /* room for any suffix, with its NUL */

/* NULL-free lists, ended by CK_UNAVAILABLE_INFORMATION. */
const CK_ATTRIBUTE_TYPE *tok_role_uses(enum tok_role role, enum tok_suite suite);
/* For CKA_ALLOWED_MECHANISMS, with the one that the check value at making needs. */
const CK_MECHANISM_TYPE *tok_role_mechanisms(enum tok_role role, enum tok_suite suite, size_t *out_count);

/* A value that shows which key this is, by what the role may do: a key that enciphers or signs, its KCV; a
 * deriving one, the KCV of a child of fixed data that no PSAM number encodes; a wrapping one, the start of a
 * wrapped constant. */
enum err_code tok_role_check(struct tok_session *s, CK_OBJECT_HANDLE key, enum tok_role role,
                             enum tok_suite suite, uint8_t out_check[TOK_KCV_BYTES],
                             struct err *e) MUST_CHECK;

/* What CKA_ID holds: "A1B2C3/D4E5F6/posward/...": KCV, role check, label. NSS overwrites keys of equal
 * CKA_ID, so the label is part of it. A key with a half at its side names it:
 * "A1B2C3/D4E5F6/778899/posward/..." has the half's role check in third place. A key that was made with a
 * stamp of its state (keys/state.h) says so last: "A1B2C3/D4E5F6/+STATE/posward/...". */
struct tok_key_record {
    uint8_t kcv[TOK_KCV_BYTES], check[TOK_KCV_BYTES], left[TOK_KCV_BYTES];
    bool has_left, has_state;
};
#define TOK_RECORD_BYTES (28 + TOK_LABEL_BYTES + sizeof TOK_LEFT_SUFFIX)
void tok_record_text(const struct tok_key_record *record, const char *label, char out_text[TOK_RECORD_BYTES]);
/* The object is private and sensitive, does not leave the token, and may do nothing beyond `uses`: ERR_CHECK
 * names the first attribute that says otherwise. Whoever writes to a token's directory can plant a key of
 * known value only as a public object, and flip what a key may do. */
enum err_code tok_role_guard(struct tok_session *s, CK_OBJECT_HANDLE key, const CK_ATTRIBUTE_TYPE *uses,
                             const char *label, struct err *e) MUST_CHECK;
/* The same for the private key of a pair. */
enum err_code tok_pair_guard(struct tok_session *s, CK_OBJECT_HANDLE key, const struct tok_key_name *name,
                             const char *label, struct err *e) MUST_CHECK;

/* ERR_CHECK: `id` was not written by posward for this label. */
enum err_code tok_record_parse(const uint8_t *id, size_t len, const char *label,
                               struct tok_key_record *out_record, struct err *e) MUST_CHECK;

#endif

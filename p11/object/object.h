/* Inside p11 only: the objects of a session and of the token, and one cryptographic call each. */
#ifndef POSWARD_P11_OBJECT_OBJECT_H
#define POSWARD_P11_OBJECT_OBJECT_H

#include "p11/module/session.h"
#include "p11/object/suite.h"

/* A session object that goes when its scope ends: `AUTO(tok_object) child = {0};` */
struct tok_object {
    struct tok_session *session; /* NULL: nothing to destroy */
    CK_OBJECT_HANDLE handle;
};
void tok_object_drop(struct tok_object *object);

/* ---- Objects of the token (find.c) ---- */

/* Objects that a template (struct tok_template of template.h) matches; at most `capacity` are listed. */
struct tok_template;
enum err_code tok_objects_find(struct tok_session *s, const struct tok_template *t,
                               CK_OBJECT_HANDLE *out_found, size_t capacity, size_t *out_count,
                               struct err *e) MUST_CHECK;
/* An attribute of at most capacity - 1 bytes, and a NUL. False: not there, or longer. */
bool tok_attribute_text(struct tok_session *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                        char *out_text, size_t capacity, size_t *out_len);
/* Token objects of one label, of any class; at most `capacity` are listed. */
enum err_code tok_objects_labelled(struct tok_session *s, const char *label, CK_OBJECT_HANDLE *out_found,
                                   size_t capacity, size_t *out_count, struct err *e) MUST_CHECK;

/* One C_EncryptInit + C_Encrypt (or Decrypt) without padding: out_len == len. mechanism CKM_DES3_ECB,
 * CKM_AES_CBC, ... */
enum err_code tok_encrypt(struct tok_session *s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                          const uint8_t *data, size_t len, uint8_t *out, struct err *e) MUST_CHECK;
enum err_code tok_decrypt(struct tok_session *s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                          const uint8_t *data, size_t len, uint8_t *out, struct err *e) MUST_CHECK;
/* C_Sign with a fixed-size result of at most out_capacity. */
enum err_code tok_sign(struct tok_session *s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                       const uint8_t *data, size_t len, uint8_t *out, size_t out_capacity, size_t *out_len,
                       struct err *e) MUST_CHECK;

/* Leftmost `len` bytes of the check value of an object that may encipher (DES) or sign (AES-CMAC). */
enum err_code tok_object_kcv(struct tok_session *s, CK_OBJECT_HANDLE key, enum tok_suite suite,
                             uint8_t *out_kcv, size_t len, struct err *e) MUST_CHECK;

/* A key that may do one thing, made in a session object from a value: probes and tests import with it. `uses`
 * are CKA_ENCRYPT, CKA_DERIVE, ... ended by CK_UNAVAILABLE_INFORMATION; all else is false; SENSITIVE true. */
enum err_code tok_object_import(struct tok_session *s, CK_KEY_TYPE type, const uint8_t *value, size_t len,
                                const CK_ATTRIBUTE_TYPE *uses, struct tok_object *out_object,
                                struct err *e) MUST_CHECK;

/* ---- A key from data (derive_data.c) ---- */

/* E(base, data) as a key: `type` CKK_DES2 (16 bytes), CKK_AES (16 or 32) or CKK_GENERIC_SECRET. The base is
 * of `suite` and may derive. Sensitive; `uses` as for tok_object_import. */
struct tok_derive_request {
    enum tok_suite base_suite;
    CK_OBJECT_HANDLE base;
    const uint8_t *data;
    size_t len;
    CK_KEY_TYPE type;
    const CK_ATTRIBUTE_TYPE *uses;
};
enum err_code tok_derive_data(struct tok_session *s, const struct tok_derive_request *request,
                              struct tok_object *out_child, struct err *e) MUST_CHECK;

#endif

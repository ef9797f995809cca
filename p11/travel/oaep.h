/* Inside p11 only: RSA-OAEP (PKCS #1 v2.2), and a pair's public half as an object. */
#ifndef POSWARD_P11_TRAVEL_OAEP_H
#define POSWARD_P11_TRAVEL_OAEP_H

#include "base/secret.h"
#include "p11/keys/pair.h"
#include "p11/object/object.h"

/* OAEP with SHA-1; the mechanism points to the parameters. */
void tok_oaep(CK_MECHANISM *out_mechanism, CK_RSA_PKCS_OAEP_PARAMS *out_parameters);
/* out_value is initialised, and gets its length. */
enum err_code tok_oaep_decrypt(struct tok_session *s, CK_OBJECT_HANDLE key,
                               const uint8_t cipher[TOK_RSA_BYTES], struct secret *out_value,
                               struct err *e) MUST_CHECK;
enum err_code tok_oaep_encrypt(struct tok_session *s, CK_OBJECT_HANDLE key, const struct secret *value,
                               uint8_t out_cipher[TOK_RSA_BYTES], struct err *e) MUST_CHECK;
/* An RSA pair's public half as a session object that may encipher, by the numbers of the private key. */
enum err_code tok_pair_import_public(struct tok_session *s, CK_OBJECT_HANDLE private_key,
                                     struct tok_object *out_key, struct err *e) MUST_CHECK;

#endif

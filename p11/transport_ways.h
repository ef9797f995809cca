/* Inside p11 only: the ways in which keys travel, for the flows and for the probe. */
#ifndef POSWARD_P11_TRANSPORT_WAYS_H
#define POSWARD_P11_TRANSPORT_WAYS_H

#include "base/secret.h"
#include "p11/session.h"
#include "p11/transport.h"

#define TOK_WAY_UNWRAP "unwrap"
#define TOK_WAY_DERIVE "derive"

/* OAEP with SHA-1; the mechanism points to the parameters. */
void tok_oaep(CK_MECHANISM *out_mechanism, CK_RSA_PKCS_OAEP_PARAMS *out_parameters);
/* out_value is initialised, and gets its length. */
enum err_code tok_oaep_decrypt(struct tok_session *s, CK_OBJECT_HANDLE key,
                               const uint8_t cipher[TOK_RSA_BYTES], struct secret *out_value,
                               struct err *e) MUST_CHECK;
enum err_code tok_oaep_encrypt(struct tok_session *s, CK_OBJECT_HANDLE key, const struct secret *value,
                               uint8_t out_cipher[TOK_RSA_BYTES], struct err *e) MUST_CHECK;
/* tok_way_chosen for who has no session. */
enum err_code tok_way_of(struct tok *tok, enum tok_flow flow, const char **out_way_name,
                         enum tok_grade *out_grade, struct err *e) MUST_CHECK;
/* keymake.c */
void tok_force_odd_parity(uint8_t *bytes, size_t len);

#endif

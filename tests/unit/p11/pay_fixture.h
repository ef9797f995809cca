/* What the suites of payment operations share: a token open for one test, keys imported as session objects.
 */
#ifndef POSWARD_TESTS_UNIT_P11_PAY_FIXTURE_H
#define POSWARD_TESTS_UNIT_P11_PAY_FIXTURE_H

#include "p11/flow/pay.h"
#include "p11/object/template.h"
#include "tests/support/suite.h"
#include "tests/support/token.h"

extern struct tok *pay_tok;
extern struct tok_session *pay_session;
extern enum token_kind pay_kind;
extern struct err pay_err;

/* main of a suite with a case on each token: add(tcase) is called for SoftHSM and for NSS, whose tests find
 * pay_session open, ways probed and keys loaded. Tokens are made once a process, with the keys below, and
 * copied for every test. */
int pay_main(const char *name, void (*add)(TCase *tcase));
/* Probe anew under another policy. */
void pay_policy(enum tok_exposure exposure);

/* The keys of every token, all of version 1. Zones bank-a and bank-b have PIN keys of both suites; bank-a has
 * MAC and data keys of both. AES masters have 32 bytes, zone keys 16. Storage and blob-tag keys are
 * generated. */
extern const uint8_t pay_psam_tdes[16], pay_psam_aes[32], pay_control_tdes[16], pay_control_aes[32];
extern const uint8_t pay_a_tdes[16], pay_a_aes[16], pay_b_tdes[16], pay_b_aes[16];
struct tok_key_ref pay_zone(const char *zone, enum tok_suite suite);
/* A working key's blob of card 01234567890123456789; key_bytes 8 or 16. */
#define PAY_PSAM "01234567890123456789"
void pay_working(enum tok_suite suite, enum tok_usage usage, unsigned key_bytes,
                 struct tok_working_key *out_key);
void pay_working_wrapped(enum tok_suite suite, enum tok_usage usage, unsigned key_bytes,
                         unsigned wrap_version, struct tok_working_key *out_key);
struct tok_key_ref pay_blob(const struct tok_working_key *key);

/* A DES key of 8 (doubled), 16 or 24 bytes that enciphers and can be cut; an AES key that enciphers and
 * signs; a pair of keys for PINs by type. */
void pay_des_key(const uint8_t *value, size_t len, struct tok_object *out_key);
void pay_aes_key(const uint8_t *value, size_t len, struct tok_object *out_key);
/* The left half of a 16-byte key by the way that this token has. */
void pay_left(CK_OBJECT_HANDLE key, struct tok_left *out_left);
/* Objects that the session sees, for leaks. */
size_t pay_object_count(void);

#endif

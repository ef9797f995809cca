/* What the suites of payment operations share: a token open for one test, keys imported as session objects.
 */
#ifndef POSWARD_TESTS_UNIT_P11_PAY_FIXTURE_H
#define POSWARD_TESTS_UNIT_P11_PAY_FIXTURE_H

#include "p11/pay.h"
#include "p11/template.h"
#include "tests/support/suite.h"
#include "tests/support/token.h"

extern struct tok *pay_tok;
extern struct tok_session *pay_session;
extern enum token_kind pay_kind;
extern struct err pay_err;

/* A case on each token: `pay_case(suite, "mac", add)` calls add(tcase) for a SoftHSM case and an NSS case,
 * whose tests find pay_session open. Tokens are made once for the suite's process and copied for every test.
 */
void pay_case(Suite *suite, const char *name, void (*add)(TCase *tcase));
/* Remove the tokens that the cases made; after the run. */
void pay_cases_remove(void);

/* A DES key of 8 (doubled), 16 or 24 bytes that enciphers and can be cut; an AES key that enciphers and
 * signs; a pair of keys for PINs by type. */
void pay_des_key(const uint8_t *value, size_t len, struct tok_object *out_key);
void pay_aes_key(const uint8_t *value, size_t len, struct tok_object *out_key);
/* The left half of a 16-byte key by the way that this token has. */
void pay_left(CK_OBJECT_HANDLE key, struct tok_left *out_left);
/* Objects that the session sees, for leaks. */
size_t pay_object_count(void);

#endif

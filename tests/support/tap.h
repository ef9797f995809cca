/* A tap on the PKCS#11 boundary: every byte that a session passes to the token or gets from it is recorded,
 * but the values of C_CreateObject, which only tests and ceremonies import. One session, one thread.
 *
 *   tap_on(s); ... flows ...; tap_off(s);
 *   ck_assert(!tap_saw(key, sizeof key)); */
#ifndef POSWARD_TESTS_SUPPORT_TAP_H
#define POSWARD_TESTS_SUPPORT_TAP_H

#include "p11/module/session.h"

/* Starts with nothing recorded. */
void tap_on(struct tok_session *s);
void tap_off(struct tok_session *s);
bool tap_saw(const void *bytes, size_t len);
/* Either half of a 16-byte DES key, whatever its parity bits. */
bool tap_saw_des(const uint8_t key[16]);
size_t tap_recorded(void);

#endif

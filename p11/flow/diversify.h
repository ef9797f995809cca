/* Inside p11 only: a card's keys from a master key and the card's number. */
#ifndef POSWARD_P11_FLOW_DIVERSIFY_H
#define POSWARD_P11_FLOW_DIVERSIFY_H

#include "p11/object/object.h"

/* What the child may do, all of it sensitive. */
enum tok_child_use {
    TOK_CHILD_WRAPS,    /* TMK, control key: C_WrapKey/C_UnwrapKey; encrypt, derive (TDES); sign */
    TOK_CHILD_MATERIAL, /* TMK to be wrapped itself: extractable under a key, into a card script or a blob;
                           derive (concatenation), and encrypt (TDES) or sign (AES) for its check value */
    TOK_CHILD_DERIVES   /* TMK of wrap version 2: nothing but the derivation of its key-encryption keys */
};
enum tok_child_domain { TOK_DOMAIN_TMK = 1, TOK_DOMAIN_CONTROL = 2 };
struct tok_child_request {
    const char *psam_number;
    enum tok_suite suite;
    enum tok_child_domain domain; /* picks PSAM master or card-control master */
    unsigned master_version;
    enum tok_child_use use;
    bool left_half; /* TDES: K1||K1 of the child K1||K2, a single-length key for ISO 9797-1 algorithm 3 */
};
enum err_code tok_derive_child(struct tok_session *s, const struct tok_child_request *request,
                               struct tok_object *out_child, struct err *e) MUST_CHECK;
/* The key-encryption key of wrap version 2 for working keys of `usage` (enum tok_usage), as long as the TMK;
 * it may wrap and nothing else. `tmk`: AES, TOK_CHILD_DERIVES. Its bytes: see diversify.c. */
enum err_code tok_derive_kek(struct tok_session *s, CK_OBJECT_HANDLE tmk, enum tok_suite suite, int usage,
                             struct tok_object *out_kek, struct err *e) MUST_CHECK;
/* 16 to 20 decimal digits, else ERR_INPUT; and as 10 BCD bytes, left-padded with zeros. */
enum err_code tok_check_psam_number(const char *psam_number, struct err *e) MUST_CHECK;
enum err_code tok_psam_bcd(const char *psam_number, uint8_t out_bcd[10], struct err *e) MUST_CHECK;
#endif

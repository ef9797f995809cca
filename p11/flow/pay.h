/* Inside p11 only: the payment algorithms on object handles. The flows of flows.h open keys and choose a way,
 * the probe tries the same functions on throw-away keys, and vectors run through them.
 *
 * Every call borrows the session and leaves no object behind but the ones in its outputs. */
#ifndef POSWARD_P11_PAY_H
#define POSWARD_P11_PAY_H

#include "base/secret.h"
#include "p11/flow/flows.h"
#include "p11/module/session.h"
#include "p11/object/object.h"

#include <string.h>

#define DES_BLOCK 8
#define AES_BLOCK 16

/* ---- E under the left half alone (left.c) ---- */

/* K1 of a key K1||K2, in a form that can encipher. */
struct tok_left {
    CK_OBJECT_HANDLE pair;                 /* K1||K1; 0: through the three keys below */
    CK_OBJECT_HANDLE key;                  /* K1||K2 */
    struct tok_object made, known, joined; /* whatever had to be made: K1||K1, or P||P and K1||K2||P */
};
void tok_left_drop(struct tok_left *left);
/* K1 is at hand as K1||K1. Borrows it. */
void tok_left_pair(CK_OBJECT_HANDLE pair, struct tok_left *out_left);
/* CKM_EXTRACT_KEY_FROM_KEY and CKM_CONCATENATE_BASE_AND_KEY; `key` needs CKA_DERIVE. */
enum err_code tok_left_extract(struct tok_session *s, CK_OBJECT_HANDLE key, struct tok_left *out_left,
                               struct err *e) MUST_CHECK;
/* AES key wrap only; `key` needs CKA_EXTRACTABLE and CKA_ENCRYPT, stays borrowed. How: see left.c. */
enum err_code tok_left_append(struct tok_session *s, CK_OBJECT_HANDLE key, struct tok_left *out_left,
                              struct err *e) MUST_CHECK;
/* The last block of DES-CBC under K1 over whole blocks, at least one, IV in `state`; replaces `state`. */
enum err_code tok_left_cbc(struct tok_session *s, const struct tok_left *left, const uint8_t *data,
                           size_t len, uint8_t state[DES_BLOCK], struct err *e) MUST_CHECK;

/* ---- MAC (mac.c) ---- */

struct tok_mac_key {
    CK_OBJECT_HANDLE handle;
    enum tok_suite suite;
    unsigned key_bytes;
    const struct tok_left *left; /* for algorithm 3 under a 16-byte key, else NULL */
};
struct tok_mac_input {
    const uint8_t *iv; /* 8 bytes for the DES MACs but UnionPay's; NULL: zeros */
    const uint8_t *data;
    size_t len; /* at most TOK_DATA_BYTES */
};
enum err_code tok_mac_run(struct tok_session *s, enum tok_mac algorithm, const struct tok_mac_key *key,
                          const struct tok_mac_input *input, uint8_t out_mac[TOK_MAC_BYTES], size_t *out_len,
                          struct err *e) MUST_CHECK;

/* ---- PIN (pin.c) ---- */

/* What a translation needs once keys are open and the rules have been asked. One PAN: a change is refused
 * before. */
struct tok_pin_job {
    CK_OBJECT_HANDLE source, destination;
    enum tok_pin_format source_format, destination_format;
    const char *pan;
    const uint8_t *block; /* as long as the source format's block */
};
/* Object ways: the same format on both sides; the PIN is a sensitive session object. */
enum err_code tok_pin_object_tdes(struct tok_session *s, const struct tok_pin_job *job, uint8_t out_block[16],
                                  struct err *e) MUST_CHECK;
enum err_code tok_pin_object_aes(struct tok_session *s, const struct tok_pin_job *job, uint8_t out_block[16],
                                 struct err *e) MUST_CHECK;
/* Block way, any formats: decipher, check, lay out anew, encipher; where the formats are the same, decipher
 * and encipher only. ERR_CHECK: the block does not decode. */
enum err_code tok_pin_block(struct tok_session *s, const struct tok_pin_job *job, uint8_t out_block[16],
                            struct err *e) MUST_CHECK;

/* ---- Card script (script.c, script_pboc.c) ---- */

#define TOK_CARD_HEADER     3 /* usage, version, algorithm: low nibble the cipher, high nibble see script.c */
#define TOK_PBOC_CHALLENGE  4
#define TOK_AES_CHALLENGE   8
#define TOK_PBOC_CIPHERTEXT 24 /* LD, header, TMK, 80 00 00 00 */

struct tok_apdu {
    uint8_t bytes[96];
    size_t len;
};
/* 84 D4 01 00 Lc || header || AES-KW(control, tmk) || CMAC8. `tmk` is extractable. */
enum err_code tok_card_aes(struct tok_session *s, CK_OBJECT_HANDLE control, CK_OBJECT_HANDLE tmk,
                           const uint8_t header[TOK_CARD_HEADER], const uint8_t challenge[TOK_AES_CHALLENGE],
                           struct tok_apdu *out_apdu, struct err *e) MUST_CHECK;
/* E of the pboc profile, by joining the bytes in the token and wrapping; `tmk` needs CKA_DERIVE. */
enum err_code tok_card_pboc_concat(struct tok_session *s, CK_OBJECT_HANDLE control, CK_OBJECT_HANDLE tmk,
                                   const uint8_t header[TOK_CARD_HEADER],
                                   uint8_t out_cipher[TOK_PBOC_CIPHERTEXT], struct err *e) MUST_CHECK;
/* The same with the TMK derived from `master` over `factor` as a readable child, in locked memory. */
enum err_code tok_card_pboc_clear(struct tok_session *s, CK_OBJECT_HANDLE control, CK_OBJECT_HANDLE master,
                                  const uint8_t factor[DES_BLOCK], const uint8_t header[TOK_CARD_HEADER],
                                  uint8_t out_cipher[TOK_PBOC_CIPHERTEXT], struct err *e) MUST_CHECK;
/* 84 D4 00 00 Lc || cipher || MAC4. */
enum err_code tok_card_pboc_command(struct tok_session *s, const struct tok_mac_key *control,
                                    const uint8_t cipher[TOK_PBOC_CIPHERTEXT],
                                    const uint8_t challenge[TOK_PBOC_CHALLENGE], struct tok_apdu *out_apdu,
                                    struct err *e) MUST_CHECK;
/* The whole profile for a request whose shape was checked; picks the way. `tmk`: TOK_CHILD_MATERIAL. */
enum err_code tok_card_pboc(struct tok_session *s, const struct tok_card_request *request,
                            CK_OBJECT_HANDLE tmk, const uint8_t header[TOK_CARD_HEADER],
                            struct tok_apdu *out_apdu, enum tok_grade *out_grade, struct err *e) MUST_CHECK;

#endif

/* The key operations of an acquirer, on a token. Each call borrows a session, leaves no object behind, and
 * says the grade of the way that it went. After tok_ways_probe and tok_keys_load. ERR_UNSUPPORTED: no way
 * works on this token; ERR_DENIED: policy forbids the only one, or a key of another usage was offered;
 * ERR_NOT_FOUND: no such key version. */
#ifndef POSWARD_P11_FLOW_FLOWS_H
#define POSWARD_P11_FLOW_FLOWS_H

#include "base/terms.h"
#include "p11/flow/way.h"
#include "p11/keys/keys.h"

/* What a working key is for; bound into its blob. Values are part of the blob format. */
enum tok_usage { TOK_PIK = 1, TOK_MAK = 2, TOK_TDK = 3, TOK_TMK = 4 };
/* Values are part of the blob format. */
enum tok_mac {
    TOK_MAC_UNIONPAY = 1, /* ECB MAC of 8 ASCII characters (32 bits: checked whole); key 8 or 16 bytes DES */
    TOK_MAC_X9_9,         /* DES-CBC-MAC, padding 1, 8 bytes; key of 8 bytes only: zone keys are longer */
    TOK_MAC_X9_19,        /* ISO 9797-1 algorithm 3, padding 1, 8 bytes; an 8-byte key makes it X9.9 */
    TOK_MAC_ALG1_PAD2,    /* ISO 9797-1 algorithm 1 (with 3DES when the key has 16 bytes), padding 2 */
    TOK_MAC_ALG1_PAD1,    /* the same with padding 1 */
    TOK_MAC_ALG3_PAD2,    /* algorithm 3, padding 2 */
    TOK_MAC_CMAC          /* AES-CMAC, 16 bytes */
};

#define TOK_BLOB_BYTES    160 /* at most; the length of a blob is its own affair */
#define TOK_BLOB_FORM     2   /* of new blobs; form 1 is read too, and knows no sign-in nor MAC algorithm */
#define TOK_SIGN_IN_BYTES 8   /* of what the keys of one sign-in have in common; zeros: not known */
#define TOK_PSAM_DIGITS   PSAM_DIGITS_MAX
#define TOK_DATA_BYTES    4096 /* at most, for a MAC or data operation */

/* ---- Issuing: a card's TMK, as finished card commands ---- */

enum tok_card_profile { TOK_CARD_AES = 1, TOK_CARD_PBOC = 2 };

struct tok_card_request {
    const char *psam_number; /* 16..20 digits */
    enum tok_suite suite;    /* of the TMK; PBOC takes TDES only */
    unsigned master_version, control_version;
    enum tok_card_profile profile;
    const uint8_t *challenge; /* from the card: 4 bytes for PBOC, 8 for AES */
    size_t challenge_len;
    unsigned wrap_version; /* which the card is told with its TMK; as in struct tok_working_request */
};
struct tok_card_script {
    uint8_t apdu[96]; /* WRITE KEY, see apdu/card.h */
    size_t apdu_len;
    uint8_t kcv[4];               /* of the TMK */
    uint8_t blob[TOK_BLOB_BYTES]; /* the TMK under the storage key, usage TMK */
    size_t blob_len;
    enum tok_grade grade;
};
enum err_code tok_card_script(struct tok_session *s, const struct tok_card_request *request,
                              struct tok_card_script *out_script, struct err *e) MUST_CHECK;

/* ---- Sign-in: working keys ---- */

/* What a working key travels to the card under. */
enum tok_wrap_version {
    TOK_WRAP_TMK = 1,  /* the TMK itself, whatever the key is for */
    TOK_WRAP_USAGE = 2 /* AES suites: a key-encryption key of the usage, tok_derive_kek of the TMK */
};
#define TOK_WRAP_MAX TOK_WRAP_USAGE

struct tok_working_request {
    const char *psam_number;
    enum tok_suite suite; /* of the card */
    unsigned master_version;
    enum tok_usage usage;       /* PIK, MAK or TDK */
    unsigned key_bytes;         /* TDES: 8 or 16; AES suites: 16 */
    enum tok_mac mac_algorithm; /* the only one that a MAK is for; 0: by suite. Of a PIK or TDK: 0 */
    const uint8_t *sign_in;     /* TOK_SIGN_IN_BYTES, of tok_sign_in_new: one for all keys of a sign-in. NULL:
                                   a fresh one, so that the key stands alone */
    unsigned wrap_version;      /* enum tok_wrap_version; 0: TOK_WRAP_TMK */
};
/* From the token's generator; never zeros. */
enum err_code tok_sign_in_new(struct tok_session *s, uint8_t out_sign_in[TOK_SIGN_IN_BYTES],
                              struct err *e) MUST_CHECK;
/* Whether a MAK of this suite and length can be made for an algorithm: CMAC under AES; X9.9 under 8 bytes. */
bool tok_mac_fits(enum tok_suite suite, unsigned key_bytes, enum tok_mac algorithm);
/* What a MAK is for where nothing was said: UnionPay's for TDES, CMAC for the AES suites. */
enum tok_mac tok_mac_of_suite(enum tok_suite suite);
struct tok_working_key {
    uint8_t cryptogram[24]; /* by wrap version: TDES 8 or 16 bytes of ECB, AES 24 of RFC 3394 */
    size_t cryptogram_len;
    uint8_t kcv[4];
    uint8_t blob[TOK_BLOB_BYTES];
    size_t blob_len;
    enum tok_grade grade;
};
enum err_code tok_working_key(struct tok_session *s, const struct tok_working_request *request,
                              struct tok_working_key *out_key, struct err *e) MUST_CHECK;

/* ---- A key to work with ---- */

/* Either a blob or the name of a zone key in the token; the other is NULL. */
struct tok_key_ref {
    const uint8_t *blob;
    size_t blob_len;
    const char *psam_number;   /* NULL: any; else a blob of another card is ERR_DENIED */
    const char *zone;          /* zone name; the operation says which role */
    unsigned zone_version;     /* 0: the newest */
    enum tok_suite zone_suite; /* 0: the only one there is, else ERR_STATE */
    /* NULL, or where the version goes that was chosen: as soon as it is, though the operation fail after. A
     * blob leaves it. */
    unsigned *out_zone_version;
};
/* Check a blob's tag and form without opening it, and say what it is. ERR_CHECK: altered or of another key
 * set. */
struct tok_blob_info {
    enum tok_suite suite;
    enum tok_usage usage;
    unsigned key_bytes, master_version, storage_version;
    char psam_number[TOK_PSAM_DIGITS + 1];
    int64_t created_ms;
    uint8_t kcv[4];
    unsigned form;                      /* 1 or 2 */
    enum tok_mac mac_algorithm;         /* of a MAK; form 1: by its suite */
    uint8_t sign_in[TOK_SIGN_IN_BYTES]; /* of a working key; form 1 and TMK: zeros */
};
enum err_code tok_blob_info(struct tok_session *s, const uint8_t *blob, size_t len,
                            struct tok_blob_info *out_info, struct err *e) MUST_CHECK;
/* The same without the tag: what the head says, to be believed only where a use of the same bytes follows,
 * which checks it. */
enum err_code tok_blob_peek(const uint8_t *blob, size_t len, struct tok_blob_info *out_info,
                            struct err *e) MUST_CHECK;

/* ---- Rotation of the keys that blobs are sealed under ---- */

struct tok_blob_versions {
    unsigned master, storage, tag;
    bool current; /* sealed under the keys that a new blob would be sealed under */
};
/* As the blob's head says: form only, for a blob that was just made or used. ERR_CHECK: it is none. */
enum err_code tok_blob_versions(const struct tok *tok, const uint8_t *blob, size_t len,
                                struct tok_blob_versions *out_versions, struct err *e) MUST_CHECK;

struct tok_resealed {
    uint8_t blob[TOK_BLOB_BYTES];
    size_t blob_len;
    struct tok_blob_versions versions; /* of this blob */
    bool changed;                      /* false: it was current, and is byte for byte as before */
};
/* The same key under the current storage and tag keys; all else that the blob binds stays: form, usage, card,
 * versions, time of making, check value, MAC algorithm, sign-in. IN_TOKEN. A storage key that was made with
 * CKA_UNWRAP_TEMPLATE (SoftHSM) gives nothing that can be wrapped again: there a TMK is derived anew, and a
 * working key's blob is ERR_UNSUPPORTED, to be replaced at the next sign-in. ERR_CHECK: altered, of another
 * key set, or a key of another check value than the blob says; ERR_NOT_FOUND: no storage or tag key is
 * active, or no master of a TMK that has to be derived. */
enum err_code tok_blob_reseal(struct tok_session *s, const uint8_t *blob, size_t len,
                              struct tok_resealed *out_resealed, struct err *e) MUST_CHECK;

/* ---- MAC ---- */

#define TOK_MAC_BYTES 16
/* Role for a zone: TOK_ZONE_MAC; usage for a blob: MAK. */
struct tok_mac_request {
    enum tok_mac algorithm;
    struct tok_key_ref key;
    const uint8_t *data; /* 1 to TOK_DATA_BYTES */
    size_t len;
    /* To be checked: the whole MAC or its leftmost part, at least 4 bytes (UnionPay: all 8). Not read when a
     * MAC is made. */
    const uint8_t *mac;
    size_t mac_len;
};
struct tok_mac_value {
    uint8_t bytes[TOK_MAC_BYTES];
    size_t len;
    enum tok_grade grade;
};
enum err_code tok_mac_make(struct tok_session *s, const struct tok_mac_request *request,
                           struct tok_mac_value *out_mac, struct err *e) MUST_CHECK;
/* Compared in constant time: *out_matches, and ERR_OK either way. */
enum err_code tok_mac_check(struct tok_session *s, const struct tok_mac_request *request, bool *out_matches,
                            enum tok_grade *out_grade, struct err *e) MUST_CHECK;

/* ---- PIN ---- */

enum tok_pin_format { TOK_PIN_0 = 1, TOK_PIN_1, TOK_PIN_3, TOK_PIN_4 };

/* Translate a PIN block to another key and format; formats 0, 1, 3 are 8 bytes under TDES, format 4 is 16
 * under AES. source: blob PIK or zone PIN. destination: zone PIN; a blob is ERR_DENIED always: a PIN that
 * moved to a terminal's key would be read by whoever has that terminal's card. `pan` 12..19 digits with the
 * check digit; `new_pan` NULL: the same; a change of PAN is ERR_DENIED, as is 0, 3 or 4 to 1 and whatever
 * else ISO 9564-1:2017 9.3/9.4 (and PCI PIN) forbids. In and out of one format: the block is passed on
 * undecoded on every token, so a wrong one is not seen here. Where the formats differ, a block that does not
 * decode is ERR_CHECK, and the note never says which digit or length was wrong: that would be an oracle. */
struct tok_pin_request {
    struct tok_key_ref source, destination;
    enum tok_pin_format source_format, destination_format;
    const char *pan, *new_pan;
    const uint8_t *block;
    size_t block_len;
};
enum err_code tok_pin_translate(struct tok_session *s, const struct tok_pin_request *request,
                                uint8_t out_block[16], size_t *out_len, enum tok_grade *out_grade,
                                struct err *e) MUST_CHECK;

/* ---- Data: tracks ---- */

enum tok_cipher { TOK_ECB = 1, TOK_CBC = 2 };
/* Role for a zone: TOK_ZONE_DATA; usage for a blob: TDK. */
struct tok_data_request {
    enum tok_cipher mode;
    struct tok_key_ref key;
    const uint8_t *iv;   /* CBC: one block of the key's cipher; ECB: none */
    size_t iv_bytes;     /* not iv_len: pkcs11.h of p11-kit has a macro of that name */
    const uint8_t *data; /* whole blocks, up to TOK_DATA_BYTES; nothing is padded */
    size_t len;
};
/* out_data: as long as the data, which it may be. */
enum err_code tok_data_encrypt(struct tok_session *s, const struct tok_data_request *request,
                               uint8_t *out_data, enum tok_grade *out_grade, struct err *e) MUST_CHECK;
enum err_code tok_data_decrypt(struct tok_session *s, const struct tok_data_request *request,
                               uint8_t *out_data, enum tok_grade *out_grade, struct err *e) MUST_CHECK;

/* ---- Audit ---- */

#define TOK_DIGEST_BYTES    32
#define TOK_SIGNATURE_BYTES 64 /* r || s */
/* Sign a SHA-256 digest with the newest audit key (CKM_ECDSA, EC P-256). ERR_NOT_FOUND there is none. */
enum err_code tok_audit_sign(struct tok_session *s, const uint8_t digest[TOK_DIGEST_BYTES],
                             uint8_t out_signature[TOK_SIGNATURE_BYTES], struct err *e) MUST_CHECK;
/* Its public point, as the token's public key object says: who uses it checks a signature with it. */
enum err_code tok_audit_point(struct tok_session *s, uint8_t out_point[TOK_POINT_BYTES],
                              struct err *e) MUST_CHECK;

#endif

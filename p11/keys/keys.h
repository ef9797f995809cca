/* The keys that live in the token: what they are called, what they may do, and how they are made, loaded and
 * found.
 *
 * A token object's label is its name: "posward/psam-master/tdes/1", "posward/zone-pin/bank-a/tdes/1". The
 * object's CKA_ID records its check value, which is computed anew and compared when the key is found.
 * DESIGN.md section 2. */
#ifndef POSWARD_P11_KEYS_KEYS_H
#define POSWARD_P11_KEYS_KEYS_H

#include "base/secret.h"
#include "p11/module/token.h"
#include "p11/object/suite.h"

enum tok_role {
    TOK_PSAM_MASTER =
        1, /* derive: TMK of a card; TDES 16 bytes or AES-256 (suite AES_256, for both AES card suites) */
    TOK_CARD_CONTROL, /* derive: a card's own control key; the same two kinds */
    TOK_STORAGE,      /* AES-256: wrap, unwrap blobs */
    TOK_BLOB_TAG,     /* AES-256: sign, verify (CMAC) */
    TOK_ZONE_PIN,     /* a business unit's ZPK, TDES 16 bytes or AES-128 */
    TOK_ZONE_MAC,     /* ZAK */
    TOK_ZONE_DATA,    /* ZDK */
    TOK_AUDIT,        /* EC P-256: sign */
    TOK_ZONE_MASTER,  /* a business unit's ZMK, under which its keys travel: TDES 16 bytes, AES-128 or AES-256
                       */
    TOK_TRANSPORT,    /* RSA-3072: unwrap keys that come in */
    TOK_COMPONENT,    /* RSA-3072: decipher components of keys */
    TOK_ROLE_COUNT
};

#define TOK_ZONE_BYTES  32 /* a zone's name: 1..31 of a-z 0-9 - */
#define TOK_LABEL_BYTES 80
#define TOK_RSA_BYTES   384 /* of a modulus */
#define TOK_POINT_BYTES 65  /* of the audit key: 04 || x || y */

struct tok_key_name {
    enum tok_role role;
    enum tok_suite suite;
    unsigned version;          /* 1..255 */
    char zone[TOK_ZONE_BYTES]; /* "" but for the zone roles */
};

/* Where a key is in its life (NIST SP 800-57 part 1, 7). A destroyed one is not in the token. */
enum tok_key_state {
    TOK_KEY_PRE_ACTIVE = 1, /* not to be used yet */
    TOK_KEY_ACTIVE,
    TOK_KEY_DEACTIVATED /* opens what it protected, protects nothing more */
};

struct tok_key_info {
    struct tok_key_name name;
    char label[TOK_LABEL_BYTES];
    uint8_t kcv[3];
    bool has_kcv; /* false for pairs: audit, transport, component */
    enum tok_key_state state;
    int64_t created_s, activated_s, deactivated_s; /* Unix time; 0: not known, or not yet */
};

/* Text of a name and back. ERR_INPUT says what is wrong with the text. */
void tok_key_label(const struct tok_key_name *name, char out_label[TOK_LABEL_BYTES]);
enum err_code tok_key_parse(const char *label, struct tok_key_name *out_name, struct err *e) MUST_CHECK;
/* Role, suite, version and zone fit together: ERR_INPUT says what does not. */
enum err_code tok_key_check_name(const struct tok_key_name *name, struct err *e) MUST_CHECK;
const char *tok_role_name(enum tok_role role);    /* "psam-master" */
const char *tok_suite_name(enum tok_suite suite); /* "tdes", "aes-128", "aes-256", "ec-p256", "rsa-3072" */
/* A private key with its public one beside it; they have no check value. */
bool tok_role_is_pair(enum tok_role role);
/* ERR_INPUT lists what there is. */
enum err_code tok_role_parse(const char *text, enum tok_role *out_role, struct err *e) MUST_CHECK;
enum err_code tok_suite_parse(const char *text, enum tok_suite *out_suite, struct err *e) MUST_CHECK;
const char *tok_state_name(enum tok_key_state state); /* "pre-active", "active", "deactivated" */
/* What keys of a role do: "derive", "wrap, unwrap". */
const char *tok_role_usage(enum tok_role role, enum tok_suite suite);

/* Find every posward/ key once, check its check value, copy it to a session object where that is possible.
 * ERR_STATE two objects of one label (names it); ERR_CHECK a value that is not the recorded one. Keys added
 * later are seen after the next load. Before any flow; not while sessions are borrowed. */
enum err_code tok_keys_load(struct tok *tok, struct err *e) MUST_CHECK;
size_t tok_keys_count(const struct tok *tok);
void tok_keys_info(const struct tok *tok, size_t index, struct tok_key_info *out_info);
/* The highest version of a role, suite and zone ("" for none), in any state; 0 when there is no such key. */
unsigned tok_keys_newest(const struct tok *tok, enum tok_role role, enum tok_suite suite, const char *zone);
/* The same of those that are active: the one that a call without a version means. */
unsigned tok_keys_current(const struct tok *tok, enum tok_role role, enum tok_suite suite, const char *zone);

/* Make a key in the token by its generator, pre-active or active. ERR_EXISTS. */
enum err_code tok_key_generate(struct tok *tok, const struct tok_key_name *name, enum tok_key_state state,
                               struct tok_key_info *out_info, struct err *e) MUST_CHECK;
/* Load a key from its value. The clear value passes through this process: a ceremony, never the service's
 * path. TDES values get odd parity; halves that are equal (single DES in disguise) are ERR_INPUT. */
enum err_code tok_key_import(struct tok *tok, const struct tok_key_name *name, const struct secret *value,
                             enum tok_key_state state, struct tok_key_info *out_info,
                             struct err *e) MUST_CHECK;
/* Pre-active to active or deactivated, active to deactivated, and back. Every process of the token sees it
 * after its next load. ERR_NOT_FOUND; ERR_STATE: not from the present state. */
enum err_code tok_key_set_state(struct tok *tok, const struct tok_key_name *name, enum tok_key_state state,
                                struct tok_key_info *out_info, struct err *e) MUST_CHECK;
/* The same question without an answer in the token: may a key go from one state to the other? */
bool tok_state_may_become(enum tok_key_state from, enum tok_key_state to);
/* For ever. Copies in other processes go with their session: they must load anew. ERR_NOT_FOUND; ERR_STATE:
 * the key is active. */
enum err_code tok_key_destroy(struct tok *tok, const struct tok_key_name *name, struct err *e) MUST_CHECK;
/* The check value of a key or component that is not kept: a throw-away session object. 3 bytes. */
enum err_code tok_value_kcv(struct tok *tok, enum tok_suite suite, const struct secret *value,
                            uint8_t out_kcv[3], struct err *e) MUST_CHECK;
/* Does the token still work? Random bytes, and the check value of one of its keys, another one each time.
 * ERR_CHECK: the key is not the one that was loaded. */
enum err_code tok_probe(struct tok_session *session, struct err *e) MUST_CHECK;
/* Bytes of a value of this role and suite: 16, or 32 for AES-256. */
size_t tok_key_bytes(enum tok_role role, enum tok_suite suite);

#endif

/* Inside p11 only: a session, the objects made in it, and how a CK_RV becomes an error. */
#ifndef POSWARD_P11_SESSION_H
#define POSWARD_P11_SESSION_H

#include "p11/keys.h"
#include "p11/ways.h"

#include <p11-kit/pkcs11.h>

struct tok_session {
    struct tok *tok;
    CK_FUNCTION_LIST *fn;
    CK_SESSION_HANDLE handle;
};

/* A session of its own, outside the pool, that may write token objects: `AUTO(tok_session) rw = {0};` */
enum err_code tok_session_open_rw(struct tok *tok, struct tok_session *out_session, struct err *e) MUST_CHECK;
void tok_session_drop(struct tok_session *session);

/* A session object that goes when its scope ends: `AUTO(tok_object) child = {0};` */
struct tok_object {
    struct tok_session *session; /* NULL: nothing to destroy */
    CK_OBJECT_HANDLE handle;
};
void tok_object_drop(struct tok_object *object);

/* The one map from CK_RV to an error class; `call` is the C_ function. native = rv. ERR_OK for CKR_OK. */
enum err_code tok_rv(CK_RV rv, const char *call, struct err *e);
const char *tok_rv_name(CK_RV rv); /* "CKR_MECHANISM_INVALID" */

/* A found token key. role, suite, version and zone as in its name; version 0: the newest that is active;
 * suite 0: the only one. ERR_NOT_FOUND names the label that is missing; ERR_STATE the key that is not active,
 * or, where something is only opened, neither active nor deactivated. The handle is shared: never destroy it.
 */
enum tok_purpose {
    TOK_PROTECT = 1, /* derive, seal, encipher, make a MAC, sign */
    TOK_OPEN         /* what the key protected: unwrap, decipher, check a MAC */
};
struct tok_found {
    CK_OBJECT_HANDLE handle;
    CK_OBJECT_HANDLE left; /* a TDES zone MAC key's K1||K1, which algorithm 3 needs; 0: none */
    struct tok_key_name name;
};
enum err_code tok_keys_find(struct tok *tok, const struct tok_key_name *name, enum tok_purpose purpose,
                            struct tok_found *out_found, struct err *e) MUST_CHECK;

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

/* ---- Diversification (derive.c), used by sign-in and issuing ---- */

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
 * it may wrap and nothing else. `tmk`: AES, TOK_CHILD_DERIVES. Its bytes: see derive.c. */
enum err_code tok_derive_kek(struct tok_session *s, CK_OBJECT_HANDLE tmk, enum tok_suite suite, int usage,
                             struct tok_object *out_kek, struct err *e) MUST_CHECK;
/* 16 to 20 decimal digits, else ERR_INPUT; and as 10 BCD bytes, left-padded with zeros. */
enum err_code tok_check_psam_number(const char *psam_number, struct err *e) MUST_CHECK;
enum err_code tok_psam_bcd(const char *psam_number, uint8_t out_bcd[10], struct err *e) MUST_CHECK;
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

/* ---- Opening what a struct tok_key_ref names (blob.c) ---- */

struct tok_opened {
    CK_OBJECT_HANDLE handle;      /* usable for `usage` only */
    CK_OBJECT_HANDLE left;        /* K1||K1 of a 16-byte TDES MAC key, for algorithm 3; 0: none is kept */
    struct tok_object owned;      /* an opened blob's objects; empty for a token key or a cached blob */
    struct tok_object owned_left; /* the same for `left` */
    struct tok_cached *cached;    /* the cache entry that is held meanwhile, and whose it is */
    struct tok *tok;
    enum tok_suite suite; /* TOK_TDES, or TOK_AES_128 for AES working and zone keys */
    unsigned key_bytes;   /* 8: a single-length DES key held as K||K */
};
void tok_opened_drop(struct tok_opened *opened);

struct tok_key_ref;
/* What the key must be for: a blob of this usage, or a zone key of this role. */
struct tok_need {
    int usage;
    enum tok_role zone_role;
    enum tok_purpose
        purpose; /* of a zone key; a blob opens whatever state its storage key is in but pre-active */
};
/* ERR_DENIED: another usage than is needed, naming both. */
enum err_code tok_open_ref(struct tok_session *s, const struct tok_key_ref *ref, const struct tok_need *need,
                           struct tok_opened *out_opened, struct err *e) MUST_CHECK;
/* Seal an extractable secret key object as a blob. All of struct tok_blob_info is given but storage_version
 * (the newest storage key seals) and kcv (computed; the key may encipher, or sign for AES). New blobs are of
 * form TOK_BLOB_FORM. `left` is K1||K1 of a 16-byte TDES MAC key, which algorithm 3 needs, and 0 for others.
 */
struct tok_blob_info;
struct tok_blob_keys {
    CK_OBJECT_HANDLE key, left;
};
enum err_code tok_blob_seal(struct tok_session *s, struct tok_blob_keys keys,
                            const struct tok_blob_info *info, uint8_t *out_blob, size_t *out_len,
                            struct err *e) MUST_CHECK;

struct tok_blob_view; /* blob.h */
/* Form and tag. ERR_CHECK: altered, or of another key set. */
enum err_code tok_blob_check(struct tok_session *s, const uint8_t *blob, size_t len,
                             struct tok_blob_view *out_view, struct err *e) MUST_CHECK;
/* One part of a checked blob as a session object that may do `uses`. */
enum err_code tok_blob_unwrap(struct tok_session *s, const struct tok_blob_view *view, unsigned part,
                              const CK_ATTRIBUTE_TYPE *uses, struct tok_object *out_object,
                              struct err *e) MUST_CHECK;

/* ---- Ways (ways.c): one row a way, in order of preference within its flow ---- */

struct tok_way_row {
    enum tok_flow flow;
    const char *way_name;
    enum tok_grade grade;
    /* Do it with throw-away keys in `s` and compare with a known answer: ERR_OK only when right. */
    enum err_code (*try_it)(struct tok_session *s, struct err *e);
};
/* Each file of ways owns its rows; ends with a row without a name. ways.c joins the tables. */
extern const struct tok_way_row tok_ways_keys[];      /* derive, working keys, blob: key_ways.c */
extern const struct tok_way_row tok_ways_pay[];       /* kcv, mac, pin, data, card: pay_ways.c */
extern const struct tok_way_row tok_ways_transport[]; /* import, export, key blocks: transport_ways.c */

/* The name of the chosen way, and its grade; ERR_UNSUPPORTED or ERR_DENIED as flows.h says. */
enum err_code tok_way_chosen(struct tok_session *s, enum tok_flow flow, const char **out_way_name,
                             enum tok_grade *out_grade, struct err *e) MUST_CHECK;
/* The same for a step that has one way: ERR_OK as well where nothing was probed, as in a ceremony. */
enum err_code tok_flow_works(struct tok_session *s, enum tok_flow flow, struct err *e) MUST_CHECK;

#endif

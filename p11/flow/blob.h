/* Inside p11 only: blobs are sealed, checked and opened. */
#ifndef POSWARD_P11_FLOW_BLOB_H
#define POSWARD_P11_FLOW_BLOB_H

#include "p11/flow/blob_form.h"
#include "p11/keys/find.h"
#include "p11/object/object.h"

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
struct tok_blob_keys {
    CK_OBJECT_HANDLE key, left;
};
enum err_code tok_blob_seal(struct tok_session *s, struct tok_blob_keys keys,
                            const struct tok_blob_info *info, uint8_t *out_blob, size_t *out_len,
                            struct err *e) MUST_CHECK;

/* Form and tag. ERR_CHECK: altered, or of another key set. */
enum err_code tok_blob_check(struct tok_session *s, const uint8_t *blob, size_t len,
                             struct tok_blob_view *out_view, struct err *e) MUST_CHECK;
/* One part of a checked blob as a session object that may do `uses`. */
enum err_code tok_blob_unwrap(struct tok_session *s, const struct tok_blob_view *view, unsigned part,
                              const CK_ATTRIBUTE_TYPE *uses, struct tok_object *out_object,
                              struct err *e) MUST_CHECK;

#endif

/* A blob moves to the current storage and tag keys; its key passes from one to the other in the token. */
#include "p11/flow/blob_form.h"

#include "base/secret.h"
#include "p11/flow/blob.h"
#include "p11/flow/diversify.h"
#include "p11/module/session.h"

#include <string.h>

/* As a key that was just made: it may be wrapped again and show its check value, and nothing else. */
static const CK_ATTRIBUTE_TYPE moved_tdes[] = {CKA_ENCRYPT, CKA_EXTRACTABLE, CK_UNAVAILABLE_INFORMATION};
static const CK_ATTRIBUTE_TYPE moved_aes[] = {CKA_SIGN, CKA_EXTRACTABLE, CK_UNAVAILABLE_INFORMATION};

static bool is_current(const struct tok *tok, const struct tok_blob_view *view)
{
    return view->info.storage_version == tok_keys_current(tok, TOK_STORAGE, TOK_AES_256, "") &&
           view->tag_version == tok_keys_current(tok, TOK_BLOB_TAG, TOK_AES_256, "");
}

static struct tok_blob_versions versions_of(const struct tok_blob_view *view)
{
    return (struct tok_blob_versions){
        .master = view->info.master_version, .storage = view->info.storage_version, .tag = view->tag_version};
}

enum err_code tok_blob_versions(const struct tok *tok, const uint8_t *blob, size_t len,
                                struct tok_blob_versions *out_versions, struct err *e)
{
    struct tok_blob_view view;
    TRY(tok_blob_parse(blob, len, &view, e));
    struct tok_blob_versions versions = versions_of(&view);
    versions.current = is_current(tok, &view);
    *out_versions = versions;
    return ERR_OK;
}

struct moving {
    struct tok_object key, left;
};
static void moving_drop(struct moving *m)
{
    tok_object_drop(&m->key);
    tok_object_drop(&m->left);
}

static enum err_code open_movable(struct tok_session *s, const struct tok_blob_view *view, struct moving *m,
                                  struct err *e)
{
    const CK_ATTRIBUTE_TYPE *const uses = view->info.suite == TOK_TDES ? moved_tdes : moved_aes;
    TRY(tok_blob_unwrap(s, view, 0, uses, &m->key, e));
    return view->parts == 2 ? tok_blob_unwrap(s, view, 1, uses, &m->left, e) : ERR_OK;
}

/* A hardened storage key (keys/make.c) gives nothing that could be wrapped again. A TMK is then derived anew,
 * as it was at first; a working key is replaced at the terminal's next sign-in. */
static enum err_code make_movable(struct tok_session *s, const struct tok_blob_view *view, struct moving *m,
                                  struct err *e)
{
    const struct tok_child_request child = {.psam_number = view->info.psam_number,
                                            .suite = view->info.suite,
                                            .domain = TOK_DOMAIN_TMK,
                                            .master_version = view->info.master_version,
                                            .use = TOK_CHILD_MATERIAL};
    struct err own = {0};
    const enum err_code code = open_movable(s, view, m, &own);
    if (code == ERR_OK)
        return ERR_OK;
    if (own.native != CKR_TEMPLATE_INCONSISTENT) {
        if (e != NULL)
            *e = own;
        return code;
    }
    if (view->info.usage == TOK_TMK)
        return tok_derive_child(s, &child, &m->key, e);
    return err_set(e, ERR_UNSUPPORTED,
                   "storage key version %u lets nothing that it opened be wrapped again on this token; the "
                   "terminal's next sign-in makes keys under the current one",
                   view->info.storage_version);
}

static enum err_code move(struct tok_session *s, const struct tok_blob_view *view, uint8_t *out_blob,
                          size_t *out_len, struct err *e)
{
    AUTO(moving) m = {0};
    struct tok_blob_view moved;
    uint8_t blob[TOK_BLOB_BYTES];
    size_t len = 0;
    TRY(make_movable(s, view, &m, e));
    const struct tok_blob_keys keys = {.key = m.key.handle, .left = m.left.handle};
    TRY(tok_blob_seal(s, keys, &view->info, blob, &len, e));
    TRY(tok_blob_parse(blob, len, &moved, e));
    if (!secret_equal(moved.info.kcv, view->info.kcv, sizeof moved.info.kcv))
        return err_set(e, ERR_CHECK, "the key in the blob does not have the check value that the blob says");
    memcpy(out_blob, blob, len);
    *out_len = len;
    return ERR_OK;
}

enum err_code tok_blob_reseal(struct tok_session *s, const uint8_t *blob, size_t len,
                              struct tok_resealed *out_resealed, struct err *e)
{
    struct tok_blob_view view;
    struct tok_resealed resealed = {.blob_len = len};
    TRY(tok_blob_check(s, blob, len, &view, e));
    memcpy(resealed.blob, blob, len);
    resealed.changed = !is_current(s->tok, &view);
    if (resealed.changed)
        TRY(move(s, &view, resealed.blob, &resealed.blob_len, e));
    TRY(tok_blob_versions(s->tok, resealed.blob, resealed.blob_len, &resealed.versions, e));
    *out_resealed = resealed;
    return ERR_OK;
}

#include "p11/flow/blob_form.h"

#include "base/secret.h"
#include "p11/flow/blob.h"
#include "p11/keys/cache.h"
#include "p11/module/session.h"
#include "p11/module/state.h"
#include "p11/object/template.h"

#include <string.h>

/* ---- Tag ---- */

static enum err_code make_tag(struct tok_session *s, CK_OBJECT_HANDLE key, const uint8_t *bytes, size_t len,
                              uint8_t out_tag[TOK_BLOB_TAG_BYTES], struct err *e)
{
    CK_MECHANISM cmac = {.mechanism = CKM_AES_CMAC};
    size_t got = 0;
    TRY(tok_sign(s, &cmac, key, bytes, len, out_tag, TOK_BLOB_TAG_BYTES, &got, e));
    return got == TOK_BLOB_TAG_BYTES ? ERR_OK
                                     : err_set(e, ERR_UNSUPPORTED, "the token's CMAC has %zu bytes", got);
}

/* A version that is not there cannot be told from an altered byte. */
static enum err_code find_key(struct tok *tok, enum tok_role role, unsigned version,
                              struct tok_found *out_found, struct err *e)
{
    const struct tok_key_name name = {.role = role, .suite = TOK_AES_256, .version = version};
    const enum err_code code = tok_keys_find(tok, &name, TOK_OPEN, out_found, e);
    if (code != ERR_NOT_FOUND)
        return code;
    return err_set(e, ERR_CHECK,
                   "the key blob was altered, or sealed under a %s key that is not in the token: version %u",
                   tok_role_name(role), version);
}

/* By C_Sign and a constant-time compare: not every token that makes a CMAC also verifies one. */
enum err_code tok_blob_check(struct tok_session *s, const uint8_t *blob, size_t len,
                             struct tok_blob_view *out_view, struct err *e)
{
    struct tok_blob_view view;
    struct tok_found key;
    uint8_t tag[TOK_BLOB_TAG_BYTES];
    TRY(tok_blob_parse(blob, len, &view, e));
    TRY(tok_flow_works(s->tok, TOK_FLOW_BLOB, e));
    TRY(find_key(s->tok, TOK_BLOB_TAG, view.tag_version, &key, e));
    TRY(make_tag(s, key.handle, blob, view.tagged_len, tag, e));
    const bool right = secret_equal(tag, view.tag, sizeof tag);
    secret_wipe(tag, sizeof tag); /* the right tag of an altered blob is worth something */
    if (!right)
        return err_set(e, ERR_CHECK,
                       "the key blob was altered, or belongs to another key set: its tag is wrong");
    *out_view = view;
    return ERR_OK;
}

enum err_code tok_blob_info(struct tok_session *s, const uint8_t *blob, size_t len,
                            struct tok_blob_info *out_info, struct err *e)
{
    struct tok_blob_view view;
    TRY(tok_blob_check(s, blob, len, &view, e));
    *out_info = view.info;
    return ERR_OK;
}

/* ---- Seal ---- */

static enum err_code wrap_part(struct tok_session *s, CK_OBJECT_HANDLE storage, CK_OBJECT_HANDLE key,
                               uint8_t *out, size_t want, struct err *e)
{
    CK_MECHANISM wrap = {.mechanism = CKM_AES_KEY_WRAP};
    uint8_t wrapped[TOK_WRAPPED_MOST];
    CK_ULONG len = sizeof wrapped;
    TRY(tok_rv(s->fn->C_WrapKey(s->handle, &wrap, storage, key, wrapped, &len), "C_WrapKey", e));
    if (len != want)
        return err_set(e, ERR_INTERNAL, "the token wrapped a key to %lu bytes, not %zu", len, want);
    memcpy(out, wrapped, want);
    return ERR_OK;
}

enum err_code tok_blob_seal(struct tok_session *s, struct tok_blob_keys keys,
                            const struct tok_blob_info *info, uint8_t *out_blob, size_t *out_len,
                            struct err *e)
{
    const struct tok_key_name storage_name = {.role = TOK_STORAGE, .suite = TOK_AES_256};
    const struct tok_key_name tag_name = {.role = TOK_BLOB_TAG, .suite = TOK_AES_256};
    struct tok_found storage, tag;
    uint8_t blob[TOK_BLOB_BYTES];
    TRY(tok_keys_find(s->tok, &storage_name, TOK_PROTECT, &storage, e));
    TRY(tok_keys_find(s->tok, &tag_name, TOK_PROTECT, &tag, e));

    struct tok_blob_view view = {
        .info = *info, .tag_version = tag.name.version, .parts = keys.left != CK_INVALID_HANDLE ? 2 : 1};
    view.info.storage_version = storage.name.version;
    TRY(tok_object_kcv(s, keys.key, info->suite, view.info.kcv, sizeof view.info.kcv, e));
    TRY(tok_blob_head(&view, blob, e));
    const size_t wrapped_len = tok_blob_held_bytes(info->key_bytes) + 8;
    size_t at = tok_blob_head_bytes(info->form);
    TRY(wrap_part(s, storage.handle, keys.key, blob + at, wrapped_len, e));
    at += wrapped_len;
    if (view.parts == 2) {
        TRY(wrap_part(s, storage.handle, keys.left, blob + at, wrapped_len, e));
        at += wrapped_len;
    }
    TRY(make_tag(s, tag.handle, blob, at, blob + at, e));
    at += TOK_BLOB_TAG_BYTES;
    memcpy(out_blob, blob, at);
    *out_len = at;
    return ERR_OK;
}

/* ---- Open ---- */

/* What an opened key may do. A TMK is opened by nobody: cards get theirs by derivation. */
static const CK_ATTRIBUTE_TYPE pik_uses[] = {CKA_DECRYPT, CKA_UNWRAP, CK_UNAVAILABLE_INFORMATION};
static const CK_ATTRIBUTE_TYPE pik_in_token_uses[] = {CKA_UNWRAP, CK_UNAVAILABLE_INFORMATION};
static const CK_ATTRIBUTE_TYPE mak_tdes_uses[] = {CKA_ENCRYPT, CK_UNAVAILABLE_INFORMATION};
static const CK_ATTRIBUTE_TYPE mak_aes_uses[] = {CKA_SIGN, CKA_VERIFY, CK_UNAVAILABLE_INFORMATION};
static const CK_ATTRIBUTE_TYPE tdk_uses[] = {CKA_ENCRYPT, CKA_DECRYPT, CK_UNAVAILABLE_INFORMATION};
static const CK_ATTRIBUTE_TYPE no_uses[] = {CK_UNAVAILABLE_INFORMATION};
static const CK_ATTRIBUTE_TYPE tmk_uses[] = {CKA_WRAP, CKA_UNWRAP, CK_UNAVAILABLE_INFORMATION};

/* No PIN goes to a terminal, so a PIK neither enciphers nor wraps, whatever asks. Where policy keeps clear
 * PINs in the token, a TDES PIN key cannot decipher either. Format 4 deciphers an intermediate block that is
 * no secret.
 */
static const CK_ATTRIBUTE_TYPE *uses_of(const struct tok *tok, const struct tok_blob_info *info)
{
    const bool tdes = info->suite == TOK_TDES;
    switch (info->usage) {
    case TOK_PIK:
        return tdes && tok_exposure(tok) == TOK_EXPOSURE_IN_TOKEN ? pik_in_token_uses : pik_uses;
    case TOK_MAK:
        return tdes ? mak_tdes_uses : mak_aes_uses;
    case TOK_TDK:
        return tdk_uses;
    case TOK_TMK:
        return tmk_uses;
    }
    return no_uses; /* a usage that the form does not know is refused before */
}

enum err_code tok_blob_unwrap(struct tok_session *s, const struct tok_blob_view *view, unsigned part,
                              const CK_ATTRIBUTE_TYPE *uses, struct tok_object *out_object, struct err *e)
{
    struct tok_found storage;
    struct tok_template t;
    CK_MECHANISM wrap = {.mechanism = CKM_AES_KEY_WRAP};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    TRY(find_key(s->tok, TOK_STORAGE, view->info.storage_version, &storage, e));
    tok_template_secret(&t, view->info.suite == TOK_TDES ? CKK_DES2 : CKK_AES, uses);
    TRY(tok_rv(s->fn->C_UnwrapKey(s->handle, &wrap, storage.handle,
                                  (CK_BYTE_PTR)(uintptr_t)view->wrapped[part], view->wrapped_len, t.rows,
                                  t.count, &handle),
               "C_UnwrapKey", e));
    *out_object = (struct tok_object){.session = s, .handle = handle};
    return ERR_OK;
}

void tok_opened_drop(struct tok_opened *opened)
{
    tok_object_drop(&opened->owned);
    tok_object_drop(&opened->owned_left);
    if (opened->cached != NULL)
        tok_cache_give(opened->tok, opened->cached);
    *opened = (struct tok_opened){0};
}

static enum err_code unwrap_parts(struct tok_session *s, const struct tok_blob_view *view,
                                  struct tok_opened *out_opened, struct err *e)
{
    AUTO(tok_object) key = {0};
    AUTO(tok_object) left = {0};
    const CK_ATTRIBUTE_TYPE *const uses = uses_of(s->tok, &view->info);
    TRY(tok_blob_unwrap(s, view, 0, uses, &key, e));
    if (view->parts == 2)
        TRY(tok_blob_unwrap(s, view, 1, uses, &left, e));
    *out_opened =
        (struct tok_opened){.handle = key.handle, .left = left.handle, .owned = key, .owned_left = left};
    key = left = (struct tok_object){0};
    return ERR_OK;
}

/* Unwrap once on the holder session and keep it there. The caller holds holder_lock. */
static enum err_code open_on_holder(struct tok *tok, const struct tok_key_ref *ref,
                                    const struct tok_blob_view *view, struct tok_opened *out_opened,
                                    struct err *e)
{
    AUTO(tok_opened) opened = {0};
    struct tok_cached_keys keys = {0};
    struct tok_cached *cached = tok_cache_take(tok, ref->blob, ref->blob_len, &keys);
    if (cached == NULL) { /* still: another thread may have been quicker */
        TRY(unwrap_parts(&tok->holder, view, &opened, e));
        keys = (struct tok_cached_keys){.key = opened.handle, .left = opened.left};
        cached = tok_cache_put(tok, ref->blob, ref->blob_len, keys);
        if (cached == NULL)
            return err_set(e, ERR_LIMIT, "every cached key is in use");
        opened = (struct tok_opened){0};
    }
    *out_opened = (struct tok_opened){.handle = keys.key, .left = keys.left, .cached = cached, .tok = tok};
    return ERR_OK;
}

static enum err_code open_fresh(struct tok_session *s, const struct tok_key_ref *ref,
                                const struct tok_blob_view *view, struct tok_opened *out_opened,
                                struct err *e)
{
    tok_holder_take(s->tok);
    const enum err_code code = open_on_holder(s->tok, ref, view, out_opened, e);
    pthread_mutex_unlock(&s->tok->holder_lock);
    return code == ERR_LIMIT ? unwrap_parts(s, view, out_opened, e) : code;
}

static enum err_code check_usage(const struct tok_blob_info *info, int usage, struct err *e)
{
    if ((int)info->usage == usage)
        return ERR_OK;
    return err_set(e, ERR_DENIED, "the key blob is a %s, and a %s is needed",
                   tok_usage_name((int)info->usage), tok_usage_name(usage));
}

/* A store that hands out one terminal's key for another is not believed. */
static enum err_code check_owner(const struct tok_blob_info *info, const char *psam_number, struct err *e)
{
    if (psam_number == NULL || strcmp(info->psam_number, psam_number) == 0)
        return ERR_OK;
    return err_set(e, ERR_DENIED, "the key blob belongs to another card than psam_number says");
}

static enum err_code open_blob(struct tok_session *s, const struct tok_key_ref *ref, int usage,
                               struct tok_opened *out_opened, struct err *e)
{
    struct tok_blob_view view;
    AUTO(tok_opened) opened = {0};
    struct tok_cached_keys keys = {0};
    TRY(tok_blob_parse(ref->blob, ref->blob_len, &view, e));
    struct tok_cached *cached = tok_cache_take(s->tok, ref->blob, ref->blob_len, &keys);
    if (cached != NULL)
        opened = (struct tok_opened){.handle = keys.key, .left = keys.left, .cached = cached, .tok = s->tok};
    else
        TRY(tok_blob_check(s, ref->blob, ref->blob_len, &view, e));
    TRY(check_usage(&view.info, usage, e));
    TRY(check_owner(&view.info, ref->psam_number, e));
    if (cached == NULL)
        TRY(open_fresh(s, ref, &view, &opened, e));
    opened.suite = view.info.suite == TOK_TDES ? TOK_TDES : TOK_AES_128;
    opened.key_bytes = view.info.key_bytes;
    *out_opened = opened;
    opened = (struct tok_opened){0};
    return ERR_OK;
}

static enum err_code open_zone(struct tok_session *s, const struct tok_key_ref *ref,
                               const struct tok_need *need, struct tok_opened *out_opened, struct err *e)
{
    struct tok_key_name name = {
        .role = need->zone_role, .suite = ref->zone_suite, .version = ref->zone_version};
    struct tok_found found;
    const size_t len = strnlen(ref->zone, TOK_ZONE_BYTES);
    if (len == 0 || len == TOK_ZONE_BYTES)
        return err_set(e, ERR_INPUT, "a zone's name is 1 to %d of a-z 0-9 -", TOK_ZONE_BYTES - 1);
    memcpy(name.zone, ref->zone, len);
    TRY(tok_keys_find(s->tok, &name, need->purpose, &found, e));
    *out_opened = (struct tok_opened){
        .handle = found.handle, .left = found.left, .suite = found.name.suite, .key_bytes = 16};
    if (ref->out_zone_version != NULL)
        *ref->out_zone_version = found.name.version;
    return ERR_OK;
}

enum err_code tok_open_ref(struct tok_session *s, const struct tok_key_ref *ref, const struct tok_need *need,
                           struct tok_opened *out_opened, struct err *e)
{
    if ((ref->blob == NULL) == (ref->zone == NULL))
        return err_set(e, ERR_INPUT, "a key is either a blob or the name of a zone");
    if (ref->blob != NULL)
        return open_blob(s, ref, need->usage, out_opened, e);
    return open_zone(s, ref, need, out_opened, e);
}

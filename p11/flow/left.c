/* DES under the left half of a double-length key, on tokens of every poverty. */
#include "p11/flow/pay.h"
#include "p11/object/object.h"
#include "p11/object/template.h"

#define KW_BLOCKS 2 /* 8-byte blocks of the key that is split */
#define KW_ROUNDS 6

void tok_left_drop(struct tok_left *left)
{
    tok_object_drop(&left->joined);
    tok_object_drop(&left->known);
    tok_object_drop(&left->made);
    *left = (struct tok_left){0};
}

void tok_left_pair(CK_OBJECT_HANDLE pair, struct tok_left *out_left)
{
    *out_left = (struct tok_left){.pair = pair};
}

/* ---- extract way: the token cuts and joins ---- */

enum err_code tok_left_extract(struct tok_session *s, CK_OBJECT_HANDLE key, struct tok_left *out_left,
                               struct err *e)
{
    struct tok_template half_is, pair_is;
    tok_template_secret(&half_is, CKK_GENERIC_SECRET, TOK_USES(CKA_EXTRACTABLE, CKA_DERIVE));
    tok_template_number(&half_is, CKA_VALUE_LEN, DES_BLOCK);
    tok_template_secret(&pair_is, CKK_DES2, TOK_USES(CKA_ENCRYPT));

    CK_ULONG first_bit = 0;
    CK_MECHANISM cut = {CKM_EXTRACT_KEY_FROM_KEY, &first_bit, sizeof first_bit};
    AUTO(tok_object) half = {0};
    TRY(tok_rv(s->fn->C_DeriveKey(s->handle, &cut, key, half_is.rows, half_is.count, &half.handle),
               "C_DeriveKey", e));
    half.session = s;
    CK_MECHANISM join = {CKM_CONCATENATE_BASE_AND_KEY, &half.handle, sizeof half.handle};
    struct tok_object pair = {.session = s};
    TRY(tok_rv(s->fn->C_DeriveKey(s->handle, &join, half.handle, pair_is.rows, pair_is.count, &pair.handle),
               "C_DeriveKey", e));
    *out_left = (struct tok_left){.pair = pair.handle, .made = pair};
    return ERR_OK;
}

/* ---- append way ----
 * A token that can neither cut nor join (SoftHSM) still has AES key wrap. With a throw-away AES key W that
 * also enciphers, the wrapping of K1||K2 can be undone down to the state after its second step, which is the
 * same state that wrapping K1||K2||P has there; wrapping goes on from it with a public P, and the token
 * unwraps K1||K2||P as a three-key DES key. The two steps that would show K1 and K2 are never undone. Then,
 * with T = K1||K2||P: E_K1(y) = E_K1K2( D_T( E_P(y) ) ),  as D_T(E_P(y)) = D_K1(E_K2(y)) and E_K1K2 = E_K1
 * D_K2 E_K1. Source: RFC 3394 2.2.1 (wrap as index-based steps); the rest is algebra, and the probe checks
 * it. */

static const uint8_t known_half[DES_BLOCK] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF};

struct kw {
    struct tok_session *s;
    CK_OBJECT_HANDLE key;
    uint8_t a[8], r[KW_BLOCKS + 1][8];
};

static enum err_code kw_step(struct kw *kw, unsigned block, unsigned t, struct err *e)
{
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    uint8_t b[AES_BLOCK];
    memcpy(b, kw->a, 8);
    memcpy(b + 8, kw->r[block], 8);
    TRY(tok_encrypt(kw->s, &ecb, kw->key, b, sizeof b, b, e));
    b[7] ^= (uint8_t)t;
    memcpy(kw->a, b, 8);
    memcpy(kw->r[block], b + 8, 8);
    return ERR_OK;
}

static enum err_code kw_undo(struct kw *kw, unsigned block, unsigned t, struct err *e)
{
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    uint8_t b[AES_BLOCK];
    memcpy(b, kw->a, 8);
    b[7] ^= (uint8_t)t;
    memcpy(b + 8, kw->r[block], 8);
    TRY(tok_decrypt(kw->s, &ecb, kw->key, b, sizeof b, b, e));
    memcpy(kw->a, b, 8);
    memcpy(kw->r[block], b + 8, 8);
    return ERR_OK;
}

/* The wrapping of K1||K2 becomes the wrapping of K1||K2||P. */
static enum err_code kw_append(struct kw *kw, struct err *e)
{
    for (unsigned round = KW_ROUNDS - 1; round >= 1; round--) {
        for (unsigned block = KW_BLOCKS; block >= 1; block--)
            TRY(kw_undo(kw, block - 1, KW_BLOCKS * round + block, e));
    }
    const unsigned blocks = KW_BLOCKS + 1;
    memcpy(kw->r[KW_BLOCKS], known_half, sizeof known_half);
    TRY(kw_step(kw, KW_BLOCKS, blocks, e));
    for (unsigned round = 1; round < KW_ROUNDS; round++) {
        for (unsigned block = 1; block <= blocks; block++)
            TRY(kw_step(kw, block - 1, blocks * round + block, e));
    }
    return ERR_OK;
}

static enum err_code kw_generate(struct tok_session *s, struct tok_object *out_key, struct err *e)
{
    struct tok_template is;
    tok_template_secret(&is, CKK_AES, TOK_USES(CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP));
    tok_template_number(&is, CKA_VALUE_LEN, AES_BLOCK);
    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    TRY(tok_rv(s->fn->C_GenerateKey(s->handle, &generate, is.rows, is.count, &handle), "C_GenerateKey", e));
    *out_key = (struct tok_object){.session = s, .handle = handle};
    return ERR_OK;
}

static enum err_code unwrap_joined(const struct kw *kw, struct tok_object *out_joined, struct err *e)
{
    struct tok_template is;
    tok_template_secret(&is, CKK_DES3, TOK_USES(CKA_DECRYPT));
    uint8_t wrapped[8 * (KW_BLOCKS + 2)];
    memcpy(wrapped, kw->a, 8);
    memcpy(wrapped + 8, kw->r, sizeof kw->r);
    CK_MECHANISM key_wrap = {CKM_AES_KEY_WRAP, NULL, 0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    TRY(tok_rv(kw->s->fn->C_UnwrapKey(kw->s->handle, &key_wrap, kw->key, wrapped, sizeof wrapped, is.rows,
                                      is.count, &handle),
               "C_UnwrapKey", e));
    *out_joined = (struct tok_object){.session = kw->s, .handle = handle};
    return ERR_OK;
}

enum err_code tok_left_append(struct tok_session *s, CK_OBJECT_HANDLE key, struct tok_left *out_left,
                              struct err *e)
{
    AUTO(tok_object) wrapper = {0};
    TRY(kw_generate(s, &wrapper, e));
    CK_MECHANISM key_wrap = {CKM_AES_KEY_WRAP, NULL, 0};
    uint8_t wrapped[8 * (KW_BLOCKS + 1)];
    CK_ULONG len = sizeof wrapped;
    TRY(tok_rv(s->fn->C_WrapKey(s->handle, &key_wrap, wrapper.handle, key, wrapped, &len), "C_WrapKey", e));
    if (len != sizeof wrapped)
        return err_set(e, ERR_INTERNAL, "a 16-byte key was wrapped to %lu bytes", len);
    struct kw kw = {.s = s, .key = wrapper.handle};
    memcpy(kw.a, wrapped, 8);
    memcpy(kw.r, wrapped + 8, 8UL * KW_BLOCKS);
    TRY(kw_append(&kw, e));

    AUTO(tok_left) left = {.key = key};
    uint8_t twice[2 * DES_BLOCK];
    memcpy(twice, known_half, DES_BLOCK);
    memcpy(twice + DES_BLOCK, known_half, DES_BLOCK);
    TRY(tok_object_import(s, CKK_DES2, twice, sizeof twice, TOK_USES(CKA_ENCRYPT), &left.known, e));
    TRY(unwrap_joined(&kw, &left.joined, e));
    *out_left = left;
    left = (struct tok_left){0};
    return ERR_OK;
}

/* ---- use ---- */

static enum err_code append_block(struct tok_session *s, const struct tok_left *left,
                                  uint8_t block[DES_BLOCK], struct err *e)
{
    CK_MECHANISM ecb = {CKM_DES3_ECB, NULL, 0};
    TRY(tok_encrypt(s, &ecb, left->known.handle, block, DES_BLOCK, block, e));
    TRY(tok_decrypt(s, &ecb, left->joined.handle, block, DES_BLOCK, block, e));
    return tok_encrypt(s, &ecb, left->key, block, DES_BLOCK, block, e);
}

enum err_code tok_left_cbc(struct tok_session *s, const struct tok_left *left, const uint8_t *data,
                           size_t len, uint8_t state[DES_BLOCK], struct err *e)
{
    if (left->pair != CK_INVALID_HANDLE) {
        uint8_t out[TOK_DATA_BYTES + 2 * DES_BLOCK];
        CK_MECHANISM cbc = {CKM_DES3_CBC, state, DES_BLOCK};
        TRY(tok_encrypt(s, &cbc, left->pair, data, len, out, e));
        memcpy(state, out + len - DES_BLOCK, DES_BLOCK);
        secret_wipe(out, len); /* ends in the right MAC of what may be a forged message */
        return ERR_OK;
    }
    for (size_t at = 0; at < len; at += DES_BLOCK) {
        for (size_t i = 0; i < DES_BLOCK; i++)
            state[i] ^= data[at + i];
        TRY(append_block(s, left, state, e));
    }
    return ERR_OK;
}

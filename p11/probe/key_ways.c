/* What the probe tries of the key flows: each way on throw-away keys, against an answer that is written here.
 */
#include "base/secret.h"
#include "p11/flow/diversify.h"
#include "p11/flow/flows.h"
#include "p11/flow/working.h"
#include "p11/keys/make.h"
#include "p11/keys/pair.h"
#include "p11/module/session.h"
#include "p11/object/template.h"
#include "p11/probe/rows.h"

#include <string.h>

/* The derive vectors' master key 0123..10, and what OpenSSL makes of it. */
static const uint8_t des_key[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
                                    0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10};
static const uint8_t aes_key[32] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A,
                                    0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15,
                                    0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F};

static const uint8_t des_kcv[4] = {0x08, 0xD7, 0xB4, 0xFB};

static enum err_code expect_kcv(struct tok_session *s, const struct tok_object *key, const uint8_t right[4],
                                struct err *e)
{
    uint8_t kcv[4];
    TRY(tok_object_kcv(s, key->handle, TOK_TDES, kcv, sizeof kcv, e));
    return probe_expect(kcv, right, sizeof kcv, e);
}

/* div-psamno-d2: factor 0000001234567890, check value BDCE7C22. */
static const uint8_t child_kcv[4] = {0xBD, 0xCE, 0x7C, 0x22};

static enum err_code derive_child(struct tok_session *s, const CK_ATTRIBUTE_TYPE *uses,
                                  struct tok_object *out_child, struct err *e)
{
    static const uint8_t data[16] = {0x00, 0x00, 0x00, 0x12, 0x34, 0x56, 0x78, 0x90,
                                     0xFF, 0xFF, 0xFF, 0xED, 0xCB, 0xA9, 0x87, 0x6F};
    AUTO(tok_object) master = {0};
    TRY(tok_object_import(s, CKK_DES2, des_key, sizeof des_key, TOK_USES(CKA_DERIVE), &master, e));
    const struct tok_derive_request request = {.base_suite = TOK_TDES,
                                               .base = master.handle,
                                               .data = data,
                                               .len = sizeof data,
                                               .type = CKK_DES2,
                                               .uses = uses};
    return tok_derive_data(s, &request, out_child, e);
}

static enum err_code try_diversify_tdes(struct tok_session *s, struct err *e)
{
    AUTO(tok_object) child = {0};
    TRY(derive_child(s, TOK_USES(CKA_ENCRYPT), &child, e));
    return expect_kcv(s, &child, child_kcv, e);
}

/* FIPS 197 C.3: E of 00112233..FF under 0001..1F is 8EA2B7CA516745BFEAFC49904B496089; its CMAC of a zero
 * block by OpenSSL. Two blocks prove that AES-256 children work too. */
static enum err_code try_diversify_aes(struct tok_session *s, struct err *e)
{
    static const uint8_t block[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                      0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF};
    static const uint8_t right[2][4] = {{0xAC, 0x37, 0x5B, 0x80}, {0xE3, 0x31, 0x20, 0x37}};
    uint8_t data[32], kcv[4];
    AUTO(tok_object) master = {0};
    memcpy(data, block, sizeof block);
    memcpy(data + sizeof block, block, sizeof block);
    TRY(tok_object_import(s, CKK_AES, aes_key, sizeof aes_key, TOK_USES(CKA_DERIVE), &master, e));
    for (size_t blocks = 1; blocks <= 2; blocks++) {
        AUTO(tok_object) child = {0};
        const struct tok_derive_request request = {.base_suite = TOK_AES_256,
                                                   .base = master.handle,
                                                   .data = data,
                                                   .len = blocks * sizeof block,
                                                   .type = CKK_AES,
                                                   .uses = TOK_USES(CKA_SIGN)};
        TRY(tok_derive_data(s, &request, &child, e));
        TRY(tok_object_kcv(s, child.handle, TOK_AES_256, kcv, sizeof kcv, e));
        TRY(probe_expect(kcv, right[blocks - 1], sizeof kcv, e));
    }
    return ERR_OK;
}

/* ---- Working keys: what the card would decipher must be the key that the token holds ---- */

/* Decipher the cryptogram with the public TMK, and compare check values. */
static enum err_code check_tdes(struct tok_session *s, const struct tok_made *made, unsigned key_bytes,
                                struct err *e)
{
    uint8_t clear[16], want[8], got[8];
    AUTO(tok_object) tmk = {0};
    AUTO(tok_object) card = {0};
    CK_MECHANISM ecb = {.mechanism = CKM_DES3_ECB};
    if (made->cryptogram_len != key_bytes)
        return err_set(e, ERR_CHECK, "wrong answer");
    TRY(tok_object_import(s, CKK_DES2, des_key, sizeof des_key, TOK_USES(CKA_DECRYPT), &tmk, e));
    TRY(tok_decrypt(s, &ecb, tmk.handle, made->cryptogram, key_bytes, clear, e));
    if (key_bytes == 8)
        memcpy(clear + 8, clear, 8);
    const enum err_code code =
        tok_object_import(s, CKK_DES2, clear, sizeof clear, TOK_USES(CKA_ENCRYPT), &card, e);
    secret_wipe(clear, sizeof clear);
    TRY(code);
    TRY(tok_object_kcv(s, card.handle, TOK_TDES, want, sizeof want, e));
    TRY(tok_object_kcv(s, made->key.handle, TOK_TDES, got, sizeof got, e));
    return probe_expect(got, want, sizeof got, e);
}

typedef enum err_code working_fn(struct tok_session *s, CK_OBJECT_HANDLE tmk, unsigned key_bytes,
                                 bool with_left, struct tok_made *out_made, struct err *e);

static enum err_code try_working(struct tok_session *s, working_fn *way, const CK_ATTRIBUTE_TYPE *uses,
                                 struct err *e)
{
    AUTO(tok_object) tmk = {0};
    TRY(tok_object_import(s, CKK_DES2, des_key, sizeof des_key, uses, &tmk, e));
    for (unsigned key_bytes = 8; key_bytes <= 16; key_bytes += 8) {
        AUTO(tok_made) made = {0};
        TRY(way(s, tmk.handle, key_bytes, key_bytes == 16, &made, e));
        TRY(check_tdes(s, &made, key_bytes, e));
    }
    return ERR_OK;
}

static enum err_code try_working_wrap(struct tok_session *s, struct err *e)
{
    return try_working(s, tok_working_wrap, TOK_USES(CKA_WRAP, CKA_UNWRAP), e);
}

static enum err_code try_working_chain(struct tok_session *s, struct err *e)
{
    return try_working(s, tok_working_chain, TOK_USES(CKA_DERIVE, CKA_ENCRYPT, CKA_SIGN), e);
}

/* By AES key wrap, of a key of at most 32 bytes. */
struct wrapped {
    CK_BYTE bytes[40];
    CK_ULONG len;
};

static enum err_code wrap(struct tok_session *s, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key,
                          struct wrapped *out_wrapped, struct err *e)
{
    CK_MECHANISM key_wrap = {.mechanism = CKM_AES_KEY_WRAP};
    out_wrapped->len = sizeof out_wrapped->bytes;
    return tok_rv(s->fn->C_WrapKey(s->handle, &key_wrap, kek, key, out_wrapped->bytes, &out_wrapped->len),
                  "C_WrapKey", e);
}

static enum err_code unwrap(struct tok_session *s, CK_OBJECT_HANDLE kek, const struct wrapped *wrapped,
                            struct tok_template *t, struct tok_object *out_key, struct err *e)
{
    CK_MECHANISM key_wrap = {.mechanism = CKM_AES_KEY_WRAP};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    TRY(tok_rv(s->fn->C_UnwrapKey(s->handle, &key_wrap, kek, (CK_BYTE_PTR)(uintptr_t)wrapped->bytes,
                                  wrapped->len, t->rows, t->count, &handle),
               "C_UnwrapKey", e));
    *out_key = (struct tok_object){.session = s, .handle = handle};
    return ERR_OK;
}

/* Open the cryptogram with what the card has, and compare check values. */
static enum err_code check_aes(struct tok_session *s, CK_OBJECT_HANDLE kek, const struct tok_made *made,
                               struct err *e)
{
    uint8_t want[8], got[8];
    AUTO(tok_object) card = {0};
    struct wrapped cryptogram = {.len = made->cryptogram_len};
    struct tok_template t;
    memcpy(cryptogram.bytes, made->cryptogram, made->cryptogram_len);
    tok_template_secret(&t, CKK_AES, TOK_USES(CKA_SIGN));
    TRY(unwrap(s, kek, &cryptogram, &t, &card, e));
    TRY(tok_object_kcv(s, card.handle, TOK_AES_128, want, sizeof want, e));
    TRY(tok_object_kcv(s, made->key.handle, TOK_AES_128, got, sizeof got, e));
    return probe_expect(got, want, sizeof got, e);
}

static enum err_code try_working_aes(struct tok_session *s, struct err *e)
{
    AUTO(tok_object) tmk = {0};
    AUTO(tok_made) made = {0};
    TRY(tok_object_import(s, CKK_AES, aes_key, sizeof aes_key, TOK_USES(CKA_WRAP, CKA_UNWRAP), &tmk, e));
    TRY(tok_working_aes(s, tmk.handle, &made, e));
    return check_aes(s, tmk.handle, &made, e);
}

/* What OpenSSL makes of the TMK 00 01 02 .. by the rule of diversify.c. */
static const struct {
    enum tok_suite suite;
    enum tok_usage usage;
    size_t len;
    uint8_t kek[32];
} keks[] = {
    {TOK_AES_128,
     TOK_PIK,
     16,
     {0xD5, 0x7D, 0x9C, 0x8D, 0xE5, 0x1C, 0xC0, 0xF1, 0x8C, 0x25, 0xEF, 0xAE, 0xAD, 0x49, 0x23, 0x2D}},
    {TOK_AES_256, TOK_MAK, 32, {0x4B, 0x5E, 0x7C, 0xDB, 0x6B, 0xA5, 0xA7, 0xD2, 0xAA, 0x10, 0x2F,
                                0x4A, 0x7F, 0x09, 0x43, 0xE8, 0xBC, 0x9D, 0x21, 0x54, 0xEE, 0x88,
                                0xEA, 0x4E, 0x00, 0x6C, 0x82, 0x3F, 0x75, 0xC7, 0x57, 0x89}},
    {TOK_AES_256, TOK_TDK, 32, {0x69, 0x4A, 0x85, 0x8D, 0x35, 0x6D, 0x05, 0x58, 0x4A, 0xC2, 0xB8,
                                0xC9, 0x54, 0x39, 0xDA, 0xC7, 0xAC, 0x0A, 0xFB, 0x9C, 0x17, 0x92,
                                0x3F, 0xF9, 0x7A, 0x22, 0x35, 0xE9, 0x6E, 0xAC, 0xF6, 0xB6}},
};

static enum err_code try_working_usage(struct tok_session *s, struct err *e)
{
    for (size_t i = 0; i < sizeof keks / sizeof keks[0]; i++) {
        AUTO(tok_object) tmk = {0};
        AUTO(tok_object) kek = {0};
        AUTO(tok_object) card = {0};
        AUTO(tok_made) made = {0};
        TRY(tok_object_import(s, CKK_AES, aes_key, keks[i].len, TOK_USES(CKA_DERIVE), &tmk, e));
        TRY(tok_derive_kek(s, tmk.handle, keks[i].suite, (int)keks[i].usage, &kek, e));
        TRY(tok_working_aes(s, kek.handle, &made, e));
        TRY(tok_object_import(s, CKK_AES, keks[i].kek, keks[i].len, TOK_USES(CKA_UNWRAP), &card, e));
        TRY(check_aes(s, card.handle, &made, e));
    }
    return ERR_OK;
}

/* keywrap-rfc3394-3, and a DES2 key there and back. */
static enum err_code try_blob(struct tok_session *s, struct err *e)
{
    static const uint8_t key[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                    0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF};
    static const uint8_t right[24] = {0x64, 0xE8, 0xC3, 0xF9, 0xCE, 0x0F, 0x5B, 0xA2, 0x63, 0xE9, 0x77, 0x79,
                                      0x05, 0x81, 0x8A, 0x2A, 0x93, 0xC8, 0x19, 0x1E, 0x7D, 0x6E, 0x8A, 0xE7};
    struct wrapped wrapped;
    struct tok_template t;
    AUTO(tok_object) storage = {0};
    AUTO(tok_object) aes = {0};
    AUTO(tok_object) des = {0};
    AUTO(tok_object) back = {0};
    TRY(tok_object_import(s, CKK_AES, aes_key, sizeof aes_key, TOK_USES(CKA_WRAP, CKA_UNWRAP), &storage, e));
    TRY(tok_object_import(s, CKK_AES, key, sizeof key, TOK_USES(CKA_EXTRACTABLE), &aes, e));
    TRY(tok_object_import(s, CKK_DES2, des_key, sizeof des_key, TOK_USES(CKA_EXTRACTABLE), &des, e));
    TRY(wrap(s, storage.handle, aes.handle, &wrapped, e));
    TRY(probe_expect(wrapped.bytes, right, sizeof right, e));
    TRY(wrap(s, storage.handle, des.handle, &wrapped, e));
    tok_template_secret(&t, CKK_DES2, TOK_USES(CKA_ENCRYPT));
    TRY(unwrap(s, storage.handle, &wrapped, &t, &back, e));
    return expect_kcv(s, &back, des_kcv, e);
}

/* ---- Blobs under another storage key ---- */

/* As the estate's own are made: hardened where the token takes that. */
static enum err_code make_storage(struct tok_session *s, struct tok_object *out_key, struct err *e)
{
    static const struct tok_key_name name = {.role = TOK_STORAGE, .suite = TOK_AES_256};
    CK_MECHANISM generate = {.mechanism = CKM_AES_KEY_GEN};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    CK_RV rv = CKR_OK;
    for (int plain = 0; plain < 2 && handle == CK_INVALID_HANDLE; plain++) {
        struct tok_template t;
        tok_key_template(&name, plain == 0, &t);
        tok_template_number(&t, CKA_VALUE_LEN, tok_key_bytes(name.role, name.suite));
        rv = s->fn->C_GenerateKey(s->handle, &generate, t.rows, t.count, &handle);
        handle = rv == CKR_OK ? handle : CK_INVALID_HANDLE;
    }
    TRY(tok_rv(rv, "C_GenerateKey", e));
    *out_key = (struct tok_object){.session = s, .handle = handle};
    return ERR_OK;
}

/* A DES2 key under one storage key, opened to be wrapped again, under the next one. */
static enum err_code try_reseal_unwrap(struct tok_session *s, struct err *e)
{
    struct wrapped wrapped;
    struct tok_template t;
    AUTO(tok_object) storage = {0};
    AUTO(tok_object) next = {0};
    AUTO(tok_object) key = {0};
    AUTO(tok_object) moved = {0};
    AUTO(tok_object) back = {0};
    TRY(make_storage(s, &storage, e));
    TRY(make_storage(s, &next, e));
    TRY(tok_object_import(s, CKK_DES2, des_key, sizeof des_key, TOK_USES(CKA_EXTRACTABLE), &key, e));
    TRY(wrap(s, storage.handle, key.handle, &wrapped, e));
    tok_template_secret(&t, CKK_DES2, TOK_USES(CKA_ENCRYPT, CKA_EXTRACTABLE));
    TRY(unwrap(s, storage.handle, &wrapped, &t, &moved, e));
    TRY(wrap(s, next.handle, moved.handle, &wrapped, e));
    tok_template_secret(&t, CKK_DES2, TOK_USES(CKA_ENCRYPT));
    TRY(unwrap(s, next.handle, &wrapped, &t, &back, e));
    return expect_kcv(s, &back, des_kcv, e);
}

/* A TMK is derived anew and sealed. */
static enum err_code try_reseal_derive(struct tok_session *s, struct err *e)
{
    struct wrapped wrapped;
    struct tok_template t;
    AUTO(tok_object) storage = {0};
    AUTO(tok_object) tmk = {0};
    AUTO(tok_object) back = {0};
    TRY(make_storage(s, &storage, e));
    TRY(derive_child(s, TOK_USES(CKA_ENCRYPT, CKA_EXTRACTABLE), &tmk, e));
    TRY(wrap(s, storage.handle, tmk.handle, &wrapped, e));
    tok_template_secret(&t, CKK_DES2, TOK_USES(CKA_ENCRYPT));
    TRY(unwrap(s, storage.handle, &wrapped, &t, &back, e));
    return expect_kcv(s, &back, child_kcv, e);
}

/* ---- The audit log ---- */

static enum err_code make_signing_pair(struct tok_session *s, struct tok_object *out_public,
                                       struct tok_object *out_private, struct err *e)
{
    struct tok_template public_t = {0}, private_t = {0};
    CK_MECHANISM generate = {.mechanism = CKM_EC_KEY_PAIR_GEN};
    CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE, private_key = CK_INVALID_HANDLE;
    tok_template_bool(&public_t, CKA_TOKEN, false);
    tok_template_bool(&public_t, CKA_VERIFY, true);
    tok_template_bytes(&public_t, CKA_EC_PARAMS, tok_curve_p256, sizeof tok_curve_p256);
    tok_template_bool(&private_t, CKA_TOKEN, false);
    tok_template_bool(&private_t, CKA_SENSITIVE, true);
    tok_template_bool(&private_t, CKA_SIGN, true);
    TRY(tok_rv(s->fn->C_GenerateKeyPair(s->handle, &generate, public_t.rows, public_t.count, private_t.rows,
                                        private_t.count, &public_key, &private_key),
               "C_GenerateKeyPair", e));
    *out_public = (struct tok_object){.session = s, .handle = public_key};
    *out_private = (struct tok_object){.session = s, .handle = private_key};
    return ERR_OK;
}

/* Signatures differ each time: the token checks its own, and must not take another digest's. */
static enum err_code try_audit(struct tok_session *s, struct err *e)
{
    uint8_t digest[TOK_DIGEST_BYTES] = {1, 2, 3}, signature[TOK_SIGNATURE_BYTES];
    size_t len = 0;
    CK_MECHANISM ecdsa = {.mechanism = CKM_ECDSA};
    AUTO(tok_object) public_key = {0};
    AUTO(tok_object) private_key = {0};
    TRY(make_signing_pair(s, &public_key, &private_key, e));
    TRY(tok_sign(s, &ecdsa, private_key.handle, digest, sizeof digest, signature, sizeof signature, &len, e));
    TRY(tok_rv(s->fn->C_VerifyInit(s->handle, &ecdsa, public_key.handle), "C_VerifyInit", e));
    TRY(tok_rv(s->fn->C_Verify(s->handle, digest, sizeof digest, signature, len), "C_Verify", e));
    digest[0] ^= 1;
    TRY(tok_rv(s->fn->C_VerifyInit(s->handle, &ecdsa, public_key.handle), "C_VerifyInit", e));
    return s->fn->C_Verify(s->handle, digest, sizeof digest, signature, len) == CKR_SIGNATURE_INVALID
               ? ERR_OK
               : err_set(e, ERR_CHECK, "wrong answer");
}

const struct tok_way_row tok_ways_keys[] = {
    {TOK_FLOW_DIVERSIFY_TDES, "derive", TOK_IN_TOKEN, try_diversify_tdes},
    {TOK_FLOW_DIVERSIFY_AES, "derive", TOK_IN_TOKEN, try_diversify_aes},
    {TOK_FLOW_WORKING_KEY_TDES, TOK_WAY_WRAP, TOK_IN_TOKEN, try_working_wrap},
    {TOK_FLOW_WORKING_KEY_TDES, TOK_WAY_CHAIN, TOK_IN_TOKEN, try_working_chain},
    {TOK_FLOW_WORKING_KEY_AES, "wrap", TOK_IN_TOKEN, try_working_aes},
    {TOK_FLOW_WORKING_KEY_USAGE, "derive", TOK_IN_TOKEN, try_working_usage},
    {TOK_FLOW_BLOB, "aes-key-wrap", TOK_IN_TOKEN, try_blob},
    {TOK_FLOW_RESEAL, "unwrap", TOK_IN_TOKEN, try_reseal_unwrap},
    {TOK_FLOW_RESEAL, "derive", TOK_IN_TOKEN, try_reseal_derive},
    {TOK_FLOW_AUDIT, "ecdsa", TOK_IN_TOKEN, try_audit},
    {0},
};

/* The ways of transport, tried on throw-away keys. */
#include "p11/travel/oaep.h"

#include "p11/flow/working.h"
#include "p11/keys/make.h"
#include "p11/object/template.h"
#include "p11/probe/rows.h"
#include "p11/travel/key_block_token.h"

#include <string.h>

static const uint8_t kek_bytes[32] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A,
                                      0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15,
                                      0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F};
static const uint8_t des_kek[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
                                    0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10};
static const uint8_t sample_key[16] = {0x40, 0x4C, 0x4F, 0x43, 0x45, 0x46, 0x49, 0x4A, 0x57,
                                       0x58, 0x5B, 0x5D, 0x5E, 0x61, 0x62, 0x64}; /* no secret; odd parity */

/* ---- RSA ---- */

struct pair {
    struct tok_object public_key, private_key;
};
static void pair_drop(struct pair *p)
{
    tok_object_drop(&p->public_key);
    tok_object_drop(&p->private_key);
}

/* Of 2048 bits: the probe's is thrown away, and 3072 take their time. */
static enum err_code make_pair(struct tok_session *s, CK_ATTRIBUTE_TYPE use, struct pair *out_pair,
                               struct err *e)
{
    static const CK_BYTE exponent[] = {0x01, 0x00, 0x01};
    struct tok_template public_t = {0}, private_t = {0};
    CK_MECHANISM generate = {.mechanism = CKM_RSA_PKCS_KEY_PAIR_GEN};
    CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE, private_key = CK_INVALID_HANDLE;
    tok_template_bool(&public_t, CKA_TOKEN, false);
    tok_template_number(&public_t, CKA_MODULUS_BITS, 2048);
    tok_template_bytes(&public_t, CKA_PUBLIC_EXPONENT, exponent, sizeof exponent);
    tok_template_bool(&public_t, CKA_ENCRYPT, true);
    tok_template_bool(&private_t, CKA_TOKEN, false);
    tok_template_bool(&private_t, CKA_SENSITIVE, true);
    tok_template_bool(&private_t, use, true);
    TRY(tok_rv(s->fn->C_GenerateKeyPair(s->handle, &generate, public_t.rows, public_t.count, private_t.rows,
                                        private_t.count, &public_key, &private_key),
               "C_GenerateKeyPair", e));
    out_pair->public_key = (struct tok_object){.session = s, .handle = public_key};
    out_pair->private_key = (struct tok_object){.session = s, .handle = private_key};
    return ERR_OK;
}

static enum err_code oaep_sample(struct tok_session *s, const struct pair *pair, uint8_t out_cipher[256],
                                 struct err *e)
{
    CK_MECHANISM mechanism;
    CK_RSA_PKCS_OAEP_PARAMS parameters;
    CK_ULONG len = 256;
    tok_oaep(&mechanism, &parameters);
    TRY(tok_rv(s->fn->C_EncryptInit(s->handle, &mechanism, pair->public_key.handle), "C_EncryptInit", e));
    return tok_rv(
        s->fn->C_Encrypt(s->handle, (CK_BYTE_PTR)(uintptr_t)sample_key, sizeof sample_key, out_cipher, &len),
        "C_Encrypt", e);
}

/* Unwrap `wrapped` to a DES2 key, and see whether it is the sample. */
static enum err_code check_unwrap(struct tok_session *s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                                  const uint8_t *wrapped, size_t len, struct err *e)
{
    AUTO(tok_object) right = {0};
    AUTO(tok_object) got = {0};
    struct tok_template t;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    uint8_t got_kcv[8], right_kcv[8];
    tok_template_secret(&t, CKK_DES2, TOK_USES(CKA_ENCRYPT));
    TRY(tok_rv(s->fn->C_UnwrapKey(s->handle, mechanism, key, (CK_BYTE_PTR)(uintptr_t)wrapped, len, t.rows,
                                  t.count, &handle),
               "C_UnwrapKey", e));
    got = (struct tok_object){.session = s, .handle = handle};
    TRY(tok_object_import(s, CKK_DES2, sample_key, sizeof sample_key, TOK_USES(CKA_ENCRYPT), &right, e));
    TRY(tok_object_kcv(s, got.handle, TOK_TDES, got_kcv, sizeof got_kcv, e));
    TRY(tok_object_kcv(s, right.handle, TOK_TDES, right_kcv, sizeof right_kcv, e));
    return probe_expect(got_kcv, right_kcv, sizeof right_kcv, e);
}

static enum err_code try_import_oaep(struct tok_session *s, struct err *e)
{
    AUTO(pair) pair = {0};
    uint8_t cipher[256];
    CK_MECHANISM mechanism;
    CK_RSA_PKCS_OAEP_PARAMS parameters;
    tok_oaep(&mechanism, &parameters);
    TRY(make_pair(s, CKA_UNWRAP, &pair, e));
    TRY(oaep_sample(s, &pair, cipher, e));
    return check_unwrap(s, &mechanism, pair.private_key.handle, cipher, sizeof cipher, e);
}

static enum err_code try_component(struct tok_session *s, struct err *e)
{
    AUTO(pair) pair = {0};
    uint8_t cipher[256], clear[256];
    CK_ULONG len = sizeof clear;
    CK_MECHANISM mechanism;
    CK_RSA_PKCS_OAEP_PARAMS parameters;
    tok_oaep(&mechanism, &parameters);
    TRY(make_pair(s, CKA_DECRYPT, &pair, e));
    TRY(oaep_sample(s, &pair, cipher, e));
    TRY(tok_rv(s->fn->C_DecryptInit(s->handle, &mechanism, pair.private_key.handle), "C_DecryptInit", e));
    TRY(tok_rv(s->fn->C_Decrypt(s->handle, cipher, sizeof cipher, clear, &len), "C_Decrypt", e));
    return len == sizeof sample_key ? probe_expect(clear, sample_key, len, e)
                                    : err_set(e, ERR_CHECK, "wrong answer");
}

/* ---- Under a zone master key ---- */

/* Wraps the sample under a KEK by one mechanism, and opens it by the same. */
static enum err_code wrap_sample(struct tok_session *s, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE kek,
                                 uint8_t out_wrapped[32], size_t *out_len, struct err *e)
{
    AUTO(tok_object) key = {0};
    CK_MECHANISM mechanism = {.mechanism = type};
    CK_ULONG len = 32;
    TRY(tok_object_import(s, CKK_DES2, sample_key, sizeof sample_key, TOK_USES(CKA_EXTRACTABLE), &key, e));
    TRY(tok_rv(s->fn->C_WrapKey(s->handle, &mechanism, kek, key.handle, out_wrapped, &len), "C_WrapKey", e));
    *out_len = len;
    return ERR_OK;
}

static enum err_code try_import_aes_kw(struct tok_session *s, struct err *e)
{
    AUTO(tok_object) kek = {0};
    CK_MECHANISM mechanism = {.mechanism = CKM_AES_KEY_WRAP};
    uint8_t wrapped[32];
    size_t len = 0;
    TRY(tok_object_import(s, CKK_AES, kek_bytes, 32, TOK_USES(CKA_WRAP, CKA_UNWRAP), &kek, e));
    TRY(wrap_sample(s, CKM_AES_KEY_WRAP, kek.handle, wrapped, &len, e));
    return check_unwrap(s, &mechanism, kek.handle, wrapped, len, e);
}

/* RFC 3394 4.1, with the RFC's key data made the sample's: length and integrity block are what is looked at.
 */
static enum err_code try_export_aes_kw(struct tok_session *s, struct err *e)
{
    AUTO(tok_object) kek = {0};
    uint8_t wrapped[32];
    size_t len = 0;
    TRY(tok_object_import(s, CKK_AES, kek_bytes, 16, TOK_USES(CKA_WRAP, CKA_UNWRAP), &kek, e));
    TRY(wrap_sample(s, CKM_AES_KEY_WRAP, kek.handle, wrapped, &len, e));
    CK_MECHANISM mechanism = {.mechanism = CKM_AES_KEY_WRAP};
    return len == sizeof sample_key + 8 ? check_unwrap(s, &mechanism, kek.handle, wrapped, len, e)
                                        : err_set(e, ERR_CHECK, "wrong answer");
}

static enum err_code encipher_sample(struct tok_session *s, uint8_t out_cipher[16],
                                     struct tok_object *out_kek, struct err *e)
{
    CK_MECHANISM ecb = {.mechanism = CKM_DES3_ECB};
    TRY(tok_object_import(s, CKK_DES2, des_kek, sizeof des_kek,
                          TOK_USES(CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP), out_kek, e));
    return tok_encrypt(s, &ecb, out_kek->handle, sample_key, sizeof sample_key, out_cipher, e);
}

static enum err_code try_tdes_unwrap(struct tok_session *s, struct err *e)
{
    AUTO(tok_object) kek = {0};
    CK_MECHANISM ecb = {.mechanism = CKM_DES3_ECB};
    uint8_t cipher[16];
    TRY(encipher_sample(s, cipher, &kek, e));
    return check_unwrap(s, &ecb, kek.handle, cipher, sizeof cipher, e);
}

static enum err_code try_tdes_decrypt(struct tok_session *s, struct err *e)
{
    AUTO(tok_object) kek = {0};
    CK_MECHANISM ecb = {.mechanism = CKM_DES3_ECB};
    uint8_t cipher[16], clear[16];
    TRY(encipher_sample(s, cipher, &kek, e));
    TRY(tok_decrypt(s, &ecb, kek.handle, cipher, sizeof cipher, clear, e));
    return probe_expect(clear, sample_key, sizeof clear, e);
}

/* The sample under des_kek, by OpenSSL. */
static enum err_code try_tdes_encrypt(struct tok_session *s, struct err *e)
{
    static const uint8_t right[16] = {0x11, 0x0E, 0xCD, 0x41, 0x04, 0x6A, 0x88, 0x3E,
                                      0x7D, 0x44, 0x30, 0xBD, 0xBD, 0x27, 0xAA, 0xCB};
    AUTO(tok_object) kek = {0};
    uint8_t cipher[16];
    TRY(encipher_sample(s, cipher, &kek, e));
    return probe_expect(cipher, right, sizeof right, e);
}

static enum err_code try_tdes_wrap(struct tok_session *s, struct err *e)
{
    AUTO(tok_object) kek = {0};
    uint8_t cipher[16], wrapped[32];
    size_t len = 0;
    TRY(encipher_sample(s, cipher, &kek, e));
    TRY(wrap_sample(s, CKM_DES3_ECB, kek.handle, wrapped, &len, e));
    return len == sizeof cipher ? probe_expect(wrapped, cipher, len, e)
                                : err_set(e, ERR_CHECK, "wrong answer");
}

/* ---- Key blocks: published ones ---- */

static enum err_code open_sample(struct tok_session *s, CK_OBJECT_HANDLE kbpk, size_t kbpk_bytes,
                                 const char *text, const uint8_t right[16], struct err *e)
{
    const struct key_block_kbpk with = {kbpk, kbpk_bytes};
    struct key_block block;
    AUTO(secret) key = {0};
    TRY(key_block_parse(text, &block, e));
    TRY(key_block_open(s, &with, &block, &key, e));
    return key.len == 16 ? probe_expect(key.bytes, right, 16, e) : err_set(e, ERR_CHECK, "wrong answer");
}

static const uint8_t published_key[16] = {0x3F, 0x41, 0x9E, 0x1C, 0xB7, 0x07, 0x94, 0x42,
                                          0xAA, 0x37, 0x47, 0x4C, 0x2E, 0xFB, 0xF8, 0xB8};

/* ASC X9 TR 31-2018, A.7.2. */
static enum err_code try_block_b(struct tok_session *s, struct err *e)
{
    static const uint8_t kbpk[16] = {0xDD, 0x75, 0x15, 0xF2, 0xBF, 0xC1, 0x7F, 0x85,
                                     0xCE, 0x48, 0xF3, 0xCA, 0x25, 0xCB, 0x21, 0xF6};
    AUTO(tok_object) key = {0};
    TRY(tok_object_import(s, CKK_DES2, kbpk, sizeof kbpk, TOK_USES(CKA_ENCRYPT), &key, e));
    return open_sample(s, key.handle, sizeof kbpk,
                       "B0080P0TE00E000094B420079CC80BA3461F86FE26EFC4A3B8E4FA4C5F5341176EED7B727B8A248E",
                       published_key, e);
}

/* The same, A.7.4. */
static enum err_code try_block_d(struct tok_session *s, struct err *e)
{
    static const uint8_t kbpk[32] = {0x88, 0xE1, 0xAB, 0x2A, 0x2E, 0x3D, 0xD3, 0x8C, 0x1F, 0xA0, 0x39,
                                     0xA5, 0x36, 0x50, 0x0C, 0xC8, 0xA8, 0x7A, 0xB9, 0xD6, 0x2D, 0xC9,
                                     0x2C, 0x01, 0x05, 0x8F, 0xA7, 0x9F, 0x44, 0x65, 0x7D, 0xE6};
    AUTO(tok_object) key = {0};
    TRY(tok_object_import(s, CKK_AES, kbpk, sizeof kbpk, TOK_USES(CKA_SIGN), &key, e));
    return open_sample(s, key.handle, sizeof kbpk,
                       "D0112P0AE00E0000B82679114F470F540165EDFBF7E250FCEA43F810D215F8D207E2E417C07156A27E8E3"
                       "1DA05F7425509593"
                       "D03A457DC34",
                       published_key, e);
}

const struct tok_way_row tok_ways_transport[] = {
    {TOK_FLOW_IMPORT_OAEP, TOK_WAY_UNWRAP, TOK_IN_TOKEN, try_import_oaep},
    {TOK_FLOW_IMPORT_AES_KW, TOK_WAY_UNWRAP, TOK_IN_TOKEN, try_import_aes_kw},
    {TOK_FLOW_IMPORT_TDES, TOK_WAY_UNWRAP, TOK_IN_TOKEN, try_tdes_unwrap},
    {TOK_FLOW_IMPORT_TDES, "decrypt", TOK_PROCESS_MEMORY, try_tdes_decrypt},
    {TOK_FLOW_EXPORT_AES_KW, TOK_WAY_WRAP, TOK_IN_TOKEN, try_export_aes_kw},
    {TOK_FLOW_EXPORT_TDES, TOK_WAY_WRAP, TOK_IN_TOKEN, try_tdes_wrap},
    {TOK_FLOW_EXPORT_TDES, "encrypt", TOK_PROCESS_MEMORY, try_tdes_encrypt},
    {TOK_FLOW_KEY_BLOCK_B, TOK_WAY_DERIVE, TOK_PROCESS_MEMORY, try_block_b},
    {TOK_FLOW_KEY_BLOCK_D, TOK_WAY_DERIVE, TOK_PROCESS_MEMORY, try_block_d},
    {TOK_FLOW_COMPONENT, "decrypt", TOK_PROCESS_MEMORY, try_component},
    {0},
};

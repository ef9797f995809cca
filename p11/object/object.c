#include "p11/object/object.h"

#include "base/secret.h"
#include "p11/object/template.h"

#include <string.h>

#define BLOCK_MOST_BYTES 16

void tok_object_drop(struct tok_object *object)
{
    if (object->session != NULL)
        object->session->fn->C_DestroyObject(object->session->handle, object->handle);
    *object = (struct tok_object){0};
}

enum err_code tok_encrypt(struct tok_session *s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                          const uint8_t *data, size_t len, uint8_t *out, struct err *e)
{
    CK_ULONG got = len;
    TRY(tok_rv(s->fn->C_EncryptInit(s->handle, mechanism, key), "C_EncryptInit", e));
    TRY(tok_rv(s->fn->C_Encrypt(s->handle, (CK_BYTE_PTR)(uintptr_t)data, len, out, &got), "C_Encrypt", e));
    if (got != len)
        return err_set(e, ERR_UNSUPPORTED, "the token enciphered %zu bytes to %lu", len, got);
    return ERR_OK;
}

enum err_code tok_decrypt(struct tok_session *s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                          const uint8_t *data, size_t len, uint8_t *out, struct err *e)
{
    CK_ULONG got = len;
    TRY(tok_rv(s->fn->C_DecryptInit(s->handle, mechanism, key), "C_DecryptInit", e));
    TRY(tok_rv(s->fn->C_Decrypt(s->handle, (CK_BYTE_PTR)(uintptr_t)data, len, out, &got), "C_Decrypt", e));
    if (got != len)
        return err_set(e, ERR_UNSUPPORTED, "the token deciphered %zu bytes to %lu", len, got);
    return ERR_OK;
}

enum err_code tok_sign(struct tok_session *s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                       const uint8_t *data, size_t len, uint8_t *out, size_t out_capacity, size_t *out_len,
                       struct err *e)
{
    CK_ULONG got = out_capacity;
    TRY(tok_rv(s->fn->C_SignInit(s->handle, mechanism, key), "C_SignInit", e));
    TRY(tok_rv(s->fn->C_Sign(s->handle, (CK_BYTE_PTR)(uintptr_t)data, len, out, &got), "C_Sign", e));
    *out_len = got;
    return ERR_OK;
}

static const uint8_t zeros[BLOCK_MOST_BYTES];

/* AES-CMAC of one zero block by two encryptions: for a key that may encipher but not sign. RFC 4493, 2.4. */
static enum err_code cmac_by_ecb(struct tok_session *s, CK_OBJECT_HANDLE key, uint8_t out_mac[16],
                                 struct err *e)
{
    CK_MECHANISM ecb = {.mechanism = CKM_AES_ECB};
    uint8_t l[16], subkey[16];
    TRY(tok_encrypt(s, &ecb, key, zeros, sizeof l, l, e));
    for (size_t i = 0; i < sizeof l; i++)
        subkey[i] = (uint8_t)(l[i] << 1 | (i + 1 < sizeof l ? l[i + 1] >> 7 : 0));
    subkey[15] = (uint8_t)(subkey[15] ^ ((l[0] & 0x80) != 0 ? 0x87 : 0));
    const enum err_code code = tok_encrypt(s, &ecb, key, subkey, sizeof subkey, out_mac, e);
    secret_wipe(subkey, sizeof subkey);
    secret_wipe(l, sizeof l);
    return code;
}

static enum err_code aes_kcv(struct tok_session *s, CK_OBJECT_HANDLE key, uint8_t out_mac[16], struct err *e)
{
    CK_MECHANISM cmac = {.mechanism = CKM_AES_CMAC};
    size_t len = 0;
    const enum err_code code =
        tok_sign(s, &cmac, key, zeros, sizeof zeros, out_mac, BLOCK_MOST_BYTES, &len, e);
    struct err second = {0};
    if (code == ERR_OK || code == ERR_UNAVAILABLE || cmac_by_ecb(s, key, out_mac, &second) != ERR_OK)
        return code; /* a token without CMAC is told as that, not as a key that may not encipher */
    return ERR_OK;
}

enum err_code tok_object_kcv(struct tok_session *s, CK_OBJECT_HANDLE key, enum tok_suite suite,
                             uint8_t *out_kcv, size_t len, struct err *e)
{
    uint8_t block[BLOCK_MOST_BYTES];
    CK_MECHANISM ecb = {.mechanism = CKM_DES3_ECB};
    if (len > (suite == TOK_TDES ? 8U : sizeof block))
        return err_set(e, ERR_INTERNAL, "a check value has no %zu bytes", len);
    if (suite == TOK_TDES)
        TRY(tok_encrypt(s, &ecb, key, zeros, 8, block, e));
    else
        TRY(aes_kcv(s, key, block, e));
    memcpy(out_kcv, block, len);
    return ERR_OK;
}

enum err_code tok_object_import(struct tok_session *s, CK_KEY_TYPE type, const uint8_t *value, size_t len,
                                const CK_ATTRIBUTE_TYPE *uses, struct tok_object *out_object, struct err *e)
{
    struct tok_template t;
    tok_template_secret(&t, type, uses);
    tok_template_bytes(&t, CKA_VALUE, value, len);
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    TRY(tok_rv(s->fn->C_CreateObject(s->handle, t.rows, t.count, &handle), "C_CreateObject", e));
    *out_object = (struct tok_object){.session = s, .handle = handle};
    return ERR_OK;
}

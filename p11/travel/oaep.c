#include "p11/travel/oaep.h"

#include <string.h>

void tok_oaep(CK_MECHANISM *out_mechanism, CK_RSA_PKCS_OAEP_PARAMS *out_parameters)
{
    *out_parameters =
        (CK_RSA_PKCS_OAEP_PARAMS){.hashAlg = CKM_SHA_1, .mgf = CKG_MGF1_SHA1, .source = CKZ_DATA_SPECIFIED};
    *out_mechanism = (CK_MECHANISM){CKM_RSA_PKCS_OAEP, out_parameters, sizeof *out_parameters};
}

enum err_code tok_oaep_decrypt(struct tok_session *s, CK_OBJECT_HANDLE key,
                               const uint8_t cipher[TOK_RSA_BYTES], struct secret *out_value, struct err *e)
{
    CK_MECHANISM mechanism;
    CK_RSA_PKCS_OAEP_PARAMS parameters;
    uint8_t clear[TOK_RSA_BYTES];
    CK_ULONG len = sizeof clear;
    tok_oaep(&mechanism, &parameters);
    TRY(tok_rv(s->fn->C_DecryptInit(s->handle, &mechanism, key), "C_DecryptInit", e));
    const enum err_code code =
        tok_rv(s->fn->C_Decrypt(s->handle, (CK_BYTE_PTR)(uintptr_t)cipher, TOK_RSA_BYTES, clear, &len),
               "C_Decrypt", e);
    const bool fits = code == ERR_OK && len <= SECRET_CAPACITY;
    if (fits) {
        memcpy(out_value->bytes, clear, len);
        out_value->len = len;
    }
    secret_wipe(clear, sizeof clear);
    TRY(code);
    return fits ? ERR_OK : err_set(e, ERR_INPUT, "length: what was enciphered is longer than any key");
}

enum err_code tok_oaep_encrypt(struct tok_session *s, CK_OBJECT_HANDLE key, const struct secret *value,
                               uint8_t out_cipher[TOK_RSA_BYTES], struct err *e)
{
    CK_MECHANISM mechanism;
    CK_RSA_PKCS_OAEP_PARAMS parameters;
    CK_ULONG len = TOK_RSA_BYTES;
    tok_oaep(&mechanism, &parameters);
    TRY(tok_rv(s->fn->C_EncryptInit(s->handle, &mechanism, key), "C_EncryptInit", e));
    TRY(tok_rv(s->fn->C_Encrypt(s->handle, value->bytes, value->len, out_cipher, &len), "C_Encrypt", e));
    return len == TOK_RSA_BYTES ? ERR_OK : err_set(e, ERR_INTERNAL, "the token's RSA gave %lu bytes", len);
}

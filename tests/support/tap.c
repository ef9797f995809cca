#include "tests/support/tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAP_BYTES (1 << 20)

static uint8_t tape[TAP_BYTES];
static size_t tape_len;
static CK_FUNCTION_LIST *real, tapped;

static void record(const void *bytes, CK_ULONG len)
{
    if (len > TAP_BYTES - tape_len) {
        fprintf(stderr, "tap: the tape is full\n");
        exit(EXIT_FAILURE);
    }
    if (len > 0)
        memcpy(tape + tape_len, bytes, len);
    tape_len += len;
}

static CK_RV record_out(CK_RV rv, const void *bytes, const CK_ULONG *len)
{
    if (rv == CKR_OK && bytes != NULL)
        record(bytes, *len);
    return rv;
}

static CK_RV tap_encrypt(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    record(data, len);
    return record_out(real->C_Encrypt(s, data, len, out, out_len), out, out_len);
}

static CK_RV tap_decrypt(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    record(data, len);
    return record_out(real->C_Decrypt(s, data, len, out, out_len), out, out_len);
}

static CK_RV tap_sign(CK_SESSION_HANDLE s, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    record(data, len);
    return record_out(real->C_Sign(s, data, len, out, out_len), out, out_len);
}

static CK_RV tap_wrap(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                      CK_OBJECT_HANDLE wrapped, CK_BYTE *out, CK_ULONG *out_len)
{
    return record_out(real->C_WrapKey(s, mechanism, key, wrapped, out, out_len), out, out_len);
}

static CK_RV tap_unwrap(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, CK_BYTE *wrapped,
                        CK_ULONG len, CK_ATTRIBUTE *rows, CK_ULONG count, CK_OBJECT_HANDLE *out_object)
{
    record(wrapped, len);
    return real->C_UnwrapKey(s, mechanism, key, wrapped, len, rows, count, out_object);
}

static CK_RV tap_derive(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                        CK_ATTRIBUTE *rows, CK_ULONG count, CK_OBJECT_HANDLE *out_object)
{
    const bool string = mechanism->mechanism == CKM_DES3_ECB_ENCRYPT_DATA ||
                        mechanism->mechanism == CKM_AES_ECB_ENCRYPT_DATA ||
                        mechanism->mechanism == CKM_CONCATENATE_DATA_AND_BASE ||
                        mechanism->mechanism == CKM_CONCATENATE_BASE_AND_DATA;
    const CK_KEY_DERIVATION_STRING_DATA *data = mechanism->pParameter;
    if (string)
        record(data->pData, data->ulLen);
    return real->C_DeriveKey(s, mechanism, key, rows, count, out_object);
}

static CK_RV tap_random(CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG len)
{
    return record_out(real->C_GenerateRandom(s, out, len), out, &len);
}

static CK_RV tap_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *rows, CK_ULONG count)
{
    const CK_RV rv = real->C_GetAttributeValue(s, object, rows, count);
    for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++)
        record(rows[i].pValue, rows[i].ulValueLen);
    return rv;
}

void tap_on(struct tok_session *s)
{
    real = s->fn;
    tapped = *real;
    tapped.C_Encrypt = tap_encrypt;
    tapped.C_Decrypt = tap_decrypt;
    tapped.C_Sign = tap_sign;
    tapped.C_WrapKey = tap_wrap;
    tapped.C_UnwrapKey = tap_unwrap;
    tapped.C_DeriveKey = tap_derive;
    tapped.C_GenerateRandom = tap_random;
    tapped.C_GetAttributeValue = tap_attributes;
    tape_len = 0;
    s->fn = &tapped;
}

void tap_off(struct tok_session *s)
{
    s->fn = real;
}

bool tap_saw(const void *bytes, size_t len)
{
    return memmem(tape, tape_len, bytes, len) != NULL;
}

static bool same_des_key(const uint8_t *a, const uint8_t *b)
{
    unsigned difference = 0;
    for (size_t i = 0; i < 8; i++)
        difference |= (unsigned)(a[i] ^ b[i]) & 0xFE;
    return difference == 0;
}

bool tap_saw_des(const uint8_t key[16])
{
    for (size_t at = 0; at + 8 <= tape_len; at++) {
        if (same_des_key(tape + at, key) || same_des_key(tape + at, key + 8))
            return true;
    }
    return false;
}

size_t tap_recorded(void)
{
    return tape_len;
}

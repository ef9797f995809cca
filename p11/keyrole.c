#include "p11/keyrole.h"

#include "base/hex.h"
#include "base/secret.h"

#include <stdio.h>
#include <string.h>

#define END CK_UNAVAILABLE_INFORMATION

static const CK_ATTRIBUTE_TYPE derives[] = {CKA_DERIVE, END};
static const CK_ATTRIBUTE_TYPE wraps[] = {CKA_WRAP, CKA_UNWRAP, END};
static const CK_ATTRIBUTE_TYPE signs[] = {CKA_SIGN, CKA_VERIFY, END};
static const CK_ATTRIBUTE_TYPE enciphers[] = {CKA_ENCRYPT, END};
static const CK_ATTRIBUTE_TYPE ciphers[] = {CKA_ENCRYPT, CKA_DECRYPT, END};
/* A PIN goes through a zone key as an object (unwrap, wrap) or as a block (decrypt, encrypt); format 4 needs
 * both. */
static const CK_ATTRIBUTE_TYPE carries_pins[] = {CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, END};

static const CK_MECHANISM_TYPE derive_tdes[] = {CKM_DES3_ECB_ENCRYPT_DATA, CKM_DES3_ECB};
static const CK_MECHANISM_TYPE derive_aes[] = {CKM_AES_ECB_ENCRYPT_DATA, CKM_AES_CMAC};
static const CK_MECHANISM_TYPE wrap_aes[] = {CKM_AES_KEY_WRAP, CKM_AES_CMAC};
static const CK_MECHANISM_TYPE sign_aes[] = {CKM_AES_CMAC};
static const CK_MECHANISM_TYPE cipher_tdes[] = {CKM_DES3_ECB, CKM_DES3_CBC};
static const CK_MECHANISM_TYPE cipher_aes[] = {CKM_AES_ECB, CKM_AES_CBC, CKM_AES_CMAC};

#define LIST(list) (list), sizeof(list) / sizeof(list)[0]

struct role_row {
    const CK_ATTRIBUTE_TYPE *uses;
    const CK_MECHANISM_TYPE *mechanisms;
    size_t mechanism_count;
};

static const struct role_row tdes_rows[TOK_ROLE_COUNT] = {
    [TOK_PSAM_MASTER] = {derives, LIST(derive_tdes)},   [TOK_CARD_CONTROL] = {derives, LIST(derive_tdes)},
    [TOK_ZONE_PIN] = {carries_pins, LIST(cipher_tdes)}, [TOK_ZONE_MAC] = {enciphers, LIST(cipher_tdes)},
    [TOK_ZONE_DATA] = {ciphers, LIST(cipher_tdes)},
};
static const struct role_row aes_rows[TOK_ROLE_COUNT] = {
    [TOK_PSAM_MASTER] = {derives, LIST(derive_aes)},   [TOK_CARD_CONTROL] = {derives, LIST(derive_aes)},
    [TOK_STORAGE] = {wraps, LIST(wrap_aes)},           [TOK_BLOB_TAG] = {signs, LIST(sign_aes)},
    [TOK_ZONE_PIN] = {carries_pins, LIST(cipher_aes)}, [TOK_ZONE_MAC] = {signs, LIST(sign_aes)},
    [TOK_ZONE_DATA] = {ciphers, LIST(cipher_aes)},
};

static const struct role_row *row_of(enum tok_role role, enum tok_suite suite)
{
    return suite == TOK_TDES ? &tdes_rows[role] : &aes_rows[role];
}

const CK_ATTRIBUTE_TYPE *tok_role_uses(enum tok_role role, enum tok_suite suite)
{
    return row_of(role, suite)->uses;
}

const CK_MECHANISM_TYPE *tok_role_mechanisms(enum tok_role role, enum tok_suite suite, size_t *out_count)
{
    *out_count = row_of(role, suite)->mechanism_count;
    return row_of(role, suite)->mechanisms;
}

static enum err_code check_by_child(struct tok_session *s, CK_OBJECT_HANDLE key, enum tok_suite suite,
                                    uint8_t out_check[TOK_KCV_BYTES], struct err *e)
{
    /* F and E are no decimal digits, and no domain byte is FF. */
    static const uint8_t fixed[16] = {0xFF, 0xEE, 0xFF, 0xEE, 0xFF, 0xEE, 0xFF, 0xEE,
                                      0xEE, 0xFF, 0xEE, 0xFF, 0xEE, 0xFF, 0xEE, 0xFF};
    const bool tdes = suite == TOK_TDES;
    const struct tok_derive_request request = {.base_suite = suite,
                                               .base = key,
                                               .data = fixed,
                                               .len = sizeof fixed,
                                               .type = tdes ? CKK_DES2 : CKK_AES,
                                               .uses = tdes ? enciphers : signs};
    AUTO(tok_object) child = {0};
    TRY(tok_derive_data(s, &request, &child, e));
    return tok_object_kcv(s, child.handle, tdes ? TOK_TDES : TOK_AES_128, out_check, TOK_KCV_BYTES, e);
}

static enum err_code check_by_wrap(struct tok_session *s, CK_OBJECT_HANDLE key,
                                   uint8_t out_check[TOK_KCV_BYTES], struct err *e)
{
    static const uint8_t constant[16] = "posward constant"; /* no secret: a value to wrap */
    AUTO(tok_object) known = {0};
    CK_MECHANISM wrap = {.mechanism = CKM_AES_KEY_WRAP};
    uint8_t wrapped[sizeof constant + 8];
    CK_ULONG len = sizeof wrapped;
    TRY(tok_object_import(s, CKK_AES, constant, sizeof constant, TOK_USES(CKA_EXTRACTABLE), &known, e));
    TRY(tok_rv(s->fn->C_WrapKey(s->handle, &wrap, key, known.handle, wrapped, &len), "C_WrapKey", e));
    memcpy(out_check, wrapped, TOK_KCV_BYTES);
    return ERR_OK;
}

enum err_code tok_role_check(struct tok_session *s, CK_OBJECT_HANDLE key, enum tok_role role,
                             enum tok_suite suite, uint8_t out_check[TOK_KCV_BYTES], struct err *e)
{
    const CK_ATTRIBUTE_TYPE *uses = tok_role_uses(role, suite);
    if (uses == derives)
        return check_by_child(s, key, suite, out_check, e);
    if (uses == wraps)
        return check_by_wrap(s, key, out_check, e);
    return tok_object_kcv(s, key, suite, out_check, TOK_KCV_BYTES, e);
}

void tok_record_text(const struct tok_key_record *record, const char *label, char out_text[TOK_RECORD_BYTES])
{
    char kcv[2 * TOK_KCV_BYTES + 1], check[2 * TOK_KCV_BYTES + 1];
    hex_encode(record->kcv, TOK_KCV_BYTES, kcv);
    hex_encode(record->check, TOK_KCV_BYTES, check);
    snprintf(out_text, TOK_RECORD_BYTES, "%s/%s/%s", kcv, check, label);
}

enum err_code tok_record_parse(const uint8_t *id, size_t len, const char *label,
                               struct tok_key_record *out_record, struct err *e)
{
    struct tok_key_record record;
    char text[TOK_RECORD_BYTES], again[TOK_RECORD_BYTES];
    if (len < 14 || len >= sizeof text)
        return err_set(e, ERR_CHECK, "%s has no check value in CKA_ID; make or import it with posward",
                       label);
    memcpy(text, id, len);
    text[len] = '\0';
    if (hex_decode(text, 6, record.kcv, e) == ERR_OK && hex_decode(text + 7, 6, record.check, e) == ERR_OK) {
        tok_record_text(&record, label, again);
        if (strcmp(text, again) == 0) {
            *out_record = record;
            return ERR_OK;
        }
    }
    return err_set(e, ERR_CHECK, "%s has no sound check value in CKA_ID; make or import it with posward",
                   label);
}

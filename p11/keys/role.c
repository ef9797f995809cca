#include "p11/keys/role.h"

#include "base/hex.h"
#include "base/secret.h"
#include "p11/keys/keys.h"
#include "p11/object/object.h"

#include <stdio.h>
#include <string.h>

#define END CK_UNAVAILABLE_INFORMATION

static const CK_ATTRIBUTE_TYPE derives[] = {CKA_DERIVE, END};
static const CK_ATTRIBUTE_TYPE wraps[] = {CKA_WRAP, CKA_UNWRAP, END};
static const CK_ATTRIBUTE_TYPE signs[] = {CKA_SIGN, CKA_VERIFY, END};
static const CK_ATTRIBUTE_TYPE makes_signatures[] = {CKA_SIGN, END};
static const CK_ATTRIBUTE_TYPE enciphers[] = {CKA_ENCRYPT, END};
static const CK_ATTRIBUTE_TYPE ciphers[] = {CKA_ENCRYPT, CKA_DECRYPT, END};
/* Keys come in under it (unwrap, or decrypt where the token cannot), go out (wrap), and key-block keys are
 * derived by a CMAC: under TDES by encipherments. */
static const CK_ATTRIBUTE_TYPE carries_keys_tdes[] = {CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, END};
static const CK_ATTRIBUTE_TYPE carries_keys_aes[] = {CKA_SIGN, CKA_WRAP, CKA_UNWRAP, END};
static const CK_ATTRIBUTE_TYPE unwraps[] = {CKA_UNWRAP, END};
static const CK_ATTRIBUTE_TYPE deciphers[] = {CKA_DECRYPT, END};
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
    [TOK_PSAM_MASTER] = {derives, LIST(derive_tdes)},
    [TOK_CARD_CONTROL] = {derives, LIST(derive_tdes)},
    [TOK_ZONE_PIN] = {carries_pins, LIST(cipher_tdes)},
    [TOK_ZONE_MAC] = {enciphers, LIST(cipher_tdes)},
    [TOK_ZONE_DATA] = {ciphers, LIST(cipher_tdes)},
    [TOK_ZONE_MASTER] = {carries_keys_tdes, LIST(cipher_tdes)},
};
static const struct role_row aes_rows[TOK_ROLE_COUNT] = {
    [TOK_PSAM_MASTER] = {derives, LIST(derive_aes)},
    [TOK_CARD_CONTROL] = {derives, LIST(derive_aes)},
    [TOK_STORAGE] = {wraps, LIST(wrap_aes)},
    [TOK_BLOB_TAG] = {signs, LIST(sign_aes)},
    [TOK_ZONE_PIN] = {carries_pins, LIST(cipher_aes)},
    [TOK_ZONE_MAC] = {signs, LIST(sign_aes)},
    [TOK_ZONE_DATA] = {ciphers, LIST(cipher_aes)},
    [TOK_ZONE_MASTER] = {carries_keys_aes, LIST(wrap_aes)},
    [TOK_TRANSPORT] = {unwraps, NULL, 0},
    [TOK_COMPONENT] = {deciphers, NULL, 0},
    [TOK_AUDIT] = {makes_signatures, NULL, 0},
};

static const struct role_row *row_of(enum tok_role role, enum tok_suite suite)
{
    return suite == TOK_TDES ? &tdes_rows[role] : &aes_rows[role];
}

const char *tok_role_usage(enum tok_role role, enum tok_suite suite)
{
    static const struct {
        const CK_ATTRIBUTE_TYPE *uses;
        const char *text;
    } texts[] = {{derives, "derive"},
                 {wraps, "wrap, unwrap"},
                 {signs, "sign, verify"},
                 {enciphers, "encrypt"},
                 {ciphers, "encrypt, decrypt"},
                 {carries_pins, "translate PIN"},
                 {carries_keys_tdes, "wrap, unwrap keys"},
                 {carries_keys_aes, "wrap, unwrap keys"},
                 {unwraps, "unwrap keys"},
                 {deciphers, "decrypt components"},
                 {makes_signatures, "sign"}};
    const CK_ATTRIBUTE_TYPE *const uses = tok_role_uses(role, suite);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i].uses == uses)
            return texts[i].text;
    return "";
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

/* ---- Attributes ---- */

struct guard_row {
    CK_ATTRIBUTE_TYPE type;
    const char *name;
    bool must_be;
    bool of_private; /* a private key has it too */
};
static const struct guard_row storage_rows[] = {
    {CKA_PRIVATE, "CKA_PRIVATE", true, true},
    {CKA_SENSITIVE, "CKA_SENSITIVE", true, true},
    {CKA_EXTRACTABLE, "CKA_EXTRACTABLE", false, true},
};
static const struct guard_row usage_rows[] = {
    {CKA_ENCRYPT, "CKA_ENCRYPT", false, false}, {CKA_DECRYPT, "CKA_DECRYPT", false, true},
    {CKA_SIGN, "CKA_SIGN", false, true},        {CKA_VERIFY, "CKA_VERIFY", false, false},
    {CKA_WRAP, "CKA_WRAP", false, false},       {CKA_UNWRAP, "CKA_UNWRAP", false, true},
    {CKA_DERIVE, "CKA_DERIVE", false, true},
};

static bool is_in(const CK_ATTRIBUTE_TYPE *uses, CK_ATTRIBUTE_TYPE type)
{
    while (*uses != END && *uses != type)
        uses++;
    return *uses == type;
}

static enum err_code guard(struct tok_session *s, CK_OBJECT_HANDLE key, const struct guard_row *row,
                           const char *label, struct err *e)
{
    CK_BBOOL value = row->must_be ? CK_FALSE : CK_TRUE;
    CK_ATTRIBUTE attribute = {row->type, &value, sizeof value};
    const CK_RV rv = s->fn->C_GetAttributeValue(s->handle, key, &attribute, 1);
    if (rv == CKR_OK && attribute.ulValueLen == sizeof value && (value != CK_FALSE) == row->must_be)
        return ERR_OK;
    return err_native(e, ERR_CHECK, (long)rv,
                      "%s was planted or changed: its %s is not %s; remove it, and make or load the key anew",
                      label, row->name, row->must_be ? "true" : "false");
}

enum err_code tok_role_guard(struct tok_session *s, CK_OBJECT_HANDLE key, const CK_ATTRIBUTE_TYPE *uses,
                             const char *label, struct err *e)
{
    for (size_t i = 0; i < sizeof storage_rows / sizeof storage_rows[0]; i++)
        TRY(guard(s, key, &storage_rows[i], label, e));
    for (size_t i = 0; i < sizeof usage_rows / sizeof usage_rows[0]; i++) {
        if (!is_in(uses, usage_rows[i].type))
            TRY(guard(s, key, &usage_rows[i], label, e));
    }
    return ERR_OK;
}

enum err_code tok_pair_guard(struct tok_session *s, CK_OBJECT_HANDLE key, const struct tok_key_name *name,
                             const char *label, struct err *e)
{
    const CK_ATTRIBUTE_TYPE *const uses = tok_role_uses(name->role, name->suite);
    for (size_t i = 0; i < sizeof storage_rows / sizeof storage_rows[0]; i++)
        TRY(guard(s, key, &storage_rows[i], label, e));
    if (name->role == TOK_AUDIT) /* these were made without naming each usage */
        return ERR_OK;
    for (size_t i = 0; i < sizeof usage_rows / sizeof usage_rows[0]; i++)
        if (usage_rows[i].of_private && !is_in(uses, usage_rows[i].type))
            TRY(guard(s, key, &usage_rows[i], label, e));
    return ERR_OK;
}

/* ---- Record ---- */

#define STATE_FIELD      "+STATE/"
#define FIELD_CHARACTERS (2 * TOK_KCV_BYTES + 1) /* of a check value or STATE_FIELD, with the slash */
#define FIELDS_LEAST     2
#define FIELDS_MOST      4

void tok_record_text(const struct tok_key_record *record, const char *label, char out_text[TOK_RECORD_BYTES])
{
    char kcv[2 * TOK_KCV_BYTES + 1], check[2 * TOK_KCV_BYTES + 1], left[2 * TOK_KCV_BYTES + 1] = "";
    hex_encode(record->kcv, TOK_KCV_BYTES, kcv);
    hex_encode(record->check, TOK_KCV_BYTES, check);
    if (record->has_left)
        hex_encode(record->left, TOK_KCV_BYTES, left);
    snprintf(out_text, TOK_RECORD_BYTES, "%s/%s/%s%s%s%s", kcv, check, left, record->has_left ? "/" : "",
             record->has_state ? STATE_FIELD : "", label);
}

static bool read_field(const char *text, unsigned field, uint8_t out_check[TOK_KCV_BYTES])
{
    struct err ignored = {0};
    return hex_decode(text + (size_t)field * FIELD_CHARACTERS, 2 * TOK_KCV_BYTES, out_check, &ignored) ==
           ERR_OK;
}

static bool read_record(const char *text, unsigned fields, struct tok_key_record *out_record)
{
    struct tok_key_record record = {0};
    const char *const last = text + (size_t)(fields - 1) * FIELD_CHARACTERS;
    record.has_state = strncmp(last, STATE_FIELD, FIELD_CHARACTERS) == 0;
    record.has_left = fields - (record.has_state ? 1 : 0) > FIELDS_LEAST;
    if (!read_field(text, 0, record.kcv) || !read_field(text, 1, record.check) ||
        (record.has_left && !read_field(text, 2, record.left)))
        return false;
    *out_record = record;
    return true;
}

enum err_code tok_record_parse(const uint8_t *id, size_t len, const char *label,
                               struct tok_key_record *out_record, struct err *e)
{
    struct tok_key_record record;
    char text[TOK_RECORD_BYTES], again[TOK_RECORD_BYTES];
    const size_t label_len = strlen(label);
    const size_t before = len > label_len ? len - label_len : 0;
    const unsigned fields = (unsigned)(before / FIELD_CHARACTERS);
    if (before % FIELD_CHARACTERS != 0 || fields < FIELDS_LEAST || fields > FIELDS_MOST || len >= sizeof text)
        return err_set(e, ERR_CHECK, "%s has no check value in CKA_ID; make or import it with posward",
                       label);
    memcpy(text, id, len);
    text[len] = '\0';
    if (read_record(text, fields, &record)) {
        tok_record_text(&record, label, again);
        if (strcmp(text, again) == 0) { /* one spelling only */
            *out_record = record;
            return ERR_OK;
        }
    }
    return err_set(e, ERR_CHECK, "%s has no sound check value in CKA_ID; make or import it with posward",
                   label);
}

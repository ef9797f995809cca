/* What the probe tries of the payment flows: each way on throw-away keys, against an answer that is written
 * here. Answers come from published vectors (tests/vectors, named beside them) or were computed with OpenSSL.
 */
#include "p11/flow/pay.h"
#include "p11/object/template.h"
#include "p11/probe/rows.h"

static const uint8_t des_key[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
                                    0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10};
static const uint8_t aes_key[16] = {0x2B, 0x7E, 0x15, 0x16, 0x28, 0xAE, 0xD2, 0xA6,
                                    0xAB, 0xF7, 0x15, 0x88, 0x09, 0xCF, 0x4F, 0x3C};

static enum err_code import_des(struct tok_session *s, const uint8_t value[16], const CK_ATTRIBUTE_TYPE *uses,
                                struct tok_object *out_key, struct err *e)
{
    return tok_object_import(s, CKK_DES2, value, 16, uses, out_key, e);
}

static enum err_code import_aes(struct tok_session *s, const uint8_t value[16], const CK_ATTRIBUTE_TYPE *uses,
                                struct tok_object *out_key, struct err *e)
{
    return tok_object_import(s, CKK_AES, value, 16, uses, out_key, e);
}

/* ---- check values ---- */

static enum err_code try_kcv(struct tok_session *s, struct err *e)
{
    static const uint8_t des_right[4] = {0x08, 0xD7, 0xB4, 0xFB}, aes_right[4] = {0x7A, 0xD3, 0x86, 0xC3};
    uint8_t kcv[4];
    AUTO(tok_object) des = {0};
    AUTO(tok_object) aes = {0};
    TRY(import_des(s, des_key, TOK_USES(CKA_ENCRYPT), &des, e));
    TRY(tok_object_kcv(s, des.handle, TOK_TDES, kcv, sizeof kcv, e));
    TRY(probe_expect(kcv, des_right, sizeof kcv, e));
    TRY(import_aes(s, aes_key, TOK_USES(CKA_SIGN), &aes, e));
    TRY(tok_object_kcv(s, aes.handle, TOK_AES_128, kcv, sizeof kcv, e));
    return probe_expect(kcv, aes_right, sizeof kcv, e);
}

/* ---- MACs ---- */

static enum err_code try_mac(struct tok_session *s, enum tok_mac algorithm, const struct tok_mac_key *key,
                             const struct tok_mac_input *input, const uint8_t right[DES_BLOCK], struct err *e)
{
    uint8_t mac[TOK_MAC_BYTES];
    size_t len;
    TRY(tok_mac_run(s, algorithm, key, input, mac, &len, e));
    return probe_expect(mac, right, DES_BLOCK, e);
}

/* upmac-d-d2 */
static enum err_code try_mac_unionpay(struct tok_session *s, struct err *e)
{
    static const uint8_t data[] = {0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x28, 0x27,
                                   0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x31, 0x32, 0x33, 0x34,
                                   0x35, 0x36, 0x37, 0x38, 0x44, 0x43, 0x42, 0x41};
    static const uint8_t right[DES_BLOCK] = {'D', 'D', 'D', 'C', 'D', '3', '3', 'D'};
    AUTO(tok_object) key = {0};
    TRY(import_des(s, des_key, TOK_USES(CKA_ENCRYPT), &key, e));
    const struct tok_mac_key mac_key = {.handle = key.handle, .suite = TOK_TDES, .key_bytes = 16};
    const struct tok_mac_input input = {.data = data, .len = sizeof data};
    return try_mac(s, TOK_MAC_UNIONPAY, &mac_key, &input, right, e);
}

/* cbcmac-sem */
static enum err_code try_mac_x9_9(struct tok_session *s, struct err *e)
{
    static const uint8_t data[DES_BLOCK] = {0};
    static const uint8_t right[DES_BLOCK] = {0xAD, 0xC6, 0x7D, 0x84, 0x73, 0xBF, 0x2F, 0x06};
    uint8_t value[16];
    memset(value, '2', sizeof value);
    AUTO(tok_object) key = {0};
    TRY(import_des(s, value, TOK_USES(CKA_ENCRYPT), &key, e));
    const struct tok_mac_key mac_key = {.handle = key.handle, .suite = TOK_TDES, .key_bytes = 8};
    const struct tok_mac_input input = {.data = data, .len = sizeof data};
    return try_mac(s, TOK_MAC_X9_9, &mac_key, &input, right, e);
}

/* x919-iso-1: three blocks, so that the left half works alone */
static enum err_code try_mac_x9_19(struct tok_session *s, CK_OBJECT_HANDLE key, const struct tok_left *left,
                                   struct err *e)
{
    static const char data[] = "Now is the time for all ";
    static const uint8_t right[DES_BLOCK] = {0xA1, 0xC7, 0x2E, 0x74, 0xEA, 0x3F, 0xA9, 0xB6};
    const struct tok_mac_key mac_key = {key, TOK_TDES, 16, left};
    const struct tok_mac_input input = {.data = (const uint8_t *)data, .len = sizeof data - 1};
    return try_mac(s, TOK_MAC_X9_19, &mac_key, &input, right, e);
}

static enum err_code try_mac_pair(struct tok_session *s, struct err *e)
{
    uint8_t twice[16];
    memcpy(twice, des_key, DES_BLOCK);
    memcpy(twice + DES_BLOCK, des_key, DES_BLOCK);
    AUTO(tok_object) key = {0};
    AUTO(tok_object) pair = {0};
    struct tok_left left;
    TRY(import_des(s, des_key, TOK_USES(CKA_ENCRYPT), &key, e));
    TRY(import_des(s, twice, TOK_USES(CKA_ENCRYPT), &pair, e));
    tok_left_pair(pair.handle, &left);
    return try_mac_x9_19(s, key.handle, &left, e);
}

static enum err_code try_mac_extract(struct tok_session *s, struct err *e)
{
    AUTO(tok_object) key = {0};
    AUTO(tok_left) left = {0};
    TRY(import_des(s, des_key, TOK_USES(CKA_ENCRYPT, CKA_EXTRACTABLE, CKA_DERIVE), &key, e));
    TRY(tok_left_extract(s, key.handle, &left, e));
    return try_mac_x9_19(s, key.handle, &left, e);
}

static enum err_code try_mac_append(struct tok_session *s, struct err *e)
{
    AUTO(tok_object) key = {0};
    AUTO(tok_left) left = {0};
    TRY(import_des(s, des_key, TOK_USES(CKA_ENCRYPT, CKA_EXTRACTABLE), &key, e));
    TRY(tok_left_append(s, key.handle, &left, e));
    return try_mac_x9_19(s, key.handle, &left, e);
}

/* RFC 4493 section 4, example 2 */
static enum err_code try_mac_cmac(struct tok_session *s, struct err *e)
{
    static const uint8_t data[] = {0x6B, 0xC1, 0xBE, 0xE2, 0x2E, 0x40, 0x9F, 0x96,
                                   0xE9, 0x3D, 0x7E, 0x11, 0x73, 0x93, 0x17, 0x2A};
    static const uint8_t right[] = {0x07, 0x0A, 0x16, 0xB4, 0x6B, 0x4D, 0x41, 0x44};
    AUTO(tok_object) key = {0};
    TRY(import_aes(s, aes_key, TOK_USES(CKA_SIGN), &key, e));
    const struct tok_mac_key mac_key = {.handle = key.handle, .suite = TOK_AES_128, .key_bytes = 16};
    const struct tok_mac_input input = {.data = data, .len = sizeof data};
    return try_mac(s, TOK_MAC_CMAC, &mac_key, &input, right, e);
}

/* ---- PIN ---- */

typedef enum err_code pin_way(struct tok_session *s, const struct tok_pin_job *job, uint8_t out_block[16],
                              struct err *e);

static const uint8_t pin_des_source[16] = {0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78,
                                           0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78};
static const uint8_t pin_des_destination[16] = {0x6E, 0xFF, 0xED, 0xA2, 0xA1, 0x9D, 0xFE, 0xAE,
                                                0x11, 0x43, 0xAA, 0x89, 0x23, 0x72, 0xD5, 0xF3};
/* pintr-d2; epb1-jpos-1 has the same PIN and PAN, so both end in the same block */
static const uint8_t pin_block_0[DES_BLOCK] = {0x3C, 0x0C, 0xA4, 0x08, 0x63, 0x09, 0x2C, 0x3A};
static const uint8_t pin_block_1[DES_BLOCK] = {0x07, 0x43, 0x8C, 0x40, 0xF2, 0x25, 0xBF, 0x7D};
static const uint8_t pin_des_right[DES_BLOCK] = {0xA4, 0xA8, 0x6E, 0xFE, 0xAE, 0x43, 0xB2, 0x3D};

static enum err_code try_pin_des(struct tok_session *s, enum tok_pin_format format, const uint8_t *block,
                                 pin_way *way, struct err *e)
{
    const CK_ATTRIBUTE_TYPE *uses = TOK_USES(CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP);
    uint8_t got[16];
    AUTO(tok_object) source = {0};
    AUTO(tok_object) destination = {0};
    TRY(import_des(s, pin_des_source, uses, &source, e));
    TRY(import_des(s, pin_des_destination, uses, &destination, e));
    const struct tok_pin_job job = {source.handle, destination.handle, format,
                                    TOK_PIN_0,     "1234567890120",    block};
    TRY(way(s, &job, got, e));
    return probe_expect(got, pin_des_right, sizeof pin_des_right, e);
}

static enum err_code try_pin_tdes_object(struct tok_session *s, struct err *e)
{
    return try_pin_des(s, TOK_PIN_0, pin_block_0, tok_pin_object_tdes, e);
}

static enum err_code try_pin_tdes_block(struct tok_session *s, struct err *e)
{
    return try_pin_des(s, TOK_PIN_0, pin_block_0, tok_pin_block, e);
}

static enum err_code try_pin_format_block(struct tok_session *s, struct err *e)
{
    return try_pin_des(s, TOK_PIN_1, pin_block_1, tok_pin_block, e);
}

/* pb4-1 */
static enum err_code try_pin_aes(struct tok_session *s, pin_way *way, struct err *e)
{
    static const uint8_t source_key[16] = {0xC1, 0xD0, 0xF8, 0xFB, 0x49, 0x58, 0x67, 0x0D,
                                           0xBA, 0x40, 0xAB, 0x1F, 0x37, 0x52, 0xEF, 0x0D};
    static const uint8_t block[16] = {0xCC, 0x17, 0xF6, 0x55, 0x86, 0xBF, 0xD0, 0x95,
                                      0x30, 0x10, 0x22, 0x6C, 0x4F, 0xC5, 0xB3, 0xCA};
    static const uint8_t right[16] = {0xF7, 0xF5, 0x29, 0x20, 0x38, 0xAE, 0xDD, 0xE8,
                                      0xD0, 0x0F, 0xAF, 0xD0, 0x16, 0x02, 0xA8, 0xE6};
    const CK_ATTRIBUTE_TYPE *uses = TOK_USES(CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP);
    uint8_t got[16];
    AUTO(tok_object) source = {0};
    AUTO(tok_object) destination = {0};
    TRY(import_aes(s, source_key, uses, &source, e));
    TRY(import_aes(s, aes_key, uses, &destination, e));
    const struct tok_pin_job job = {source.handle, destination.handle,   TOK_PIN_4,
                                    TOK_PIN_4,     "432198765432109870", block};
    TRY(way(s, &job, got, e));
    return probe_expect(got, right, sizeof right, e);
}

static enum err_code try_pin_aes_object(struct tok_session *s, struct err *e)
{
    return try_pin_aes(s, tok_pin_object_aes, e);
}

static enum err_code try_pin_aes_block(struct tok_session *s, struct err *e)
{
    return try_pin_aes(s, tok_pin_block, e);
}

/* ---- data ---- */

struct cipher_try {
    CK_MECHANISM_TYPE mechanism;
    size_t iv_bytes;
    uint8_t right[16];
};

static enum err_code try_cipher(struct tok_session *s, CK_OBJECT_HANDLE key, const struct cipher_try *row,
                                struct err *e)
{
    static const uint8_t data[16] = {0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
                                     0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F};
    uint8_t iv[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, got[16];
    CK_MECHANISM mechanism = {row->mechanism, row->iv_bytes != 0 ? iv : NULL, row->iv_bytes};
    TRY(tok_encrypt(s, &mechanism, key, data, sizeof data, got, e));
    TRY(probe_expect(got, row->right, sizeof got, e));
    TRY(tok_decrypt(s, &mechanism, key, row->right, sizeof got, got, e));
    return probe_expect(got, data, sizeof got, e);
}

static enum err_code try_data(struct tok_session *s, struct err *e)
{
    static const struct cipher_try des_rows[] = {
        {CKM_DES3_ECB,
         0,
         {0x50, 0x59, 0x4B, 0x67, 0x4F, 0xF3, 0x1C, 0xEF, 0xBF, 0xB5, 0xB8, 0xAD, 0xBB, 0xEC, 0x3E, 0x2A}},
        {CKM_DES3_CBC,
         8,
         {0x48, 0x19, 0x24, 0xAF, 0xFC, 0x41, 0x6F, 0x1C, 0x70, 0x44, 0xC6, 0xC8, 0x97, 0x78, 0x69, 0x62}},
    };
    static const struct cipher_try aes_rows[] = {
        {CKM_AES_ECB,
         0,
         {0xC8, 0x4A, 0xF0, 0xB6, 0x13, 0x43, 0x5D, 0x5D, 0x91, 0x82, 0x80, 0x1A, 0x9B, 0xD9, 0x32, 0x0B}},
        {CKM_AES_CBC,
         16,
         {0x2B, 0xD1, 0x5F, 0x12, 0xFC, 0x2C, 0x6D, 0xEB, 0x33, 0xA7, 0x6A, 0x56, 0x63, 0xAD, 0x6B, 0xB6}},
    };
    const CK_ATTRIBUTE_TYPE *uses = TOK_USES(CKA_ENCRYPT, CKA_DECRYPT);
    AUTO(tok_object) des = {0};
    AUTO(tok_object) aes = {0};
    TRY(import_des(s, des_key, uses, &des, e));
    TRY(import_aes(s, aes_key, uses, &aes, e));
    for (size_t i = 0; i < 2; i++) {
        TRY(try_cipher(s, des.handle, &des_rows[i], e));
        TRY(try_cipher(s, aes.handle, &aes_rows[i], e));
    }
    return ERR_OK;
}

/* ---- cards ----
 * The TMK is what the throw-away master gives for the factor; both were picked so that it has odd parity as
 * it is. */

static const uint8_t card_header[TOK_CARD_HEADER] = {0x05, 0x01, 0x00};
static const uint8_t card_tmk[16] = {0x25, 0x38, 0xFD, 0xCD, 0xB3, 0xC8, 0xA7, 0x80,
                                     0x45, 0x43, 0x76, 0x8C, 0x6E, 0x76, 0x76, 0x94};
static const uint8_t card_cipher[TOK_PBOC_CIPHERTEXT] = {0x99, 0x96, 0x63, 0xEA, 0xCE, 0xA5, 0x42, 0xE1,
                                                         0x88, 0x61, 0x00, 0xE7, 0x89, 0xBD, 0xEB, 0xBF,
                                                         0x0A, 0x81, 0x44, 0xE4, 0x78, 0xDF, 0x7B, 0x88};

/* Only the cipher differs between these ways: the MAC around it is algorithm 3, which its own flow tries. */
static enum err_code try_card_concat(struct tok_session *s, struct err *e)
{
    uint8_t cipher[TOK_PBOC_CIPHERTEXT];
    AUTO(tok_object) control = {0};
    AUTO(tok_object) tmk = {0};
    TRY(import_des(s, des_key, TOK_USES(CKA_WRAP, CKA_ENCRYPT), &control, e));
    TRY(import_des(s, card_tmk, TOK_USES(CKA_EXTRACTABLE, CKA_DERIVE), &tmk, e));
    TRY(tok_card_pboc_concat(s, control.handle, tmk.handle, card_header, cipher, e));
    return probe_expect(cipher, card_cipher, sizeof cipher, e);
}

static enum err_code try_card_clear(struct tok_session *s, struct err *e)
{
    static const uint8_t master_key[16] = {0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10,
                                           0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF};
    static const uint8_t factor[DES_BLOCK] = {0x12, 0x34, 0x56, 0x78, 0x00, 0x06, 0x63, 0x17};
    uint8_t cipher[TOK_PBOC_CIPHERTEXT];
    AUTO(tok_object) control = {0};
    AUTO(tok_object) master = {0};
    TRY(import_des(s, des_key, TOK_USES(CKA_WRAP, CKA_ENCRYPT), &control, e));
    TRY(import_des(s, master_key, TOK_USES(CKA_DERIVE), &master, e));
    TRY(tok_card_pboc_clear(s, control.handle, master.handle, factor, card_header, cipher, e));
    return probe_expect(cipher, card_cipher, sizeof cipher, e);
}

static enum err_code try_card_aes(struct tok_session *s, struct err *e)
{
    static const uint8_t challenge[TOK_AES_CHALLENGE] = {0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7};
    static const uint8_t right[] = {0x84, 0xD4, 0x01, 0x00, 0x23, 0x05, 0x01, 0x00, 0x34, 0x3A,
                                    0x1E, 0x09, 0x1B, 0xD1, 0xAB, 0xDA, 0x79, 0x05, 0x18, 0x4A,
                                    0x25, 0xEB, 0xB0, 0xD3, 0x4D, 0xBB, 0x40, 0x64, 0x1C, 0x9E,
                                    0x90, 0x6E, 0x82, 0x93, 0x65, 0x3F, 0xC7, 0x20, 0x17, 0x11};
    struct tok_apdu apdu;
    AUTO(tok_object) control = {0};
    AUTO(tok_object) tmk = {0};
    TRY(import_aes(s, aes_key, TOK_USES(CKA_WRAP, CKA_SIGN), &control, e));
    TRY(import_des(s, card_tmk, TOK_USES(CKA_EXTRACTABLE), &tmk, e));
    TRY(tok_card_aes(s, control.handle, tmk.handle, card_header, challenge, &apdu, e));
    if (apdu.len != sizeof right)
        return err_set(e, ERR_CHECK, "wrong answer");
    return probe_expect(apdu.bytes, right, sizeof right, e);
}

const struct tok_way_row tok_ways_pay[] = {
    {TOK_FLOW_KCV, "zeros", TOK_IN_TOKEN, try_kcv},
    {TOK_FLOW_MAC_UNIONPAY, "cbc", TOK_IN_TOKEN, try_mac_unionpay},
    {TOK_FLOW_MAC_X9_9, "cbc", TOK_IN_TOKEN, try_mac_x9_9},
    {TOK_FLOW_MAC_X9_19, "pair", TOK_IN_TOKEN, try_mac_pair},
    {TOK_FLOW_MAC_X9_19, "extract", TOK_IN_TOKEN, try_mac_extract},
    {TOK_FLOW_MAC_X9_19, "append", TOK_IN_TOKEN, try_mac_append},
    {TOK_FLOW_MAC_CMAC, "sign", TOK_IN_TOKEN, try_mac_cmac},
    {TOK_FLOW_PIN_TDES, "object", TOK_IN_TOKEN, try_pin_tdes_object},
    {TOK_FLOW_PIN_TDES, "block", TOK_PROCESS_MEMORY, try_pin_tdes_block},
    {TOK_FLOW_PIN_AES, "object", TOK_IN_TOKEN, try_pin_aes_object},
    {TOK_FLOW_PIN_AES, "block", TOK_PROCESS_MEMORY, try_pin_aes_block},
    {TOK_FLOW_PIN_FORMAT, "block", TOK_PROCESS_MEMORY, try_pin_format_block},
    {TOK_FLOW_DATA, "cipher", TOK_IN_TOKEN, try_data},
    {TOK_FLOW_CARD_PBOC, "concat", TOK_IN_TOKEN, try_card_concat},
    {TOK_FLOW_CARD_PBOC, "clear", TOK_PROCESS_MEMORY, try_card_clear},
    {TOK_FLOW_CARD_AES, "transport", TOK_IN_TOKEN, try_card_aes},
    {0},
};

#include "p11/working.h"
#include "tests/unit/p11/pay_fixture.h"

/* A tap between the flows and the token records what crosses: every value that goes in or comes out of it but
 * key values that the test itself imports. A way graded IN_TOKEN must not show a secret there; one graded
 * PROCESS_MEMORY must, or the tap is deaf. */

#define TAP_BYTES 65536
static uint8_t tap[TAP_BYTES];
static size_t tap_len;
static CK_FUNCTION_LIST *real, tapped;

static void record(const void *bytes, CK_ULONG len)
{
    ck_assert_uint_le(tap_len + len, TAP_BYTES);
    memcpy(tap + tap_len, bytes, len);
    tap_len += len;
}

static CK_RV tap_encrypt(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len, CK_BYTE *out,
                         CK_ULONG *out_len)
{
    record(data, len);
    const CK_RV rv = real->C_Encrypt(session, data, len, out, out_len);
    if (rv == CKR_OK)
        record(out, *out_len);
    return rv;
}

static CK_RV tap_decrypt(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len, CK_BYTE *out,
                         CK_ULONG *out_len)
{
    record(data, len);
    const CK_RV rv = real->C_Decrypt(session, data, len, out, out_len);
    if (rv == CKR_OK)
        record(out, *out_len);
    return rv;
}

static CK_RV tap_wrap(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                      CK_OBJECT_HANDLE wrapped, CK_BYTE *out, CK_ULONG *out_len)
{
    const CK_RV rv = real->C_WrapKey(session, mechanism, key, wrapped, out, out_len);
    if (rv == CKR_OK)
        record(out, *out_len);
    return rv;
}

static CK_RV tap_unwrap(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                        CK_BYTE *wrapped, CK_ULONG len, CK_ATTRIBUTE *rows, CK_ULONG count,
                        CK_OBJECT_HANDLE *out_object)
{
    record(wrapped, len);
    return real->C_UnwrapKey(session, mechanism, key, wrapped, len, rows, count, out_object);
}

static CK_RV tap_sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
    record(data, len);
    const CK_RV rv = real->C_Sign(session, data, len, out, out_len);
    if (rv == CKR_OK)
        record(out, *out_len);
    return rv;
}

static CK_RV tap_attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *rows,
                            CK_ULONG count)
{
    const CK_RV rv = real->C_GetAttributeValue(session, object, rows, count);
    for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++)
        record(rows[i].pValue, rows[i].ulValueLen);
    return rv;
}

static void tap_on(void)
{
    real = pay_session->fn;
    tapped = *real;
    tapped.C_Encrypt = tap_encrypt;
    tapped.C_Decrypt = tap_decrypt;
    tapped.C_WrapKey = tap_wrap;
    tapped.C_UnwrapKey = tap_unwrap;
    tapped.C_Sign = tap_sign;
    tapped.C_GetAttributeValue = tap_attributes;
    pay_session->fn = &tapped;
    tap_len = 0;
}

static void tap_off(void)
{
    pay_session->fn = real;
}

static bool tap_has(const uint8_t *secret, size_t len)
{
    for (size_t at = 0; at + len <= tap_len; at++) {
        if (secret_equal(tap + at, secret, len))
            return true;
    }
    return false;
}

/* Either half of a DES key, with or without its parity. */
static bool tap_has_key(const uint8_t key[16])
{
    for (size_t at = 0; at + 8 <= tap_len; at++) {
        for (size_t half = 0; half < 16; half += 8) {
            unsigned difference = 0;
            for (size_t i = 0; i < 8; i++)
                difference |= (unsigned)(tap[at + i] ^ key[half + i]) & 0xFE;
            if (difference == 0)
                return true;
        }
    }
    return false;
}

START_TEST(tap_sees_no_half_of_a_key_that_is_cut)
{
    static const char data[] = "Now is the time for all ";
    for (int round = 0; round < 4; round++) {
        uint8_t value[16], state[8] = {0};
        AUTO(tok_object) key = {0};
        AUTO(tok_left) left = {0};
        random_bytes(value, sizeof value);
        pay_des_key(value, 16, &key);
        tap_on();
        ck_assert_ok(tok_left_append(pay_session, key.handle, &left, &pay_err), pay_err);
        ck_assert_ok(tok_left_cbc(pay_session, &left, (const uint8_t *)data, 24, state, &pay_err), pay_err);
        tap_off();
        ck_assert_uint_gt(tap_len, 0);
        ck_assert(!tap_has_key(value));
    }
}
END_TEST

/* The clear blocks of the translations below: format 0 and the PIN field of format 4. */
static const uint8_t clear_0[8] = {0x04, 0x12, 0x26, 0xCB, 0xA9, 0x87, 0x6F, 0xED};
static const uint8_t clear_4[8] = {0x44, 0x12, 0x34, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA};

static void translate(enum tok_pin_format format, enum tok_grade *out_grade)
{
    static const char *const pans[] = {[TOK_PIN_0] = "1234567890120", [TOK_PIN_4] = "432198765432109870"};
    /* pb4-1 under its own key, which is bank-b's; and the same PIN as in pintr-d2 under bank-b's */
    static const uint8_t block_0[8] = {0xA4, 0xA8, 0x6E, 0xFE, 0xAE, 0x43, 0xB2, 0x3D};
    static const uint8_t block_4[16] = {0xCC, 0x17, 0xF6, 0x55, 0x86, 0xBF, 0xD0, 0x95,
                                        0x30, 0x10, 0x22, 0x6C, 0x4F, 0xC5, 0xB3, 0xCA};
    const enum tok_suite suite = format == TOK_PIN_4 ? TOK_AES_128 : TOK_TDES;
    const struct tok_pin_request request = {.source = pay_zone("bank-b", suite),
                                            .destination = pay_zone("bank-a", suite),
                                            .source_format = format,
                                            .destination_format = format,
                                            .pan = pans[format],
                                            .block = format == TOK_PIN_4 ? block_4 : block_0,
                                            .block_len = format == TOK_PIN_4 ? 16 : 8};
    uint8_t moved[16];
    size_t len;
    tap_on();
    ck_assert_ok(tok_pin_translate(pay_session, &request, moved, &len, out_grade, &pay_err), pay_err);
    tap_off();
}

START_TEST(tap_sees_a_pin_where_the_grade_says_so)
{
    enum tok_grade grade = 0;
    translate(TOK_PIN_0, &grade);
    ck_assert(tap_has(clear_0, sizeof clear_0) == (grade == TOK_PROCESS_MEMORY));
    translate(TOK_PIN_4, &grade);
    ck_assert(tap_has(clear_4, sizeof clear_4) == (grade == TOK_PROCESS_MEMORY));
}
END_TEST

static void derived_tmk(uint8_t out_tmk[16])
{
    /* f of PAY_PSAM and its complement */
    static const uint8_t data[16] = {0x45, 0x67, 0x89, 0x01, 0x23, 0x45, 0x67, 0x89,
                                     0xBA, 0x98, 0x76, 0xFE, 0xDC, 0xBA, 0x98, 0x76};
    CK_MECHANISM ecb = {CKM_DES3_ECB, NULL, 0};
    AUTO(tok_object) master = {0};
    pay_des_key(pay_psam_tdes, 16, &master);
    ck_assert_ok(tok_encrypt(pay_session, &ecb, master.handle, data, 16, out_tmk, &pay_err), pay_err);
}

START_TEST(tap_sees_a_tmk_where_the_grade_says_so)
{
    static const enum tok_card_profile profiles[] = {TOK_CARD_AES, TOK_CARD_PBOC};
    static const uint8_t challenge[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t tmk[16];
    derived_tmk(tmk);
    const struct tok_card_request request = {.psam_number = PAY_PSAM,
                                             .suite = TOK_TDES,
                                             .master_version = 1,
                                             .control_version = 1,
                                             .profile = profiles[_i],
                                             .challenge = challenge,
                                             .challenge_len = profiles[_i] == TOK_CARD_PBOC ? 4 : 8};
    struct tok_card_script made;
    tap_on();
    ck_assert_ok(tok_card_script(pay_session, &request, &made, &pay_err), pay_err);
    tap_off();
    ck_assert(tap_has_key(tmk) == (made.grade == TOK_PROCESS_MEMORY));
    ck_assert(made.grade == TOK_IN_TOKEN || (profiles[_i] == TOK_CARD_PBOC && pay_kind == TOKEN_SOFTHSM));
}
END_TEST

/* The half that a working key brings along is its left half: the same as what cutting finds. */
START_TEST(left_of_a_working_key_is_its_left_half)
{
    const struct tok_child_request child = {.psam_number = PAY_PSAM,
                                            .suite = TOK_TDES,
                                            .domain = TOK_DOMAIN_TMK,
                                            .master_version = 1,
                                            .use = TOK_CHILD_WRAPS};
    static const uint8_t data[16] = "sixteen bytes...";
    uint8_t by_pair[8] = {0}, by_cut[8] = {0};
    AUTO(tok_object) tmk = {0};
    AUTO(tok_made) made = {0};
    AUTO(tok_left) cut = {0};
    struct tok_left pair;
    ck_assert_ok(tok_derive_child(pay_session, &child, &tmk, &pay_err), pay_err);
    ck_assert_ok(pay_kind == TOKEN_NSS
                     ? tok_working_wrap(pay_session, tmk.handle, 16, true, &made, &pay_err)
                     : tok_working_chain(pay_session, tmk.handle, 16, true, &made, &pay_err),
                 pay_err);
    ck_assert_ok(tok_left_append(pay_session, made.key.handle, &cut, &pay_err), pay_err);
    tok_left_pair(made.left.handle, &pair);
    ck_assert_ok(tok_left_cbc(pay_session, &pair, data, 16, by_pair, &pay_err), pay_err);
    ck_assert_ok(tok_left_cbc(pay_session, &cut, data, 16, by_cut, &pay_err), pay_err);
    ck_assert(secret_equal(by_pair, by_cut, 8));
}
END_TEST

static void add_all(TCase *tcase)
{
    tcase_add_test(tcase, tap_sees_no_half_of_a_key_that_is_cut);
    tcase_add_test(tcase, tap_sees_a_pin_where_the_grade_says_so);
    tcase_add_loop_test(tcase, tap_sees_a_tmk_where_the_grade_says_so, 0, 2);
    tcase_add_test(tcase, left_of_a_working_key_is_its_left_half);
}

int main(void)
{
    return pay_main("p11 payment tap", add_all);
}

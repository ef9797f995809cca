#include "base/hex.h"
#include "tests/unit/p11/pay_fixture.h"

/* WRITE KEY commands, read back as the card would: with the card's control key, computed here from the known
 * master. */

static const uint8_t challenge[8] = {0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7};

static struct tok_card_request request_of(enum tok_card_profile profile, enum tok_suite suite)
{
    return (struct tok_card_request){.psam_number = PAY_PSAM,
                                     .suite = suite,
                                     .master_version = 1,
                                     .control_version = 1,
                                     .profile = profile,
                                     .challenge = challenge,
                                     .challenge_len = profile == TOK_CARD_PBOC ? 4 : 8};
}

static void script(const struct tok_card_request *request, struct tok_card_script *out_script)
{
    const size_t before = pay_object_count();
    ck_assert_ok(tok_card_script(pay_session, request, out_script, &pay_err), pay_err);
    ck_assert_uint_eq(pay_object_count(), before);
}

static void set_odd_parity(uint8_t *key, size_t len)
{
    for (size_t i = 0; i < len; i++)
        key[i] = (uint8_t)((key[i] & 0xFE) | (__builtin_popcount(key[i] & 0xFE) % 2 == 0));
}

/* E(master, f || ~f), f of PAY_PSAM. */
static void child_tdes(const uint8_t master[16], uint8_t out_child[16])
{
    uint8_t data[16];
    AUTO(tok_object) key = {0};
    pay_des_key(master, 16, &key);
    ck_assert_ok(bcd_encode(&PAY_PSAM[4], 16, data, &pay_err), pay_err);
    for (size_t i = 0; i < 8; i++)
        data[8 + i] = (uint8_t)~data[i];
    CK_MECHANISM ecb = {CKM_DES3_ECB, NULL, 0};
    ck_assert_ok(tok_encrypt(pay_session, &ecb, key.handle, data, 16, out_child, &pay_err), pay_err);
    set_odd_parity(out_child, 16);
}

static void child_aes(const uint8_t master[32], uint8_t domain, size_t len, uint8_t *out_child)
{
    uint8_t data[32] = {0};
    AUTO(tok_object) key = {0};
    pay_aes_key(master, 32, &key);
    for (size_t block = 0; block < len / 16; block++) {
        uint8_t *at = data + 16 * block;
        at[0] = domain;
        at[1] = (uint8_t)(block + 1);
        at[2] = (uint8_t)len;
        ck_assert_ok(bcd_encode(PAY_PSAM, 20, at + 6, &pay_err), pay_err);
    }
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    ck_assert_ok(tok_encrypt(pay_session, &ecb, key.handle, data, len, out_child, &pay_err), pay_err);
}

static size_t tmk_of(enum tok_suite suite, uint8_t out_tmk[32])
{
    if (suite == TOK_TDES)
        child_tdes(pay_psam_tdes, out_tmk);
    else
        child_aes(pay_psam_aes, 0x01, suite == TOK_AES_256 ? 32 : 16, out_tmk);
    return suite == TOK_AES_256 ? 32 : 16;
}

static void expect_kcv_and_blob(const struct tok_card_script *made, enum tok_suite suite)
{
    uint8_t tmk[32], kcv[4];
    struct tok_blob_info info;
    AUTO(tok_object) key = {0};
    const size_t len = tmk_of(suite, tmk);
    if (suite == TOK_TDES)
        pay_des_key(tmk, len, &key);
    else
        pay_aes_key(tmk, len, &key);
    ck_assert_ok(tok_object_kcv(pay_session, key.handle, suite, kcv, 4, &pay_err), pay_err);
    ck_assert(secret_equal(kcv, made->kcv, 4));
    ck_assert_ok(tok_blob_info(pay_session, made->blob, made->blob_len, &info, &pay_err), pay_err);
    ck_assert_int_eq(info.usage, TOK_TMK);
    ck_assert_int_eq(info.suite, suite);
    ck_assert_uint_eq(info.key_bytes, len);
    ck_assert_uint_eq(info.master_version, 1);
    ck_assert_str_eq(info.psam_number, PAY_PSAM);
    ck_assert(secret_equal(info.kcv, kcv, 4));
    ck_assert_int_gt(info.created_ms, 1700000000000);
}

#define SCRIPTS_AES 5

START_TEST(script_aes_carries_the_tmk)
{
    static const struct {
        enum tok_suite suite;
        uint8_t lc, algorithm;
        unsigned wrap_version;
    } rows[SCRIPTS_AES] = {{TOK_TDES, 35, 0x00, 0},
                           {TOK_AES_128, 35, 0x02, 0},
                           {TOK_AES_256, 51, 0x03, 1},
                           {TOK_AES_128, 35, 0x12, 2},
                           {TOK_AES_256, 51, 0x13, 2}};
    struct tok_card_request request = request_of(TOK_CARD_AES, rows[_i].suite);
    request.wrap_version = rows[_i].wrap_version;
    struct tok_card_script made;
    uint8_t control[16], tmk[32], wrapped[40], covered[8 + 96], mac[16];
    script(&request, &made);
    ck_assert_int_eq(made.grade, TOK_IN_TOKEN);
    ck_assert_uint_eq(made.apdu_len, 5u + rows[_i].lc);
    const uint8_t head[] = {0x84, 0xD4, 0x01, 0x00, rows[_i].lc, 0x05, 0x01, rows[_i].algorithm};
    ck_assert_mem_eq(made.apdu, head, sizeof head);

    child_aes(pay_control_aes, 0x02, 16, control);
    AUTO(tok_object) key = {0};
    AUTO(tok_object) child = {0};
    pay_aes_key(control, 16, &key);
    const size_t tmk_len = tmk_of(rows[_i].suite, tmk);
    ck_assert_ok(tok_object_import(pay_session, CKK_GENERIC_SECRET, tmk, tmk_len, TOK_USES(CKA_EXTRACTABLE),
                                   &child, &pay_err),
                 pay_err);
    CK_MECHANISM key_wrap = {CKM_AES_KEY_WRAP, NULL, 0};
    CK_ULONG len = sizeof wrapped;
    ck_assert_uint_eq(
        pay_session->fn->C_WrapKey(pay_session->handle, &key_wrap, key.handle, child.handle, wrapped, &len),
        CKR_OK);
    ck_assert_uint_eq(len, tmk_len + 8);
    ck_assert_mem_eq(made.apdu + 8, wrapped, len);

    size_t mac_len;
    memcpy(covered, challenge, 8);
    memcpy(covered + 8, made.apdu, made.apdu_len - 8);
    CK_MECHANISM cmac = {CKM_AES_CMAC, NULL, 0};
    ck_assert_ok(
        tok_sign(pay_session, &cmac, key.handle, covered, made.apdu_len, mac, 16, &mac_len, &pay_err),
        pay_err);
    ck_assert(secret_equal(mac, made.apdu + made.apdu_len - 8, 8));
    expect_kcv_and_blob(&made, rows[_i].suite);
}
END_TEST

START_TEST(script_pboc_carries_the_tmk)
{
    const struct tok_card_request request = request_of(TOK_CARD_PBOC, TOK_TDES);
    struct tok_card_script made;
    uint8_t control[16], twice[16], tmk[32], record[24], mac[TOK_MAC_BYTES];
    script(&request, &made);
    ck_assert_int_eq(made.grade, pay_kind == TOKEN_NSS ? TOK_IN_TOKEN : TOK_PROCESS_MEMORY);
    const uint8_t head[] = {0x84, 0xD4, 0x00, 0x00, 0x1C};
    ck_assert_uint_eq(made.apdu_len, 5 + 24 + 4);
    ck_assert_mem_eq(made.apdu, head, sizeof head);

    AUTO(tok_object) key = {0};
    AUTO(tok_object) pair = {0};
    child_tdes(pay_control_tdes, control);
    pay_des_key(control, 16, &key);
    CK_MECHANISM ecb = {CKM_DES3_ECB, NULL, 0};
    ck_assert_ok(tok_decrypt(pay_session, &ecb, key.handle, made.apdu + 5, 24, record, &pay_err), pay_err);
    tmk_of(TOK_TDES, tmk);
    set_odd_parity(record + 4, 16); /* parity bits mean nothing to a card */
    const uint8_t prefix[] = {0x13, 0x05, 0x01, 0x00}, padding[] = {0x80, 0, 0, 0};
    ck_assert_mem_eq(record, prefix, 4);
    ck_assert(secret_equal(record + 4, tmk, 16));
    ck_assert_mem_eq(record + 20, padding, 4);

    memcpy(twice, control, 8);
    memcpy(twice + 8, control, 8);
    pay_des_key(twice, 16, &pair);
    struct tok_left left;
    tok_left_pair(pair.handle, &left);
    const struct tok_mac_key mac_key = {key.handle, TOK_TDES, 16, &left};
    uint8_t iv[8] = {0};
    memcpy(iv, challenge, 4);
    const struct tok_mac_input input = {.iv = iv, .data = made.apdu, .len = made.apdu_len - 4};
    size_t mac_len;
    ck_assert_ok(tok_mac_run(pay_session, TOK_MAC_ALG3_PAD2, &mac_key, &input, mac, &mac_len, &pay_err),
                 pay_err);
    ck_assert(secret_equal(mac, made.apdu + 29, 4));
    expect_kcv_and_blob(&made, TOK_TDES);
}
END_TEST

START_TEST(script_keeps_to_the_policy)
{
    struct tok_card_script made;
    pay_policy(TOK_EXPOSURE_IN_TOKEN);
    const struct tok_card_request pboc = request_of(TOK_CARD_PBOC, TOK_TDES),
                                  aes = request_of(TOK_CARD_AES, TOK_TDES);
    ck_assert_int_eq(tok_card_script(pay_session, &pboc, &made, &pay_err),
                     pay_kind == TOKEN_NSS ? ERR_OK : ERR_DENIED);
    ck_assert_ok(tok_card_script(pay_session, &aes, &made, &pay_err), pay_err);
    ck_assert_int_eq(made.grade, TOK_IN_TOKEN);
}
END_TEST

static enum err_code refused(const struct tok_card_request *request)
{
    struct tok_card_script made;
    const size_t before = pay_object_count();
    const enum err_code code = tok_card_script(pay_session, request, &made, &pay_err);
    ck_assert_uint_eq(pay_object_count(), before);
    return code;
}

START_TEST(script_refuses_wrong_requests)
{
    const enum tok_card_profile profile = _i == 0 ? TOK_CARD_AES : TOK_CARD_PBOC;
    const struct tok_card_request right = request_of(profile, TOK_TDES);
    struct tok_card_request request = right;
    for (size_t len = 0; len <= 9; len++) {
        request.challenge_len = len;
        ck_assert_int_eq(refused(&request), len == right.challenge_len ? ERR_OK : ERR_INPUT);
    }
    request = right;
    request.challenge = NULL;
    ck_assert_int_eq(refused(&request), ERR_INPUT);
    request = right;
    request.psam_number = "123456789012345";
    ck_assert_int_eq(refused(&request), ERR_INPUT);
    request.psam_number = "123456789012345678901";
    ck_assert_int_eq(refused(&request), ERR_INPUT);
    request.psam_number = "12345678901234567x";
    ck_assert_int_eq(refused(&request), ERR_INPUT);
    request = right;
    request.suite = (enum tok_suite)0;
    ck_assert_int_eq(refused(&request), ERR_INPUT);
    request.suite = (enum tok_suite)(TOK_AES_256 + 1);
    ck_assert_int_eq(refused(&request), ERR_INPUT);
    request = right;
    request.profile = (enum tok_card_profile)3;
    ck_assert_int_eq(refused(&request), ERR_INPUT);
    static const unsigned versions[] = {0, 256, 2};
    for (size_t i = 0; i < 3; i++) {
        const enum err_code code = versions[i] == 2 ? ERR_NOT_FOUND : ERR_INPUT;
        request = right;
        request.master_version = versions[i];
        ck_assert_int_eq(refused(&request), code);
        request = right;
        request.control_version = versions[i];
        ck_assert_int_eq(refused(&request), code);
    }
}
END_TEST

START_TEST(script_refuses_wrap_versions_that_the_suite_has_not)
{
    static const struct {
        enum tok_suite suite;
        unsigned wrap_version;
    } rows[] = {{TOK_TDES, 2}, {TOK_TDES, 3}, {TOK_AES_128, 3}, {TOK_AES_256, 256}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tok_card_request request = request_of(TOK_CARD_AES, rows[i].suite);
        request.wrap_version = rows[i].wrap_version;
        ck_assert_int_eq(refused(&request), ERR_INPUT);
        ck_assert_ptr_nonnull(strstr(pay_err.note, "wrap version"));
    }
}
END_TEST

START_TEST(script_pboc_takes_tdes_only)
{
    const struct tok_card_request aes_128 = request_of(TOK_CARD_PBOC, TOK_AES_128),
                                  aes_256 = request_of(TOK_CARD_PBOC, TOK_AES_256);
    ck_assert_int_eq(refused(&aes_128), ERR_INPUT);
    ck_assert_int_eq(refused(&aes_256), ERR_INPUT);
}
END_TEST

static void add_all(TCase *tcase)
{
    tcase_add_loop_test(tcase, script_aes_carries_the_tmk, 0, SCRIPTS_AES);
    tcase_add_test(tcase, script_pboc_carries_the_tmk);
    tcase_add_test(tcase, script_keeps_to_the_policy);
    tcase_add_loop_test(tcase, script_refuses_wrong_requests, 0, 2);
    tcase_add_test(tcase, script_refuses_wrap_versions_that_the_suite_has_not);
    tcase_add_test(tcase, script_pboc_takes_tdes_only);
}

int main(void)
{
    return pay_main("p11 card script", add_all);
}

#include "p11/flow/flows.h"
#include "p11/module/state.h"
#include "tests/unit/p11/pay_fixture.h"

/* MAC and data flows by zone keys and blobs. Published MACs are in test_pay_vectors.c; here the same by the
 * public calls. */

static const char iso_text[] = "Now is the time for all ";
static const uint8_t iso_mac[8] = {0xA1, 0xC7, 0x2E, 0x74, 0xEA, 0x3F, 0xA9, 0xB6};

static const uint8_t *text(void)
{
    return (const uint8_t *)iso_text;
}
#define TEXT_BYTES (sizeof iso_text - 1)

static enum err_code make(enum tok_mac algorithm, struct tok_key_ref key, size_t len,
                          uint8_t out_mac[TOK_MAC_BYTES])
{
    static const uint8_t many[TOK_DATA_BYTES + 1];
    struct tok_mac_value mac = {0};
    const struct tok_mac_request request = {
        .algorithm = algorithm, .key = key, .data = len <= TEXT_BYTES ? text() : many, .len = len};
    const enum err_code code = tok_mac_make(pay_session, &request, &mac, &pay_err);
    if (code == ERR_OK) {
        ck_assert_int_eq(mac.grade, TOK_IN_TOKEN);
        ck_assert_uint_eq(mac.len, algorithm == TOK_MAC_CMAC ? 16 : 8);
        memcpy(out_mac, mac.bytes, sizeof mac.bytes);
    }
    return code;
}

START_TEST(mac_of_a_zone_key_is_as_published)
{
    uint8_t mac[TOK_MAC_BYTES];
    const size_t before = pay_object_count();
    ck_assert_ok(make(TOK_MAC_X9_19, pay_zone("bank-a", TOK_TDES), TEXT_BYTES, mac), pay_err);
    ck_assert(secret_equal(mac, iso_mac, 8));
    ck_assert_ok(make(TOK_MAC_ALG3_PAD2, pay_zone("bank-a", TOK_TDES), TEXT_BYTES, mac), pay_err);
    ck_assert(secret_equal(mac, "\xE9\x08\x62\x30\xCA\x3B\xE7\x96", 8));
    ck_assert_uint_eq(pay_object_count(), before);
}
END_TEST

static enum err_code check_under(enum tok_mac algorithm, struct tok_key_ref key, const uint8_t *mac,
                                 size_t len, bool *out_matches)
{
    const struct tok_mac_request request = {
        .algorithm = algorithm, .key = key, .data = text(), .len = TEXT_BYTES, .mac = mac, .mac_len = len};
    enum tok_grade grade;
    return tok_mac_check(pay_session, &request, out_matches, &grade, &pay_err);
}

static enum err_code check(enum tok_mac algorithm, const uint8_t *mac, size_t len, bool *out_matches)
{
    const enum tok_suite suite = algorithm == TOK_MAC_CMAC ? TOK_AES_128 : TOK_TDES;
    return check_under(algorithm, pay_zone("bank-a", suite), mac, len, out_matches);
}

START_TEST(mac_check_takes_the_leftmost_part_and_no_other)
{
    static const enum tok_mac algorithms[] = {TOK_MAC_X9_19, TOK_MAC_ALG1_PAD1, TOK_MAC_CMAC,
                                              TOK_MAC_UNIONPAY};
    for (size_t a = 0; a < 4; a++) {
        const bool cmac = algorithms[a] == TOK_MAC_CMAC;
        const size_t shortest = algorithms[a] == TOK_MAC_UNIONPAY ? 8 : 4, longest = cmac ? 16 : 8;
        uint8_t mac[TOK_MAC_BYTES + 1] = {0};
        ck_assert_ok(make(algorithms[a], pay_zone("bank-a", cmac ? TOK_AES_128 : TOK_TDES), TEXT_BYTES, mac),
                     pay_err);
        for (size_t len = 0; len <= sizeof mac; len++) {
            bool matches = false;
            const enum err_code code = check(algorithms[a], mac, len, &matches);
            ck_assert_int_eq(code, len < shortest || len > longest ? ERR_INPUT : ERR_OK);
            ck_assert(matches == (code == ERR_OK));
        }
        for (size_t bit = 0; bit < 8 * longest; bit++) {
            bool matches = true;
            mac[bit / 8] ^= (uint8_t)(1 << bit % 8);
            ck_assert_ok(check(algorithms[a], mac, longest, &matches), pay_err);
            ck_assert(!matches);
            mac[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}
END_TEST

START_TEST(mac_refuses_wrong_sizes_and_algorithms)
{
    const struct tok_key_ref key = pay_zone("bank-a", TOK_TDES), none = {0};
    uint8_t mac[TOK_MAC_BYTES];
    ck_assert_int_eq(make(TOK_MAC_X9_19, key, 0, mac), ERR_INPUT);
    ck_assert_ok(make(TOK_MAC_X9_19, key, TOK_DATA_BYTES, mac), pay_err);
    ck_assert_ok(make(TOK_MAC_ALG1_PAD2, key, TOK_DATA_BYTES, mac), pay_err);
    ck_assert_int_eq(make(TOK_MAC_X9_19, key, TOK_DATA_BYTES + 1, mac), ERR_LIMIT);
    ck_assert_int_eq(make((enum tok_mac)0, key, 8, mac), ERR_INPUT);
    ck_assert_int_eq(make((enum tok_mac)(TOK_MAC_CMAC + 1), key, 8, mac), ERR_INPUT);
    ck_assert_int_eq(make(TOK_MAC_CMAC, key, 8, mac), ERR_INPUT);
    ck_assert_int_eq(make(TOK_MAC_X9_19, pay_zone("bank-a", TOK_AES_128), 8, mac), ERR_INPUT);
    ck_assert_int_eq(make(TOK_MAC_X9_9, key, 8, mac), ERR_INPUT);
    ck_assert_int_eq(make(TOK_MAC_X9_19, none, 8, mac), ERR_INPUT);
    ck_assert_int_eq(make(TOK_MAC_X9_19, pay_zone("bank-x", TOK_TDES), 8, mac), ERR_NOT_FOUND);
}
END_TEST

/* By a terminal's key of either length: what the HSM makes it also accepts, under another key it does not. */
START_TEST(mac_of_a_working_key_checks)
{
    static const enum tok_mac algorithms[] = {TOK_MAC_UNIONPAY,  TOK_MAC_X9_9,      TOK_MAC_X9_19,
                                              TOK_MAC_ALG1_PAD1, TOK_MAC_ALG1_PAD2, TOK_MAC_ALG3_PAD2};
    struct tok_working_key single, pair, other;
    pay_working(TOK_TDES, TOK_MAK, 8, &single);
    pay_working(TOK_TDES, TOK_MAK, 16, &pair);
    pay_working(TOK_TDES, TOK_MAK, 16, &other);
    for (size_t a = 0; a < sizeof algorithms / sizeof *algorithms; a++) {
        const bool single_only = algorithms[a] == TOK_MAC_X9_9;
        const struct tok_key_ref key = pay_blob(single_only ? &single : &pair), foreign = pay_blob(&other);
        uint8_t mac[TOK_MAC_BYTES];
        bool matches = false;
        ck_assert_ok(make(algorithms[a], key, TEXT_BYTES, mac), pay_err);
        ck_assert_ok(check_under(algorithms[a], key, mac, 8, &matches), pay_err);
        ck_assert(matches);
        if (single_only)
            continue;
        ck_assert_ok(check_under(algorithms[a], foreign, mac, 8, &matches), pay_err);
        ck_assert(!matches);
    }
}
END_TEST

START_TEST(mac_of_an_aes_working_key_checks)
{
    static const enum tok_suite suites[] = {TOK_AES_128, TOK_AES_256};
    struct tok_working_key mak;
    uint8_t mac[TOK_MAC_BYTES];
    bool matches = false;
    pay_working(suites[_i], TOK_MAK, 16, &mak);
    const struct tok_key_ref key = pay_blob(&mak);
    ck_assert_ok(make(TOK_MAC_CMAC, key, TEXT_BYTES, mac), pay_err);
    ck_assert_ok(check_under(TOK_MAC_CMAC, key, mac, 8, &matches), pay_err);
    ck_assert(matches);
    ck_assert_int_eq(make(TOK_MAC_UNIONPAY, key, TEXT_BYTES, mac), ERR_INPUT);
}
END_TEST

START_TEST(mac_under_a_single_key_is_one_des)
{
    struct tok_working_key single;
    uint8_t retail[TOK_MAC_BYTES], cbc[TOK_MAC_BYTES];
    pay_working(TOK_TDES, TOK_MAK, 8, &single);
    ck_assert_ok(make(TOK_MAC_X9_19, pay_blob(&single), TEXT_BYTES, retail), pay_err);
    ck_assert_ok(make(TOK_MAC_X9_9, pay_blob(&single), TEXT_BYTES, cbc), pay_err);
    ck_assert(secret_equal(retail, cbc, 8));
}
END_TEST

START_TEST(keys_of_another_usage_are_denied)
{
    static const enum tok_usage usages[] = {TOK_PIK, TOK_MAK, TOK_TDK};
    uint8_t mac[TOK_MAC_BYTES], data[16] = {0}, block[16];
    enum tok_grade grade;
    size_t len;
    for (size_t u = 0; u < 3; u++) {
        struct tok_working_key key;
        pay_working(TOK_TDES, usages[u], 16, &key);
        const struct tok_key_ref ref = pay_blob(&key);
        const struct tok_pin_request from = {.source = ref,
                                             .destination = pay_zone("bank-a", TOK_TDES),
                                             .source_format = TOK_PIN_0,
                                             .destination_format = TOK_PIN_0,
                                             .pan = "5555555551234567",
                                             .block = data,
                                             .block_len = 8};
        const struct tok_data_request ecb = {.mode = TOK_ECB, .key = ref, .data = data, .len = 8};
        struct tok_pin_request to = from;
        to.source = from.destination;
        to.destination = ref;
        ck_assert((make(TOK_MAC_UNIONPAY, ref, 8, mac) == ERR_DENIED) == (usages[u] != TOK_MAK));
        ck_assert((tok_data_encrypt(pay_session, &ecb, mac, &grade, &pay_err) == ERR_DENIED) ==
                  (usages[u] != TOK_TDK));
        ck_assert((tok_data_decrypt(pay_session, &ecb, mac, &grade, &pay_err) == ERR_DENIED) ==
                  (usages[u] != TOK_TDK));
        ck_assert((tok_pin_translate(pay_session, &from, block, &len, &grade, &pay_err) == ERR_DENIED) ==
                  (usages[u] != TOK_PIK));
        /* no blob is a destination, a PIK's neither */
        ck_assert_int_eq(tok_pin_translate(pay_session, &to, block, &len, &grade, &pay_err), ERR_DENIED);
    }
}
END_TEST

/* A zone key whose left half is gone may still be cut, by a token that lets it; else the call says what is
 * missing. */
START_TEST(mac_of_a_key_without_its_half_is_cut_or_refused)
{
    static const char label[] = "posward/zone-mac/bank-a/tdes/1/left";
    static CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE wanted[] = {{CKA_LABEL, (void *)(uintptr_t)label, sizeof label - 1},
                             {CKA_TOKEN, &yes, sizeof yes}};
    CK_FUNCTION_LIST *fn = pay_session->fn;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE handles[2];
    CK_ULONG count = 0;
    uint8_t mac[TOK_MAC_BYTES];
    ck_assert_uint_eq(
        fn->C_OpenSession(pay_tok->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), CKR_OK);
    ck_assert_uint_eq(fn->C_FindObjectsInit(session, wanted, 2), CKR_OK);
    ck_assert_uint_eq(fn->C_FindObjects(session, handles, 2, &count), CKR_OK);
    ck_assert_uint_eq(fn->C_FindObjectsFinal(session), CKR_OK);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(fn->C_DestroyObject(session, handles[0]), CKR_OK);
    ck_assert_uint_eq(fn->C_CloseSession(session), CKR_OK);
    pay_policy(TOK_EXPOSURE_ANY); /* loads the keys anew */

    const size_t before = pay_object_count();
    const enum err_code code = make(TOK_MAC_X9_19, pay_zone("bank-a", TOK_TDES), TEXT_BYTES, mac);
    /* NSS wraps a key that may not leave (facts/pkcs11.md), so it can be cut there. */
    ck_assert_int_eq(code, pay_kind == TOKEN_NSS ? ERR_OK : ERR_UNSUPPORTED);
    ck_assert(code != ERR_OK || secret_equal(mac, iso_mac, 8));
    ck_assert(code == ERR_OK || strstr(pay_err.note, "left half") != NULL);
    ck_assert_uint_eq(pay_object_count(), before);
    ck_assert_ok(make(TOK_MAC_UNIONPAY, pay_zone("bank-a", TOK_TDES), TEXT_BYTES, mac), pay_err);
}
END_TEST

/* ---- data ---- */

struct data_row {
    enum tok_suite suite;
    enum tok_cipher mode;
    uint8_t right[16];
};
/* 10 11 .. 1F, IV 01 02 ..; by OpenSSL */
static const struct data_row data_rows[] = {
    {TOK_TDES,
     TOK_ECB,
     {0x50, 0x59, 0x4B, 0x67, 0x4F, 0xF3, 0x1C, 0xEF, 0xBF, 0xB5, 0xB8, 0xAD, 0xBB, 0xEC, 0x3E, 0x2A}},
    {TOK_TDES,
     TOK_CBC,
     {0x48, 0x19, 0x24, 0xAF, 0xFC, 0x41, 0x6F, 0x1C, 0x70, 0x44, 0xC6, 0xC8, 0x97, 0x78, 0x69, 0x62}},
    {TOK_AES_128,
     TOK_ECB,
     {0xC8, 0x4A, 0xF0, 0xB6, 0x13, 0x43, 0x5D, 0x5D, 0x91, 0x82, 0x80, 0x1A, 0x9B, 0xD9, 0x32, 0x0B}},
    {TOK_AES_128,
     TOK_CBC,
     {0x2B, 0xD1, 0x5F, 0x12, 0xFC, 0x2C, 0x6D, 0xEB, 0x33, 0xA7, 0x6A, 0x56, 0x63, 0xAD, 0x6B, 0xB6}},
};
static const uint8_t iv[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

START_TEST(data_goes_there_and_back)
{
    const struct data_row *row = &data_rows[_i];
    uint8_t data[16], cipher[16], back[16];
    struct tok_data_request request = {
        .mode = row->mode, .key = pay_zone("bank-a", row->suite), .data = data, .len = sizeof data};
    if (row->mode == TOK_CBC) {
        request.iv = iv;
        request.iv_bytes = row->suite == TOK_TDES ? 8 : 16;
    }
    enum tok_grade grade = 0;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(0x10 + i);
    const size_t before = pay_object_count();
    ck_assert_ok(tok_data_encrypt(pay_session, &request, cipher, &grade, &pay_err), pay_err);
    ck_assert_mem_eq(cipher, row->right, 16);
    ck_assert_int_eq(grade, TOK_IN_TOKEN);
    request.data = cipher;
    ck_assert_ok(tok_data_decrypt(pay_session, &request, back, &grade, &pay_err), pay_err);
    ck_assert_mem_eq(back, data, 16);
    ck_assert_uint_eq(pay_object_count(), before);
}
END_TEST

static enum err_code encrypt(enum tok_cipher mode, enum tok_suite suite, size_t iv_bytes, size_t len)
{
    static const uint8_t data[TOK_DATA_BYTES + 16];
    static uint8_t out[TOK_DATA_BYTES + 16];
    const struct tok_data_request request = {.mode = mode,
                                             .key = pay_zone("bank-a", suite),
                                             .iv = iv_bytes > 0 ? iv : NULL,
                                             .iv_bytes = iv_bytes,
                                             .data = data,
                                             .len = len};
    enum tok_grade grade;
    const enum err_code code = tok_data_encrypt(pay_session, &request, out, &grade, &pay_err);
    ck_assert_int_eq(tok_data_decrypt(pay_session, &request, out, &grade, &pay_err), code);
    return code;
}

START_TEST(data_refuses_what_is_not_whole)
{
    for (size_t len = 0; len <= 33; len++) {
        ck_assert_int_eq(encrypt(TOK_ECB, TOK_TDES, 0, len), len > 0 && len % 8 == 0 ? ERR_OK : ERR_INPUT);
        ck_assert_int_eq(encrypt(TOK_CBC, TOK_AES_128, 16, len),
                         len > 0 && len % 16 == 0 ? ERR_OK : ERR_INPUT);
    }
    ck_assert_ok(encrypt(TOK_ECB, TOK_AES_128, 0, TOK_DATA_BYTES), pay_err);
    ck_assert_int_eq(encrypt(TOK_ECB, TOK_AES_128, 0, TOK_DATA_BYTES + 16), ERR_LIMIT);
    ck_assert_int_eq(encrypt((enum tok_cipher)3, TOK_AES_128, 16, 16), ERR_INPUT);
}
END_TEST

/* An iv of the other cipher's block would be read past its end, or cut. */
START_TEST(data_takes_an_iv_of_the_keys_own_block_only)
{
    for (size_t len = 0; len <= 16; len++) {
        ck_assert_int_eq(encrypt(TOK_CBC, TOK_TDES, len, 16), len == 8 ? ERR_OK : ERR_INPUT);
        ck_assert_int_eq(encrypt(TOK_CBC, TOK_AES_128, len, 16), len == 16 ? ERR_OK : ERR_INPUT);
        ck_assert_int_eq(encrypt(TOK_ECB, TOK_TDES, len, 16), len == 0 ? ERR_OK : ERR_INPUT);
    }
}
END_TEST

START_TEST(data_of_a_working_key_goes_there_and_back)
{
    static const uint8_t data[16] = "6222620910029130";
    static const enum tok_suite suites[] = {TOK_TDES, TOK_AES_128, TOK_AES_256};
    struct tok_working_key tdk;
    uint8_t cipher[16], back[16];
    enum tok_grade grade;
    pay_working(suites[_i], TOK_TDK, 16, &tdk);
    struct tok_data_request request = {.mode = TOK_ECB, .key = pay_blob(&tdk), .data = data, .len = 16};
    ck_assert_ok(tok_data_encrypt(pay_session, &request, cipher, &grade, &pay_err), pay_err);
    ck_assert_mem_ne(cipher, data, 16);
    request.data = cipher;
    ck_assert_ok(tok_data_decrypt(pay_session, &request, back, &grade, &pay_err), pay_err);
    ck_assert_mem_eq(back, data, 16);
}
END_TEST

static void add_all(TCase *tcase)
{
    tcase_add_test(tcase, mac_of_a_zone_key_is_as_published);
    tcase_add_test(tcase, mac_check_takes_the_leftmost_part_and_no_other);
    tcase_add_test(tcase, mac_refuses_wrong_sizes_and_algorithms);
    tcase_add_test(tcase, mac_of_a_working_key_checks);
    tcase_add_loop_test(tcase, mac_of_an_aes_working_key_checks, 0, 2);
    tcase_add_test(tcase, mac_under_a_single_key_is_one_des);
    tcase_add_test(tcase, keys_of_another_usage_are_denied);
    tcase_add_test(tcase, mac_of_a_key_without_its_half_is_cut_or_refused);
    tcase_add_loop_test(tcase, data_goes_there_and_back, 0, (int)(sizeof data_rows / sizeof *data_rows));
    tcase_add_test(tcase, data_refuses_what_is_not_whole);
    tcase_add_test(tcase, data_takes_an_iv_of_the_keys_own_block_only);
    tcase_add_loop_test(tcase, data_of_a_working_key_goes_there_and_back, 0, 3);
}

int main(void)
{
    return pay_main("p11 mac and data", add_all);
}

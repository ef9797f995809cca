/* Working keys end to end: the token's answer against a card made of libcrypto that knows the master key. */
#include "p11/flow/blob.h"
#include "p11/flow/diversify.h"
#include "p11/flow/flows.h"
#include "p11/object/template.h"
#include "p11/probe/probe.h"
#include "tests/support/softcrypto.h"
#include "tests/support/tap.h"
#include "tests/unit/p11/harness.h"

static const uint8_t tdes_master[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
                                        0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10};
static const uint8_t aes_master[32] = {"an AES master key for tests only"};
static const char psam_number[] = "62010000001234567890";

/* The card's TMK by the rules of p11/flow/diversify.c, written a second time. */
static void software_tmk(enum tok_suite suite, uint8_t out_tmk[32])
{
    uint8_t data[32] = {0x00, 0x00, 0x00, 0x12, 0x34, 0x56, 0x78, 0x90};
    static const uint8_t bcd[10] = {0x62, 0x01, 0x00, 0x00, 0x00, 0x12, 0x34, 0x56, 0x78, 0x90};
    if (suite == TOK_TDES) {
        for (size_t i = 0; i < 8; i++)
            data[8 + i] = (uint8_t)~data[i];
        soft_cipher(SOFT_TDES_ECB, true, tdes_master, data, 16, out_tmk);
        return;
    }
    const uint8_t len = suite == TOK_AES_256 ? 32 : 16;
    for (uint8_t i = 0; i < len / 16; i++) {
        uint8_t *block = data + (size_t)16 * i;
        memset(block, 0, 16);
        block[0] = 1;
        block[1] = (uint8_t)(i + 1);
        block[2] = len;
        memcpy(block + 6, bcd, sizeof bcd);
    }
    soft_cipher(SOFT_AES_256_ECB, true, aes_master, data, len, out_tmk);
}

/* The key of one usage under it, by the rule that card makers read in deploy/docs/card-aes.md. */
static void software_kek(enum tok_suite suite, enum tok_usage usage, const uint8_t *tmk, uint8_t out_kek[32])
{
    const uint8_t len = suite == TOK_AES_256 ? 32 : 16;
    const uint8_t on_card = usage == TOK_PIK ? 0x0D : usage == TOK_MAK ? 0x06 : 0x07;
    const uint8_t data[32] = {[0] = 3, 1, len, on_card, [16] = 3, 2, len, on_card};
    soft_cipher(len == 32 ? SOFT_AES_256_ECB : SOFT_AES_128_ECB, true, tmk, data, len, out_kek);
}

static struct tok *open_with_keys(int kind)
{
    struct tok *tok = open_copy(kind);
    import(tok, (struct tok_key_name){.role = TOK_PSAM_MASTER, .suite = TOK_TDES, .version = 1}, tdes_master,
           16);
    import(tok, (struct tok_key_name){.role = TOK_PSAM_MASTER, .suite = TOK_AES_256, .version = 1},
           aes_master, 32);
    generate(tok, TOK_STORAGE, TOK_AES_256, 1, "");
    generate(tok, TOK_BLOB_TAG, TOK_AES_256, 1, "");
    ck_assert_ok(tok_ways_probe(tok, TOK_EXPOSURE_IN_TOKEN, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    return tok;
}

static const struct {
    enum tok_suite suite;
    enum tok_usage usage;
    unsigned key_bytes, wrap_version;
} requests[] = {
    {TOK_TDES, TOK_PIK, 8},        {TOK_TDES, TOK_PIK, 16},       {TOK_TDES, TOK_MAK, 8},
    {TOK_TDES, TOK_MAK, 16},       {TOK_TDES, TOK_TDK, 8},        {TOK_TDES, TOK_TDK, 16},
    {TOK_AES_128, TOK_PIK, 16},    {TOK_AES_128, TOK_MAK, 16},    {TOK_AES_128, TOK_TDK, 16},
    {TOK_AES_256, TOK_PIK, 16},    {TOK_AES_256, TOK_MAK, 16},    {TOK_AES_256, TOK_TDK, 16},
    {TOK_AES_128, TOK_PIK, 16, 2}, {TOK_AES_128, TOK_MAK, 16, 2}, {TOK_AES_128, TOK_TDK, 16, 2},
    {TOK_AES_256, TOK_PIK, 16, 2}, {TOK_AES_256, TOK_MAK, 16, 2}, {TOK_AES_256, TOK_TDK, 16, 2},
    {TOK_AES_256, TOK_PIK, 16, 1}, /* the same as 0 */
};
#define REQUESTS (sizeof requests / sizeof requests[0])

static struct tok_working_request request_of(size_t i)
{
    return (struct tok_working_request){.psam_number = psam_number,
                                        .suite = requests[i].suite,
                                        .master_version = 1,
                                        .usage = requests[i].usage,
                                        .key_bytes = requests[i].key_bytes,
                                        .wrap_version = requests[i].wrap_version};
}

static bool unwraps(enum tok_suite suite, const uint8_t *kek, const struct tok_working_key *made)
{
    return soft_unwraps(suite == TOK_AES_256 ? SOFT_AES_256_WRAP : SOFT_AES_128_WRAP, kek, made->cryptogram,
                        made->cryptogram_len);
}

/* What the card holds after sign-in: 16 bytes, K||K for a single-length key. Checks the KCV as a card does.
 */
static void card_takes(size_t i, const struct tok_working_key *made, uint8_t out_key[16])
{
    static const uint8_t zeros[8];
    uint8_t tmk[32], kcv[16];
    software_tmk(requests[i].suite, tmk);
    if (requests[i].suite == TOK_TDES) {
        ck_assert_uint_eq(made->cryptogram_len, requests[i].key_bytes);
        soft_cipher(SOFT_TDES_ECB, false, tmk, made->cryptogram, made->cryptogram_len, out_key);
        if (requests[i].key_bytes == 8)
            memcpy(out_key + 8, out_key, 8);
        soft_cipher(SOFT_TDES_ECB, true, out_key, zeros, 8, kcv);
    } else {
        const bool long_tmk = requests[i].suite == TOK_AES_256;
        ck_assert_uint_eq(made->cryptogram_len, 24);
        if (requests[i].wrap_version == 2)
            software_kek(requests[i].suite, requests[i].usage, tmk, tmk);
        soft_cipher(long_tmk ? SOFT_AES_256_WRAP : SOFT_AES_128_WRAP, false, tmk, made->cryptogram, 24,
                    out_key);
        soft_aes_kcv(out_key, 16, kcv);
    }
    ck_assert_mem_eq(kcv, made->kcv, 4);
}

static enum tok_role zone_role(enum tok_usage usage)
{
    return usage == TOK_PIK ? TOK_ZONE_PIN : usage == TOK_MAK ? TOK_ZONE_MAC : TOK_ZONE_DATA;
}

/* The token's own copy is the same key: the same check value, and for keys that encipher the same cipher. */
static void token_holds(struct tok_session *s, size_t i, const struct tok_working_key *made,
                        const uint8_t key[16])
{
    static const uint8_t text[16] = "not a whole word";
    const struct tok_key_ref ref = {.blob = made->blob, .blob_len = made->blob_len};
    const bool tdes = requests[i].suite == TOK_TDES;
    AUTO(tok_opened) opened = {0};
    uint8_t got[16], want[16];
    ck_assert_ok(
        tok_open_ref(s, &ref,
                     &(struct tok_need){(int)requests[i].usage, zone_role(requests[i].usage), TOK_OPEN},
                     &opened, &e),
        e);
    ck_assert_uint_eq(opened.key_bytes, requests[i].key_bytes);
    ck_assert_int_eq(opened.suite, tdes ? TOK_TDES : TOK_AES_128);
    if (requests[i].usage == TOK_PIK && tdes)
        return; /* policy is in_token here: such a key only unwraps */
    if (requests[i].usage == TOK_MAK && !tdes) {
        ck_assert_ok(tok_object_kcv(s, opened.handle, TOK_AES_128, got, 16, &e), e);
        soft_aes_kcv(key, 16, want);
        ck_assert_mem_eq(got, want, 16);
        return;
    }
    CK_MECHANISM ecb = {.mechanism = tdes ? CKM_DES3_ECB : CKM_AES_ECB};
    const bool enciphers = requests[i].usage != TOK_PIK;
    ck_assert_ok(enciphers ? tok_encrypt(s, &ecb, opened.handle, text, 16, got, &e)
                           : tok_decrypt(s, &ecb, opened.handle, text, 16, got, &e),
                 e);
    soft_cipher(tdes ? SOFT_TDES_ECB : SOFT_AES_128_ECB, enciphers, key, text, 16, want);
    ck_assert_mem_eq(got, want, 16);

    ck_assert_int_eq(opened.left != 0, tdes && requests[i].usage == TOK_MAK && requests[i].key_bytes == 16);
    if (opened.left == 0)
        return;
    uint8_t twice[16];
    memcpy(twice, key, 8);
    memcpy(twice + 8, key, 8);
    ck_assert_ok(tok_encrypt(s, &ecb, opened.left, text, 16, got, &e), e);
    soft_cipher(SOFT_TDES_ECB, true, twice, text, 16, want);
    ck_assert_mem_eq(got, want, 16);
}

START_TEST(working_key_is_the_same_for_card_and_token)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    for (size_t i = 0; i < REQUESTS; i++) {
        const struct tok_working_request request = request_of(i);
        struct tok_working_key made;
        uint8_t key[16];
        ck_assert_ok(tok_working_key(s, &request, &made, &e), e);
        ck_assert_int_eq(made.grade, TOK_IN_TOKEN);
        card_takes(i, &made, key);
        token_holds(s, i, &made, key);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(working_keys_differ_each_time)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    for (size_t i = 0; i < REQUESTS; i++) {
        const struct tok_working_request request = request_of(i);
        struct tok_working_key a, b;
        ck_assert_ok(tok_working_key(s, &request, &a, &e), e);
        ck_assert_ok(tok_working_key(s, &request, &b, &e), e);
        ck_assert_mem_ne(a.cryptogram, b.cryptogram, a.cryptogram_len);
        ck_assert_mem_ne(a.kcv, b.kcv, 4);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(working_keys_leave_no_objects)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    const size_t before = count_objects(s);
    for (size_t i = 0; i < REQUESTS; i++) {
        const struct tok_working_request request = request_of(i);
        struct tok_working_key made;
        ck_assert_ok(tok_working_key(s, &request, &made, &e), e);
    }
    ck_assert_uint_eq(count_objects(s), before);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

/* What form 2 adds: the algorithm that was asked for, or the suite's; the sign-in that was given, or a fresh
 * one.
 */
START_TEST(working_key_is_bound_to_its_sign_in_and_algorithm)
{
    static const uint8_t zeros[TOK_SIGN_IN_BYTES];
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    uint8_t sign_in[TOK_SIGN_IN_BYTES], other[TOK_SIGN_IN_BYTES];
    ck_assert_ok(tok_sign_in_new(s, sign_in, &e), e);
    ck_assert_ok(tok_sign_in_new(s, other, &e), e);
    ck_assert_mem_ne(sign_in, other, sizeof other);
    for (size_t i = 0; i < REQUESTS; i++) {
        struct tok_working_request request = request_of(i);
        const bool mak = request.usage == TOK_MAK, tdes = request.suite == TOK_TDES;
        struct tok_working_key made;
        struct tok_blob_info info, alone;
        ck_assert_ok(tok_working_key(s, &request, &made, &e), e);
        ck_assert_ok(tok_blob_info(s, made.blob, made.blob_len, &alone, &e), e);
        ck_assert_uint_eq(alone.form, 2);
        ck_assert_mem_ne(alone.sign_in, zeros, sizeof zeros);
        ck_assert_int_eq(alone.mac_algorithm, !mak ? 0 : tdes ? TOK_MAC_UNIONPAY : TOK_MAC_CMAC);
        request.sign_in = sign_in;
        request.mac_algorithm = mak && tdes ? TOK_MAC_ALG3_PAD2 : alone.mac_algorithm;
        ck_assert_ok(tok_working_key(s, &request, &made, &e), e);
        ck_assert_ok(tok_blob_info(s, made.blob, made.blob_len, &info, &e), e);
        ck_assert_mem_eq(info.sign_in, sign_in, sizeof sign_in);
        ck_assert_mem_ne(alone.sign_in, sign_in, sizeof sign_in);
        ck_assert_int_eq(info.mac_algorithm, request.mac_algorithm);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(working_key_refuses_bad_requests)
{
    static const struct {
        struct tok_working_request request;
        enum err_code code;
        const char *note;
    } bad[] = {
        {{"6201000000123456789012", TOK_TDES, 1, TOK_PIK, 16}, ERR_INPUT, "PSAM"},
        {{"123456789012345", TOK_TDES, 1, TOK_PIK, 16}, ERR_INPUT, "PSAM"},
        {{"62010000O01234567890", TOK_TDES, 1, TOK_PIK, 16}, ERR_INPUT, "PSAM"},
        {{NULL, TOK_TDES, 1, TOK_PIK, 16}, ERR_INPUT, "PSAM"},
        {{psam_number, TOK_TDES, 2, TOK_PIK, 16}, ERR_NOT_FOUND, "posward/psam-master/tdes/2"},
        {{psam_number, TOK_AES_128, 7, TOK_PIK, 16}, ERR_NOT_FOUND, "posward/psam-master/aes-256/7"},
        {{psam_number, TOK_TDES, 0, TOK_PIK, 16}, ERR_INPUT, "version"},
        {{psam_number, TOK_TDES, 1, TOK_TMK, 16}, ERR_INPUT, "PIK"},
        {{psam_number, TOK_TDES, 1, TOK_PIK, 24}, ERR_INPUT, "24 bytes"},
        {{psam_number, TOK_AES_128, 1, TOK_PIK, 8}, ERR_INPUT, "8 bytes"},
        {{psam_number, TOK_AES_256, 1, TOK_PIK, 32}, ERR_INPUT, "32 bytes"},
        {{psam_number, (enum tok_suite)4, 1, TOK_PIK, 16}, ERR_INPUT, "suite"},
        {{psam_number, TOK_TDES, 1, TOK_PIK, 16, TOK_MAC_UNIONPAY}, ERR_INPUT, "MAC algorithm 1"},
        {{psam_number, TOK_TDES, 1, TOK_TDK, 16, TOK_MAC_X9_19}, ERR_INPUT, "TDK"},
        {{psam_number, TOK_TDES, 1, TOK_MAK, 16, TOK_MAC_X9_9}, ERR_INPUT, "MAC algorithm 2"},
        {{psam_number, TOK_TDES, 1, TOK_MAK, 16, TOK_MAC_CMAC}, ERR_INPUT, "MAC algorithm 7"},
        {{psam_number, TOK_AES_128, 1, TOK_MAK, 16, TOK_MAC_X9_19}, ERR_INPUT, "MAC algorithm 3"},
        {{psam_number, TOK_TDES, 1, TOK_MAK, 16, (enum tok_mac)8}, ERR_INPUT, "MAC algorithm 8"},
        {{psam_number, TOK_TDES, 1, TOK_PIK, 16, .wrap_version = 2}, ERR_INPUT, "wrap version 2"},
        {{psam_number, TOK_AES_256, 1, TOK_PIK, 16, .wrap_version = 3}, ERR_INPUT, "wrap version 3"},
    };
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tok_working_key made;
        ck_assert_int_eq(tok_working_key(s, &bad[i].request, &made, &e), bad[i].code);
        ck_assert_msg(strstr(e.note, bad[i].note) != NULL, "%zu: %s", i, e.note);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

static void odd_parity(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)((bytes[i] & 0xFE) | !__builtin_parity(bytes[i] & 0xFE));
}

/* Half a DES key is enough to be a leak; as it is and with odd parity. */
static void tap_saw_none_of(const uint8_t *key, size_t len)
{
    for (size_t at = 0; at + 8 <= len; at += 8) {
        uint8_t half[8];
        memcpy(half, key + at, sizeof half);
        ck_assert_msg(!tap_saw(half, sizeof half), "a key crossed the boundary in clear");
        odd_parity(half, sizeof half);
        ck_assert_msg(!tap_saw(half, sizeof half), "a key crossed the boundary in clear");
    }
}

START_TEST(no_key_crosses_the_token_s_boundary)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    for (size_t i = 0; i < REQUESTS; i++) {
        const struct tok_working_request request = request_of(i);
        struct tok_working_key made;
        struct tok_blob_info info;
        uint8_t key[16], tmk[32];
        tap_on(s);
        ck_assert_ok(tok_working_key(s, &request, &made, &e), e);
        ck_assert_ok(tok_blob_info(s, made.blob, made.blob_len, &info, &e), e);
        tap_off(s);
        card_takes(i, &made, key);
        software_tmk(requests[i].suite, tmk);
        tap_saw_none_of(key, sizeof key);
        tap_saw_none_of(tmk, requests[i].suite == TOK_AES_256 ? 32 : 16);
        if (requests[i].wrap_version == 2) {
            software_kek(requests[i].suite, requests[i].usage, tmk, tmk);
            tap_saw_none_of(tmk, requests[i].suite == TOK_AES_256 ? 32 : 16);
        }
        ck_assert(tap_saw(made.blob, made.blob_len - 16)); /* or the tap is deaf */
        ck_assert(tap_saw(made.cryptogram, 8));
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

/* In version 2 a usage's cryptogram opens under that usage's key alone: not under the TMK, not under
 * another's. */
START_TEST(wrap_version_2_binds_the_usage)
{
    static const enum tok_usage usages[] = {TOK_PIK, TOK_MAK, TOK_TDK};
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    for (size_t i = 0; i < REQUESTS; i++) {
        const struct tok_working_request request = request_of(i);
        struct tok_working_key made;
        uint8_t tmk[32], kek[32];
        if (request.suite == TOK_TDES)
            continue;
        ck_assert_ok(tok_working_key(s, &request, &made, &e), e);
        software_tmk(request.suite, tmk);
        ck_assert_int_eq(unwraps(request.suite, tmk, &made), request.wrap_version != 2);
        for (size_t u = 0; u < sizeof usages / sizeof usages[0]; u++) {
            software_kek(request.suite, usages[u], tmk, kek);
            ck_assert_int_eq(unwraps(request.suite, kek, &made),
                             request.wrap_version == 2 && usages[u] == request.usage);
        }
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

static void expect_uses(struct tok_session *s, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE allowed)
{
    static const CK_ATTRIBUTE_TYPE all[] = {CKA_DERIVE, CKA_WRAP,   CKA_UNWRAP, CKA_ENCRYPT,    CKA_DECRYPT,
                                            CKA_SIGN,   CKA_VERIFY, CKA_TOKEN,  CKA_EXTRACTABLE};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        CK_BBOOL value = 2;
        CK_ATTRIBUTE row = {all[i], &value, sizeof value};
        ck_assert_uint_eq(s->fn->C_GetAttributeValue(s->handle, key, &row, 1), CKR_OK);
        ck_assert_msg(value == (all[i] == allowed), "attribute 0x%lX", all[i]);
    }
}

static void derive_and_look(struct tok_session *s)
{
    const struct tok_child_request child = {psam_number, TOK_AES_256,       TOK_DOMAIN_TMK,
                                            1,           TOK_CHILD_DERIVES, false};
    AUTO(tok_object) tmk = {0};
    AUTO(tok_object) kek = {0};
    AUTO(tok_object) none = {0};
    ck_assert_ok(tok_derive_child(s, &child, &tmk, &e), e);
    ck_assert_ok(tok_derive_kek(s, tmk.handle, TOK_AES_256, TOK_PIK, &kek, &e), e);
    expect_uses(s, tmk.handle, CKA_DERIVE);
    expect_uses(s, kek.handle, CKA_WRAP);
    ck_assert_int_eq(tok_derive_kek(s, tmk.handle, TOK_AES_256, TOK_TMK, &none, &e), ERR_INTERNAL);
    ck_assert_int_eq(tok_derive_kek(s, tmk.handle, TOK_TDES, TOK_PIK, &none, &e), ERR_INTERNAL);
}

/* The TMK derives, its key of a usage wraps, and that is all. */
START_TEST(keys_of_wrap_version_2_do_one_thing)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    derive_and_look(s);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(derived_keys_are_not_readable)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    for (int suite = TOK_TDES; suite <= TOK_AES_256; suite++) {
        for (int use = TOK_CHILD_WRAPS; use <= TOK_CHILD_DERIVES; use++) {
            const struct tok_child_request request = {.psam_number = psam_number,
                                                      .suite = (enum tok_suite)suite,
                                                      .domain = TOK_DOMAIN_TMK,
                                                      .master_version = 1,
                                                      .use = (enum tok_child_use)use};
            AUTO(tok_object) child = {0};
            uint8_t value[32];
            CK_ATTRIBUTE row = {CKA_VALUE, value, sizeof value};
            ck_assert_ok(tok_derive_child(s, &request, &child, &e), e);
            ck_assert(s->fn->C_GetAttributeValue(s->handle, child.handle, &row, 1) ==
                      CKR_ATTRIBUTE_SENSITIVE);
        }
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("p11/working");
    TCase *tc = tcase_create("working");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    tcase_add_loop_test(tc, working_key_is_the_same_for_card_and_token, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, working_keys_differ_each_time, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, working_keys_leave_no_objects, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, working_key_refuses_bad_requests, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, working_key_is_bound_to_its_sign_in_and_algorithm, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, no_key_crosses_the_token_s_boundary, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, wrap_version_2_binds_the_usage, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, keys_of_wrap_version_2_do_one_thing, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, derived_keys_are_not_readable, 0, TOKEN_KIND_COUNT);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

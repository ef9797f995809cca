/* Working keys as a keeper makes them and lets them serve: what a blob is bound to, and how short a key may
 * be. */
#include "tests/unit/hsm-service/keeper_harness.h"

/* ---- What a blob is bound to ---- */

START_TEST(keys_of_one_call_are_of_one_sign_in)
{
    static const Posward__Types__V1__Suite suites[] = {TDES, AES_128, AES_256};
    static const struct key_spec specs[] = {{PIK, 16, NO_MAC}, {MAK, 0, NO_MAC}, {TDK, 16, NO_MAC}};
    open_token(_i);
    for (size_t s = 0; s < COUNT(suites); s++) {
        struct blob one[3], other[3];
        ck_assert_ok(make_keys(suites[s], specs, 3, one), e);
        ck_assert_ok(make_keys(suites[s], specs, 3, other), e);
        const struct tok_blob_info first = info_of(&one[0]);
        for (size_t i = 0; i < 3; i++) {
            const struct tok_blob_info mine = info_of(&one[i]), theirs = info_of(&other[i]);
            ck_assert_uint_eq(mine.form, 2);
            ck_assert_mem_eq(mine.sign_in, first.sign_in, sizeof first.sign_in);
            ck_assert_mem_ne(theirs.sign_in, first.sign_in, sizeof first.sign_in);
        }
        ck_assert_int_eq(info_of(&one[1]).mac_algorithm, suites[s] == TDES ? TOK_MAC_UNIONPAY : TOK_MAC_CMAC);
    }
    close_token();
}
END_TEST

static const struct {
    Posward__Types__V1__Suite suite;
    struct key_spec spec;
    MacAlgorithm serves;
} maks[] = {{TDES, {MAK, 16, NO_MAC}, UNIONPAY},     {TDES, {MAK, 8, NO_MAC}, UNIONPAY},
            {TDES, {MAK, 16, UNIONPAY}, UNIONPAY},   {TDES, {MAK, 8, X9_9}, X9_9},
            {TDES, {MAK, 16, X9_19}, X9_19},         {TDES, {MAK, 8, X9_19}, X9_19},
            {TDES, {MAK, 16, ALG1_PAD1}, ALG1_PAD1}, {TDES, {MAK, 16, ALG1_PAD2}, ALG1_PAD2},
            {TDES, {MAK, 0, ALG3_PAD2}, ALG3_PAD2},  {AES_128, {MAK, 16, NO_MAC}, CMAC},
            {AES_256, {MAK, 0, CMAC}, CMAC}};

static void expect_bound(enum err_code code, MacAlgorithm asked, MacAlgorithm serves)
{
    static const char *const names[] = {[UNIONPAY] = "UNIONPAY_ECB",
                                        [X9_9] = "X9_9",
                                        [X9_19] = "X9_19",
                                        [ALG1_PAD1] = "ISO9797_1_ALG1_PAD1",
                                        [ALG1_PAD2] = "ISO9797_1_ALG1_PAD2",
                                        [ALG3_PAD2] = "ISO9797_1_ALG3_PAD2",
                                        [CMAC] = "AES_CMAC"};
    ck_assert_msg(code == (asked == serves ? ERR_OK : ERR_DENIED), "%s of a MAK for %s: %s", names[asked],
                  names[serves], e.note);
    if (code == ERR_OK)
        return;
    ck_assert_ptr_nonnull(strstr(e.note, names[asked]));
    ck_assert_ptr_nonnull(strstr(e.note, names[serves]));
}

/* Twice: the second round meets the opened key in the cache. */
START_TEST(mak_serves_the_one_algorithm_of_its_blob)
{
    open_token(_i);
    for (size_t i = 0; i < 2 * COUNT(maks); i++) {
        static struct blob mak;
        if (i % 2 == 0)
            ck_assert_ok(make_keys(maks[i / 2].suite, &maks[i / 2].spec, 1, &mak), e);
        for (int asked = UNIONPAY; asked <= CMAC; asked++) {
            expect_bound(generate_mac(&mak, (MacAlgorithm)asked), (MacAlgorithm)asked, maks[i / 2].serves);
            expect_bound(verify_mac(&mak, (MacAlgorithm)asked), (MacAlgorithm)asked, maks[i / 2].serves);
        }
    }
    close_token();
}
END_TEST

START_TEST(algorithm_that_the_key_cannot_serve_is_refused)
{
    static const struct {
        Posward__Types__V1__Suite suite;
        struct key_spec spec;
        const char *words;
    } rows[] = {{TDES, {PIK, 16, UNIONPAY}, "only a MAK has one"},
                {TDES, {TDK, 16, X9_19}, "only a MAK has one"},
                {AES_128, {PIK, 16, CMAC}, "only a MAK has one"},
                {TDES, {MAK, 16, X9_9}, "mac_algorithm is X9_9"},
                {TDES, {MAK, 16, CMAC}, "serves UNIONPAY_ECB, X9_19 and ISO9797_1"},
                {TDES, {MAK, 8, CMAC}, "serves UNIONPAY_ECB, X9_9, X9_19 and ISO9797_1"},
                {AES_128, {MAK, 16, UNIONPAY}, "serves AES_CMAC"},
                {AES_256, {MAK, 16, X9_19}, "serves AES_CMAC"},
                {TDES, {MAK, 16, (MacAlgorithm)8}, "mac_algorithm: algorithm has the unknown value 8"},
                {TDES, {MAK, 16, (MacAlgorithm)-1}, "mac_algorithm: algorithm has the unknown value -1"}};
    open_token(TOKEN_SOFTHSM);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct blob made;
        ck_assert_int_eq(make_keys(rows[i].suite, &rows[i].spec, 1, &made), ERR_INPUT);
        ck_assert_msg(strstr(e.note, "keys[0]: ") == e.note && strstr(e.note, rows[i].words) != NULL,
                      "row %zu: %s", i, e.note);
    }
    close_token();
}
END_TEST

/* ---- Single DES ---- */

START_TEST(single_des_is_made_for_a_mak_at_most)
{
    static const struct key_spec pik = {PIK, 8, NO_MAC}, tdk = {TDK, 8, NO_MAC}, mak = {MAK, 8, NO_MAC},
                                 good[] = {{PIK, 16, NO_MAC}, {MAK, 16, NO_MAC}, {TDK, 16, NO_MAC}};
    struct blob made[3];
    open_token(_i);
    for (unsigned least = 8; least <= 16; least += 8) {
        policy.tdes_mak_bytes_min = least;
        ck_assert_int_eq(make_keys(TDES, &pik, 1, made), ERR_INPUT);
        ck_assert_ptr_nonnull(strstr(e.note, "keys[0]: key_bytes is 8; a PIK of suite tdes must have 16"));
        ck_assert_int_eq(make_keys(TDES, &tdk, 1, made), ERR_INPUT);
        ck_assert_ptr_nonnull(strstr(e.note, "keys[0]: key_bytes is 8; a TDK of suite tdes must have 16"));
        ck_assert_int_eq(make_keys(AES_128, &mak, 1, made), ERR_INPUT);
        ck_assert_int_eq(make_keys(TDES, &mak, 1, made), least == 8 ? ERR_OK : ERR_DENIED);
        ck_assert(least == 8 || strstr(e.note, "policy.tdes_mak_bytes_min is 16") != NULL);
        ck_assert_ok(make_keys(TDES, good, 3, made), e);
    }
    close_token();
}
END_TEST

START_TEST(single_des_blobs_are_refused_at_use)
{
    static const enum tok_usage usages[] = {TOK_PIK, TOK_MAK, TOK_TDK};
    struct blob single, pair;
    open_token(_i);
    for (size_t i = 0; i < COUNT(usages); i++) {
        make_in_p11(usages[i], 8, &single);
        make_in_p11(usages[i], 16, &pair);
        for (unsigned least = 8; least <= 16; least += 8) {
            policy.tdes_mak_bytes_min = least;
            const bool allowed = usages[i] == TOK_MAK && least == 8;
            expect_uses(&single, allowed ? ERR_OK : ERR_DENIED, "sign in again");
            expect_uses(&pair, ERR_OK, "");
        }
    }
    close_token();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm-service/terminal_keys");
    TCase *tc = tcase_create("keys");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    tcase_add_loop_test(tc, keys_of_one_call_are_of_one_sign_in, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, mak_serves_the_one_algorithm_of_its_blob, 0, TOKEN_KIND_COUNT);
    tcase_add_test(tc, algorithm_that_the_key_cannot_serve_is_refused);
    tcase_add_loop_test(tc, single_des_is_made_for_a_mak_at_most, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, single_des_blobs_are_refused_at_use, 0, TOKEN_KIND_COUNT);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

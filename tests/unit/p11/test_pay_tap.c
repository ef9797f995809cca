#include "p11/flow/diversify.h"
#include "p11/flow/pay.h"
#include "p11/flow/working.h"
#include "tests/support/tap.h"
#include "tests/unit/p11/pay_fixture.h"

/* What crosses the PKCS#11 boundary: a way graded IN_TOKEN must not show a secret there; one graded
 * PROCESS_MEMORY must, or the tap is deaf. */

START_TEST(tap_sees_no_half_of_a_key_that_is_cut)
{
    static const char data[] = "Now is the time for all ";
    for (int round = 0; round < 4; round++) {
        uint8_t value[16], state[8] = {0};
        AUTO(tok_object) key = {0};
        AUTO(tok_left) left = {0};
        random_bytes(value, sizeof value);
        pay_des_key(value, 16, &key);
        tap_on(pay_session);
        ck_assert_ok(tok_left_append(pay_session, key.handle, &left, &pay_err), pay_err);
        ck_assert_ok(tok_left_cbc(pay_session, &left, (const uint8_t *)data, 24, state, &pay_err), pay_err);
        tap_off(pay_session);
        ck_assert_uint_gt(tap_recorded(), 0);
        ck_assert(!tap_saw_des(value));
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
    tap_on(pay_session);
    ck_assert_ok(tok_pin_translate(pay_session, &request, moved, &len, out_grade, &pay_err), pay_err);
    tap_off(pay_session);
}

START_TEST(tap_sees_a_pin_where_the_grade_says_so)
{
    enum tok_grade grade = 0;
    translate(TOK_PIN_0, &grade);
    ck_assert(tap_saw(clear_0, sizeof clear_0) == (grade == TOK_PROCESS_MEMORY));
    translate(TOK_PIN_4, &grade);
    ck_assert(tap_saw(clear_4, sizeof clear_4) == (grade == TOK_PROCESS_MEMORY));
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
    tap_on(pay_session);
    ck_assert_ok(tok_card_script(pay_session, &request, &made, &pay_err), pay_err);
    tap_off(pay_session);
    ck_assert(tap_saw_des(tmk) == (made.grade == TOK_PROCESS_MEMORY));
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

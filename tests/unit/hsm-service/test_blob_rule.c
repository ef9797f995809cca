/* Blobs of form 1, and the blobs of one transaction. */
#include "hsm-service/keeper/blob_rule.h"

#include "base/clock.h"
#include "tests/support/blobs.h"
#include "tests/unit/hsm-service/keeper_harness.h"

/* ---- Blobs of form 1 ---- */

static void to_form_1(struct blob *blob)
{
    struct tok_session *s = NULL;
    ck_assert_ok(tok_session_take(tok, &s, &e), e);
    blob_to_form_1(s, blob->bytes, &blob->len);
    tok_session_give(s);
}

static int reseal(const struct blob *blob)
{
    HsmResealRequest request = POSWARD__HSM__V1__RESEAL_BLOBS_REQUEST__INIT;
    ProtobufCBinaryData one = {blob->len, (uint8_t *)(uintptr_t)blob->bytes};
    ProtobufCMessage *answer;
    request.n_blobs = 1;
    request.blobs = &one;
    ck_assert_ok(call("ResealBlobs", &request.base, &answer), e);
    return ((const HsmResealResponse *)answer)->results[0]->status;
}

/* Re-sealing goes by no date: what is moved serves no sooner. */
START_TEST(form_1_serves_until_its_date)
{
    static const struct key_spec specs[] = {{PIK, 16, NO_MAC}, {MAK, 8, NO_MAC}, {TDK, 16, NO_MAC}};
    const int64_t hour_ms = 3600000, now_ms = clock_wall_ms();
    const struct {
        int64_t until_ms;
        enum err_code want;
    } dates[] = {{0, ERR_DENIED}, {now_ms - hour_ms, ERR_DENIED}, {now_ms + hour_ms, ERR_OK}};
    struct blob new[3], old[3];
    open_token(_i);
    ck_assert_ok(make_keys(TDES, specs, 3, new), e);
    for (size_t i = 0; i < 3; i++) {
        old[i] = new[i];
        to_form_1(&old[i]);
        for (size_t d = 0; d < COUNT(dates); d++) {
            policy.blob_form1_until_ms = dates[d].until_ms;
            expect_uses(&old[i], dates[d].want,
                        "sealed in form 1; sign in again, or set policy.blob_form1_until");
            expect_uses(&new[i], ERR_OK, "");
            ck_assert_int_eq(reseal(&old[i]), 0);
        }
    }
    close_token();
}
END_TEST

/* A date changes nothing else: form 1 knows no algorithm but its suite's, and single DES stays out. */
START_TEST(form_1_gains_nothing_by_its_date)
{
    struct blob mak, pik, tdk;
    const struct key_spec spec = {MAK, 16, X9_19};
    open_token(_i);
    policy.blob_form1_until_ms = INT64_MAX;
    ck_assert_ok(make_keys(TDES, &spec, 1, &mak), e);
    to_form_1(&mak);
    ck_assert_ok(generate_mac(&mak, UNIONPAY), e);
    ck_assert_int_eq(generate_mac(&mak, X9_19), ERR_DENIED);
    make_in_p11(TOK_PIK, 8, &pik);
    make_in_p11(TOK_TDK, 8, &tdk);
    to_form_1(&pik);
    to_form_1(&tdk);
    expect_uses(&pik, ERR_DENIED, "single DES");
    expect_uses(&tdk, ERR_DENIED, "single DES");
    close_token();
}
END_TEST

/* A rule reads the head before the tag is checked: a head that lies gets no further than an honest one. */
START_TEST(head_that_lies_gains_nothing)
{
    static const struct key_spec spec = {MAK, 16, X9_19};
    struct blob mak, lie;
    open_token(_i);
    ck_assert_ok(make_keys(TDES, &spec, 1, &mak), e);
    ck_assert_ok(generate_mac(&mak, X9_19), e); /* the sound one is in the cache */
    lie = mak;
    lie.bytes[34] = TOK_MAC_UNIONPAY;
    ck_assert_int_eq(generate_mac(&lie, UNIONPAY), ERR_CHECK);
    to_form_1(&lie); /* its tag is right now, but no date is set */
    ck_assert_int_eq(generate_mac(&lie, UNIONPAY), ERR_DENIED);
    memcpy(lie.bytes + 3, "2", 1);
    ck_assert_int_eq(generate_mac(&lie, UNIONPAY), ERR_CHECK);
    close_token();
}
END_TEST

/* ---- The blobs of one transaction ---- */

static struct tok_blob_info key_info(enum tok_usage usage, unsigned form, int64_t created_ms, uint8_t sign_in)
{
    struct tok_blob_info info = {.suite = TOK_TDES,
                                 .usage = usage,
                                 .key_bytes = 16,
                                 .form = form,
                                 .created_ms = created_ms,
                                 .sign_in = {sign_in}};
    memcpy(info.psam_number, psam_number, sizeof psam_number);
    return info;
}

static enum err_code together(const struct tok_blob_info *infos, size_t count)
{
    const struct keeper_call keeper_call = {.policy = &policy};
    e = (struct err){0};
    return blob_rule_together(&keeper_call, infos, count, &e);
}

START_TEST(keys_of_a_transaction_are_of_one_sign_in)
{
    struct tok_blob_info infos[] = {key_info(TOK_MAK, 2, 1000, 7), key_info(TOK_PIK, 2, 999999, 7),
                                    key_info(TOK_TDK, 2, 5, 7)};
    policy = (struct keeper_policy){.tdes_mak_bytes_min = 16};
    for (size_t count = 0; count <= COUNT(infos); count++)
        ck_assert_ok(together(infos, count), e);
    for (size_t i = 0; i < COUNT(infos); i++) {
        const struct tok_blob_info before = infos[i];
        infos[i].sign_in[7] = 1;
        ck_assert_int_eq(together(infos, 3), ERR_DENIED);
        ck_assert_ptr_nonnull(strstr(e.note, "two sign-ins"));
        infos[i] = before;
        infos[i].psam_number[3] = '9';
        ck_assert_int_eq(together(infos, 3), ERR_DENIED);
        ck_assert_ptr_nonnull(strstr(e.note, "different cards"));
        infos[i] = before;
        infos[i].form = 1;
        ck_assert_int_eq(together(infos, 3), ERR_DENIED); /* no date */
        policy.blob_form1_until_ms = INT64_MAX;
        ck_assert_int_eq(together(infos, 3), ERR_DENIED);
        ck_assert_ptr_nonnull(strstr(e.note, "form 1 and form 2"));
        policy.blob_form1_until_ms = 0;
        infos[i] = before;
        infos[i].key_bytes = 8;
        ck_assert_int_eq(together(infos, 3), ERR_DENIED);
        infos[i] = before;
    }
    ck_assert_ok(together(infos, 3), e);
}
END_TEST

START_TEST(keys_of_form_1_are_two_seconds_apart_at_most)
{
    static const struct {
        int64_t created_ms[3];
        enum err_code want;
    } rows[] = {{{100000, 100000, 100000}, ERR_OK},     {{100000, 101000, 102000}, ERR_OK},
                {{102000, 101000, 100000}, ERR_OK},     {{101000, 100000, 102000}, ERR_OK},
                {{100000, 100000, 102001}, ERR_DENIED}, {{102001, 100000, 100000}, ERR_DENIED},
                {{101000, 99999, 102000}, ERR_DENIED}};
    policy = (struct keeper_policy){.tdes_mak_bytes_min = 16, .blob_form1_until_ms = INT64_MAX};
    for (size_t r = 0; r < COUNT(rows); r++) {
        const struct tok_blob_info infos[] = {key_info(TOK_MAK, 1, rows[r].created_ms[0], 0),
                                              key_info(TOK_PIK, 1, rows[r].created_ms[1], 0),
                                              key_info(TOK_TDK, 1, rows[r].created_ms[2], 0)};
        ck_assert_msg(together(infos, 3) == rows[r].want, "row %zu", r);
        policy.blob_form1_until_ms = 1;
        ck_assert_int_eq(together(infos, 3), ERR_DENIED);
        policy.blob_form1_until_ms = INT64_MAX;
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm-service/blob_rule");
    TCase *tc = tcase_create("rules");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    tcase_add_loop_test(tc, form_1_serves_until_its_date, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, form_1_gains_nothing_by_its_date, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, head_that_lies_gains_nothing, 0, TOKEN_KIND_COUNT);
    tcase_add_test(tc, keys_of_a_transaction_are_of_one_sign_in);
    tcase_add_test(tc, keys_of_form_1_are_two_seconds_apart_at_most);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

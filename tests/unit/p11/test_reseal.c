#include "p11/flow/blob_form.h"

#include "p11/flow/flows.h"
#include "p11/probe/probe.h"
#include "tests/support/blobs.h"
#include "tests/unit/p11/harness.h"

static const char psam_number[] = "6201000000123456";
static const uint8_t challenge[8] = {1, 2, 3, 4, 5, 6, 7, 8};

/* Every form of a blob. */
static const struct form {
    enum tok_suite suite;
    enum tok_usage usage;
    unsigned key_bytes;
    enum tok_mac mac;
} forms[] = {
    {TOK_TDES, TOK_PIK, 8},
    {TOK_TDES, TOK_PIK, 16},
    {TOK_TDES, TOK_MAK, 8, TOK_MAC_X9_9},
    {TOK_TDES, TOK_MAK, 16, TOK_MAC_X9_19},
    {TOK_TDES, TOK_TDK, 8},
    {TOK_TDES, TOK_TDK, 16},
    {TOK_AES_128, TOK_PIK, 16},
    {TOK_AES_128, TOK_MAK, 16},
    {TOK_AES_128, TOK_TDK, 16},
    {TOK_AES_256, TOK_PIK, 16},
    {TOK_AES_256, TOK_MAK, 16},
    {TOK_AES_256, TOK_TDK, 16},
    {TOK_TDES, TOK_TMK, 16},
    {TOK_AES_128, TOK_TMK, 16},
    {TOK_AES_256, TOK_TMK, 32},
};
#define FORMS (sizeof forms / sizeof forms[0])

struct bytes {
    uint8_t blob[TOK_BLOB_BYTES];
    size_t len;
};

static struct tok *open_with_keys(int kind)
{
    struct tok *tok = open_copy(kind);
    generate(tok, TOK_PSAM_MASTER, TOK_TDES, 1, "");
    generate(tok, TOK_PSAM_MASTER, TOK_AES_256, 1, "");
    generate(tok, TOK_CARD_CONTROL, TOK_AES_256, 1, "");
    generate(tok, TOK_STORAGE, TOK_AES_256, 1, "");
    generate(tok, TOK_BLOB_TAG, TOK_AES_256, 1, "");
    ck_assert_ok(tok_ways_probe(tok, TOK_EXPOSURE_ANY, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    return tok;
}

static void make(struct tok_session *s, const struct form *form, struct bytes *out)
{
    if (form->usage == TOK_TMK) {
        const struct tok_card_request request = {.psam_number = psam_number,
                                                 .suite = form->suite,
                                                 .master_version = 1,
                                                 .control_version = 1,
                                                 .profile = TOK_CARD_AES,
                                                 .challenge = challenge,
                                                 .challenge_len = sizeof challenge};
        struct tok_card_script script;
        ck_assert_ok(tok_card_script(s, &request, &script, &e), e);
        memcpy(out->blob, script.blob, script.blob_len);
        out->len = script.blob_len;
        return;
    }
    const struct tok_working_request request = {.psam_number = psam_number,
                                                .suite = form->suite,
                                                .master_version = 1,
                                                .usage = form->usage,
                                                .key_bytes = form->key_bytes,
                                                .mac_algorithm = form->mac};
    struct tok_working_key key;
    ck_assert_ok(tok_working_key(s, &request, &key, &e), e);
    memcpy(out->blob, key.blob, key.blob_len);
    out->len = key.blob_len;
}

/* SoftHSM's storage keys are hardened: what they open stays. */
static bool moves(int kind, const struct form *form)
{
    return kind != TOKEN_SOFTHSM || form->usage == TOK_TMK;
}

static void rotate(struct tok *tok)
{
    generate(tok, TOK_STORAGE, TOK_AES_256, 2, "");
    generate(tok, TOK_BLOB_TAG, TOK_AES_256, 2, "");
    ck_assert_ok(tok_keys_load(tok, &e), e);
}

static void destroy_version_1(struct tok *tok, enum tok_role role)
{
    const struct tok_key_name name = {.role = role, .suite = TOK_AES_256, .version = 1};
    struct tok_key_info info;
    ck_assert_ok(tok_key_set_state(tok, &name, TOK_KEY_DEACTIVATED, &info, &e), e);
    ck_assert_ok(tok_key_destroy(tok, &name, &e), e);
}

/* All that is bound but the versions that moved. */
static void assert_same_key(const struct tok_blob_info *a, const struct tok_blob_info *b)
{
    ck_assert_int_eq(a->suite, b->suite);
    ck_assert_int_eq(a->usage, b->usage);
    ck_assert_uint_eq(a->key_bytes, b->key_bytes);
    ck_assert_uint_eq(a->master_version, b->master_version);
    ck_assert_str_eq(a->psam_number, b->psam_number);
    ck_assert_int_eq(a->created_ms, b->created_ms);
    ck_assert_mem_eq(a->kcv, b->kcv, sizeof a->kcv);
    ck_assert_uint_eq(a->form, b->form);
    ck_assert_int_eq(a->mac_algorithm, b->mac_algorithm);
    ck_assert_mem_eq(a->sign_in, b->sign_in, sizeof a->sign_in);
}

START_TEST(reseal_leaves_a_current_blob_as_it_is)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    for (size_t i = 0; i < FORMS; i++) {
        struct bytes made;
        struct tok_resealed resealed;
        make(s, &forms[i], &made);
        ck_assert_ok(tok_blob_reseal(s, made.blob, made.len, &resealed, &e), e);
        ck_assert(!resealed.changed && resealed.versions.current);
        ck_assert_uint_eq(resealed.blob_len, made.len);
        ck_assert_mem_eq(resealed.blob, made.blob, made.len);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

/* The old storage and tag keys are destroyed in between: what opens afterwards depends on the new ones only.
 */
START_TEST(reseal_moves_every_form_and_keeps_what_is_bound)
{
    const int kind = _i / 2;
    struct tok *tok = open_with_keys(kind);
    struct tok_session *s = take(tok);
    struct bytes made[FORMS], moved[FORMS];
    struct tok_blob_info before[FORMS];
    for (size_t i = 0; i < FORMS; i++) {
        make(s, &forms[i], &made[i]);
        if (_i % 2 == 0)
            blob_to_form_1(s, made[i].blob, &made[i].len);
        ck_assert_ok(tok_blob_info(s, made[i].blob, made[i].len, &before[i], &e), e);
    }
    tok_session_give(s);
    rotate(tok);
    s = take(tok);
    const size_t objects = count_objects(s);
    for (size_t i = 0; i < FORMS; i++) {
        struct tok_resealed resealed;
        if (!moves(kind, &forms[i])) {
            ck_assert_int_eq(tok_blob_reseal(s, made[i].blob, made[i].len, &resealed, &e), ERR_UNSUPPORTED);
            ck_assert_ptr_nonnull(strstr(e.note, "next sign-in"));
            continue;
        }
        ck_assert_ok(tok_blob_reseal(s, made[i].blob, made[i].len, &resealed, &e), e);
        ck_assert(resealed.changed && resealed.versions.current);
        ck_assert_uint_eq(resealed.versions.storage, 2);
        ck_assert_uint_eq(resealed.versions.tag, 2);
        ck_assert_uint_eq(resealed.versions.master, 1);
        ck_assert_uint_eq(resealed.blob_len, made[i].len);
        memcpy(moved[i].blob, resealed.blob, resealed.blob_len);
        moved[i].len = resealed.blob_len;
    }
    ck_assert_uint_eq(count_objects(s), objects);
    tok_session_give(s);
    destroy_version_1(tok, TOK_STORAGE);
    destroy_version_1(tok, TOK_BLOB_TAG);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    s = take(tok);
    for (size_t i = 0; i < FORMS; i++) {
        struct tok_blob_info after;
        struct tok_resealed again;
        if (!moves(kind, &forms[i]))
            continue;
        ck_assert_ok(tok_blob_info(s, moved[i].blob, moved[i].len, &after, &e), e);
        assert_same_key(&before[i], &after);
        ck_assert_ok(tok_blob_reseal(s, moved[i].blob, moved[i].len, &again, &e), e);
        ck_assert(!again.changed);
        ck_assert_int_eq(tok_blob_reseal(s, made[i].blob, made[i].len, &again, &e), ERR_CHECK);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

/* By the key itself: a MAC that was made before the move is made after it, by algorithm 3 too, which takes
 * the second part. */
START_TEST(resealed_key_is_the_same_key)
{
    static const struct {
        struct form form;
        enum tok_mac algorithm;
    } rows[] = {{{TOK_TDES, TOK_MAK, 16}, TOK_MAC_X9_19},
                {{TOK_TDES, TOK_MAK, 16}, TOK_MAC_ALG1_PAD2},
                {{TOK_TDES, TOK_MAK, 8}, TOK_MAC_X9_9},
                {{TOK_AES_128, TOK_MAK, 16}, TOK_MAC_CMAC}};
    static const uint8_t data[] = "0200 a message";
    struct tok *tok = open_with_keys(_i);
    struct bytes made[4];
    struct tok_mac_value before[4];
    struct tok_session *s = take(tok);
    for (size_t i = 0; i < 4; i++) {
        make(s, &rows[i].form, &made[i]);
        const struct tok_mac_request request = {.algorithm = rows[i].algorithm,
                                                .key = {.blob = made[i].blob, .blob_len = made[i].len},
                                                .data = data,
                                                .len = sizeof data};
        ck_assert_ok(tok_mac_make(s, &request, &before[i], &e), e);
    }
    tok_session_give(s);
    rotate(tok);
    s = take(tok);
    for (size_t i = 0; i < 4; i++) {
        struct tok_resealed resealed;
        struct tok_mac_value after;
        ck_assert_ok(tok_blob_reseal(s, made[i].blob, made[i].len, &resealed, &e), e);
        const struct tok_mac_request request = {.algorithm = rows[i].algorithm,
                                                .key = {.blob = resealed.blob, .blob_len = resealed.blob_len},
                                                .data = data,
                                                .len = sizeof data};
        ck_assert_ok(tok_mac_make(s, &request, &after, &e), e);
        ck_assert_uint_eq(after.len, before[i].len);
        ck_assert_mem_eq(after.bytes, before[i].bytes, after.len);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(reseal_refuses_a_blob_with_any_byte_changed)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    struct bytes made;
    make(s, &forms[3], &made);
    tok_session_give(s);
    rotate(tok);
    s = take(tok);
    const size_t objects = count_objects(s);
    for (size_t at = 0; at < made.len; at++) {
        struct tok_resealed resealed;
        made.blob[at] ^= 0x10;
        ck_assert_int_eq(tok_blob_reseal(s, made.blob, made.len, &resealed, &e), ERR_CHECK);
        made.blob[at] ^= 0x10;
        ck_assert_int_eq(tok_blob_reseal(s, made.blob, at, &resealed, &e), ERR_CHECK);
    }
    ck_assert_uint_eq(count_objects(s), objects);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

/* A new key that is not active yet moves nothing. */
START_TEST(reseal_goes_to_the_active_keys)
{
    const struct tok_key_name next = {.role = TOK_STORAGE, .suite = TOK_AES_256, .version = 2};
    struct tok_key_info info;
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    struct bytes made;
    struct tok_resealed resealed;
    make(s, &forms[FORMS - 1], &made);
    tok_session_give(s);
    ck_assert_ok(tok_key_generate(tok, &next, TOK_KEY_PRE_ACTIVE, &info, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    s = take(tok);
    ck_assert_ok(tok_blob_reseal(s, made.blob, made.len, &resealed, &e), e);
    ck_assert(!resealed.changed);
    tok_session_give(s);
    ck_assert_ok(tok_key_set_state(tok, &next, TOK_KEY_ACTIVE, &info, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    s = take(tok);
    ck_assert_ok(tok_blob_reseal(s, made.blob, made.len, &resealed, &e), e);
    ck_assert(resealed.changed);
    ck_assert_uint_eq(resealed.versions.storage, 2);
    ck_assert_uint_eq(resealed.versions.tag, 1);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("p11/reseal");
    TCase *tc = tcase_create("reseal");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    tcase_add_loop_test(tc, reseal_leaves_a_current_blob_as_it_is, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, reseal_moves_every_form_and_keeps_what_is_bound, 0, 2 * TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, resealed_key_is_the_same_key, TOKEN_NSS, TOKEN_NSS + 1);
    tcase_add_loop_test(tc, reseal_refuses_a_blob_with_any_byte_changed, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, reseal_goes_to_the_active_keys, 0, TOKEN_KIND_COUNT);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

#include "p11/flow/blob_form.h"

#include "p11/flow/blob.h"
#include "p11/flow/flows.h"
#include "p11/keys/cache.h"
#include "p11/object/template.h"
#include "p11/probe/probe.h"
#include "p11/tok.h"
#include "tests/support/blobs.h"
#include "tests/unit/p11/harness.h"

#include <pthread.h>

static const char psam_number[] = "6201000000123456";

static struct tok *open_with_keys(int kind)
{
    struct tok *tok = open_copy(kind);
    generate(tok, TOK_PSAM_MASTER, TOK_TDES, 1, "");
    generate(tok, TOK_PSAM_MASTER, TOK_AES_256, 1, "");
    generate(tok, TOK_STORAGE, TOK_AES_256, 1, "");
    generate(tok, TOK_BLOB_TAG, TOK_AES_256, 1, "");
    ck_assert_ok(tok_ways_probe(tok, TOK_EXPOSURE_ANY, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    return tok;
}

static struct tok_working_key make(struct tok_session *s, enum tok_suite suite, enum tok_usage usage)
{
    const struct tok_working_request request = {
        .psam_number = psam_number, .suite = suite, .master_version = 1, .usage = usage, .key_bytes = 16};
    struct tok_working_key made;
    ck_assert_ok(tok_working_key(s, &request, &made, &e), e);
    return made;
}

/* The same in form `form`. */
static struct tok_working_key make_form(struct tok_session *s, unsigned form, enum tok_suite suite,
                                        enum tok_usage usage)
{
    struct tok_working_key made = make(s, suite, usage);
    if (form == 1)
        blob_to_form_1(s, made.blob, &made.blob_len);
    return made;
}

static enum err_code open_bytes(struct tok_session *s, const uint8_t *blob, size_t len, enum tok_usage usage,
                                struct tok_opened *out_opened)
{
    const struct tok_key_ref ref = {.blob = blob, .blob_len = len};
    return tok_open_ref(s, &ref, &(struct tok_need){(int)usage, TOK_ZONE_MAC, TOK_OPEN}, out_opened, &e);
}

START_TEST(blob_says_what_it_is)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    const struct tok_working_key made = make(s, TOK_TDES, TOK_MAK);
    struct tok_blob_info info;
    ck_assert_ok(tok_blob_info(s, made.blob, made.blob_len, &info, &e), e);
    ck_assert_int_eq(info.suite, TOK_TDES);
    ck_assert_int_eq(info.usage, TOK_MAK);
    ck_assert_uint_eq(info.key_bytes, 16);
    ck_assert_uint_eq(info.master_version, 1);
    ck_assert_uint_eq(info.storage_version, 1);
    ck_assert_str_eq(info.psam_number, psam_number);
    ck_assert_mem_eq(info.kcv, made.kcv, 4);
    ck_assert_int_gt(info.created_ms, 1700000000000);
    ck_assert_uint_eq(info.form, 2);
    ck_assert_int_eq(info.mac_algorithm, TOK_MAC_UNIONPAY);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

/* A blob of before there was a form 2 opens as it did. */
START_TEST(blob_of_form_1_opens)
{
    static const uint8_t zeros[TOK_SIGN_IN_BYTES];
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    for (int aes = 0; aes < 2; aes++) {
        const struct tok_working_key old = make_form(s, 1, aes ? TOK_AES_256 : TOK_TDES, TOK_MAK);
        AUTO(tok_opened) opened = {0};
        struct tok_blob_info info, peeked;
        uint8_t kcv[4];
        ck_assert_uint_eq(old.blob_len, aes ? 74 : 98);
        ck_assert_mem_eq(old.blob, "PWB1", 4);
        ck_assert_ok(open_bytes(s, old.blob, old.blob_len, TOK_MAK, &opened), e);
        ck_assert_ok(tok_object_kcv(s, opened.handle, opened.suite, kcv, 4, &e), e);
        ck_assert_mem_eq(kcv, old.kcv, 4);
        ck_assert_ok(tok_blob_info(s, old.blob, old.blob_len, &info, &e), e);
        ck_assert_ok(tok_blob_peek(old.blob, old.blob_len, &peeked, &e), e);
        ck_assert_uint_eq(info.form, 1);
        ck_assert_int_eq(info.mac_algorithm, aes ? TOK_MAC_CMAC : TOK_MAC_UNIONPAY);
        ck_assert_mem_eq(info.sign_in, zeros, sizeof zeros);
        ck_assert(peeked.form == 1 && peeked.mac_algorithm == info.mac_algorithm);
        ck_assert_str_eq(peeked.psam_number, psam_number);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

/* The blob is opened first, so that the cache holds the sound one while its neighbours are tried. */
START_TEST(blob_is_refused_when_any_bit_is_changed)
{
    struct tok *tok = open_with_keys(_i / 2);
    struct tok_session *s = take(tok);
    const struct tok_working_key made = make_form(s, 1 + _i % 2, TOK_TDES, TOK_MAK);
    AUTO(tok_opened) sound = {0};
    ck_assert_ok(open_bytes(s, made.blob, made.blob_len, TOK_MAK, &sound), e);
    const size_t before = count_objects(s);
    for (size_t at = 0; at < made.blob_len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t changed[TOK_BLOB_BYTES];
            struct tok_opened opened = {0};
            struct tok_blob_info info;
            memcpy(changed, made.blob, made.blob_len);
            changed[at] ^= (uint8_t)(1U << bit);
            ck_assert_int_eq(open_bytes(s, changed, made.blob_len, TOK_MAK, &opened), ERR_CHECK);
            ck_assert_int_eq(tok_blob_info(s, changed, made.blob_len, &info, &e), ERR_CHECK);
        }
    }
    ck_assert_uint_eq(count_objects(s), before);
    tok_opened_drop(&sound);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(blob_is_refused_when_cut_or_longer)
{
    struct tok *tok = open_with_keys(_i / 2);
    struct tok_session *s = take(tok);
    const struct tok_working_key made = make_form(s, 1 + _i % 2, TOK_AES_128, TOK_PIK);
    uint8_t longer[TOK_BLOB_BYTES + 1] = {0};
    memcpy(longer, made.blob, made.blob_len);
    for (size_t len = 0; len < sizeof longer; len++) {
        struct tok_opened opened = {0};
        if (len != made.blob_len)
            ck_assert_int_eq(open_bytes(s, longer, len, TOK_PIK, &opened), ERR_CHECK);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(blob_of_another_card_is_denied)
{
    static const char *const others[] = {"12345678901234567890", "0000000000000000", ""};
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    const struct tok_working_key made = make(s, TOK_TDES, TOK_MAK);
    struct tok_key_ref ref = {.blob = made.blob, .blob_len = made.blob_len, .psam_number = psam_number};
    for (size_t i = 0; i < 6; i++) { /* twice: the second round meets the cache */
        AUTO(tok_opened) opened = {0};
        AUTO(tok_opened) refused = {0};
        ref.psam_number = psam_number;
        ck_assert_ok(tok_open_ref(s, &ref, &(struct tok_need){TOK_MAK, TOK_ZONE_MAC, TOK_OPEN}, &opened, &e),
                     e);
        ref.psam_number = others[i % 3];
        ck_assert_int_eq(
            tok_open_ref(s, &ref, &(struct tok_need){TOK_MAK, TOK_ZONE_MAC, TOK_OPEN}, &refused, &e),
            ERR_DENIED);
        ck_assert_ptr_null(strstr(e.note, psam_number));
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(blob_opens_for_its_own_usage_only)
{
    static const enum tok_usage usages[] = {TOK_PIK, TOK_MAK, TOK_TDK, TOK_TMK};
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    for (size_t made_as = 0; made_as < 3; made_as++) {
        const struct tok_working_key made = make(s, TOK_TDES, usages[made_as]);
        /* twice: the second round meets the cache */
        for (size_t i = 0; i < 8; i++) {
            AUTO(tok_opened) opened = {0};
            const enum tok_usage asked = usages[i % 4];
            const enum err_code code = open_bytes(s, made.blob, made.blob_len, asked, &opened);
            ck_assert_int_eq(code, asked == usages[made_as] ? ERR_OK : ERR_DENIED);
            if (code == ERR_OK)
                continue;
            ck_assert_ptr_nonnull(strstr(e.note, tok_usage_name((int)asked)));
            ck_assert_ptr_nonnull(strstr(e.note, tok_usage_name((int)usages[made_as])));
        }
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(opened_key_may_do_only_what_its_usage_needs)
{
    static const CK_ATTRIBUTE_TYPE usages[] = {CKA_ENCRYPT,   CKA_DECRYPT, CKA_SIGN,   CKA_VERIFY,
                                               CKA_WRAP,      CKA_UNWRAP,  CKA_DERIVE, CKA_EXTRACTABLE,
                                               CKA_SENSITIVE, CKA_TOKEN};
    static const struct {
        enum tok_suite suite;
        enum tok_usage usage;
        const char *may;
    } rows[] = {{TOK_TDES, TOK_PIK, "0100010010"},    {TOK_TDES, TOK_MAK, "1000000010"},
                {TOK_TDES, TOK_TDK, "1100000010"},    {TOK_AES_128, TOK_PIK, "0100010010"},
                {TOK_AES_128, TOK_MAK, "0011000010"}, {TOK_AES_128, TOK_TDK, "1100000010"}};
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        const struct tok_working_key made = make(s, rows[r].suite, rows[r].usage);
        AUTO(tok_opened) opened = {0};
        char got[sizeof usages / sizeof usages[0] + 1] = "";
        ck_assert_ok(open_bytes(s, made.blob, made.blob_len, rows[r].usage, &opened), e);
        for (size_t i = 0; i < sizeof usages / sizeof usages[0]; i++) {
            CK_BBOOL value = 2;
            CK_ATTRIBUTE row = {usages[i], &value, sizeof value};
            ck_assert(s->fn->C_GetAttributeValue(s->handle, opened.handle, &row, 1) == CKR_OK);
            got[i] = (char)('0' + value);
        }
        ck_assert_str_eq(got, rows[r].may);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(blob_opens_after_its_keys_were_followed_by_newer_ones)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    const struct tok_working_key old = make(s, TOK_TDES, TOK_TDK);
    tok_session_give(s);
    generate(tok, TOK_STORAGE, TOK_AES_256, 2, "");
    generate(tok, TOK_BLOB_TAG, TOK_AES_256, 2, "");
    ck_assert_ok(tok_keys_load(tok, &e), e);
    s = take(tok);
    const struct tok_working_key new = make(s, TOK_TDES, TOK_TDK);
    struct tok_blob_info info;
    AUTO(tok_opened) a = {0};
    AUTO(tok_opened) b = {0};
    ck_assert_ok(tok_blob_info(s, new.blob, new.blob_len, &info, &e), e);
    ck_assert_uint_eq(info.storage_version, 2);
    ck_assert_ok(open_bytes(s, old.blob, old.blob_len, TOK_TDK, &a), e);
    ck_assert_ok(open_bytes(s, new.blob, new.blob_len, TOK_TDK, &b), e);
    tok_opened_drop(&a);
    tok_opened_drop(&b);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(blob_of_another_key_set_is_refused)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    const struct tok_working_key foreign = make(s, TOK_TDES, TOK_TDK);
    tok_session_give(s);
    close_copy(tok);
    tok = open_with_keys(_i);
    s = take(tok);
    struct tok_opened opened = {0};
    ck_assert_int_eq(open_bytes(s, foreign.blob, foreign.blob_len, TOK_TDK, &opened), ERR_CHECK);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

/* A copied blob must not become a readable object. NSS cannot forbid it (facts: no template on unwrap). */
START_TEST(storage_key_opens_nothing_readable)
{
    struct tok *tok = open_with_keys(TOKEN_SOFTHSM);
    struct tok_session *s = take(tok);
    const struct tok_working_key made = make(s, TOK_TDES, TOK_TDK);
    const struct tok_key_name name = {.role = TOK_STORAGE, .suite = TOK_AES_256, .version = 1};
    struct tok_found found;
    CK_OBJECT_HANDLE token_object[2];
    size_t count = 0;
    struct tok_template t;
    CK_OBJECT_HANDLE handle = 0;
    CK_MECHANISM wrap = {.mechanism = CKM_AES_KEY_WRAP};
    ck_assert_ok(tok_keys_find(tok, &name, TOK_PROTECT, &found, &e), e);
    ck_assert_ok(tok_objects_labelled(s, "posward/storage/aes-256/1", token_object, 2, &count, &e), e);
    tok_template_secret(&t, CKK_GENERIC_SECRET, TOK_USES(CKA_EXTRACTABLE));
    tok_template_bool(&t, CKA_SENSITIVE, false);
    const CK_OBJECT_HANDLE both[] = {found.handle, token_object[0]};
    for (size_t i = 0; i < 2; i++)
        ck_assert(s->fn->C_UnwrapKey(s->handle, &wrap, both[i],
                                     (CK_BYTE_PTR)(uintptr_t)(made.blob + TOK_BLOB_HEAD_MAX), 24, t.rows,
                                     t.count, &handle) == CKR_TEMPLATE_INCONSISTENT);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(reference_is_one_thing)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    struct tok_opened opened = {0};
    unsigned version = 99;
    struct tok_key_ref ref = {.out_zone_version = &version};
    ck_assert_int_eq(tok_open_ref(s, &ref, &(struct tok_need){TOK_MAK, TOK_ZONE_MAC, TOK_OPEN}, &opened, &e),
                     ERR_INPUT);
    ref.zone = "bank-a";
    ck_assert_int_eq(tok_open_ref(s, &ref, &(struct tok_need){TOK_MAK, TOK_ZONE_MAC, TOK_OPEN}, &opened, &e),
                     ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(e.note, "zone-mac/bank-a"));
    ck_assert_uint_eq(version, 99);
    ref.zone = "a-zone-whose-name-is-longer-than-all";
    ck_assert_int_eq(tok_open_ref(s, &ref, &(struct tok_need){TOK_MAK, TOK_ZONE_MAC, TOK_OPEN}, &opened, &e),
                     ERR_INPUT);
    ref.blob = (const uint8_t *)"x";
    ref.blob_len = 1;
    ck_assert_int_eq(tok_open_ref(s, &ref, &(struct tok_need){TOK_MAK, TOK_ZONE_MAC, TOK_OPEN}, &opened, &e),
                     ERR_INPUT);
    tok_session_give(s);
    generate(tok, TOK_ZONE_MAC, TOK_TDES, 4, "bank-a");
    generate(tok, TOK_ZONE_MAC, TOK_TDES, 3, "bank-a");
    ck_assert_ok(tok_keys_load(tok, &e), e);
    s = take(tok);
    ref = (struct tok_key_ref){.zone = "bank-a", .out_zone_version = &version};
    ck_assert_ok(tok_open_ref(s, &ref, &(struct tok_need){TOK_MAK, TOK_ZONE_MAC, TOK_OPEN}, &opened, &e), e);
    ck_assert_int_eq(opened.suite, TOK_TDES);
    ck_assert(opened.left != 0);
    ck_assert_uint_eq(version, 4);
    tok_opened_drop(&opened);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

/* ---- The cache ---- */

START_TEST(cached_blob_costs_no_new_object)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    const struct tok_working_key made = make(s, TOK_TDES, TOK_TDK);
    struct tok_opened first = {0}, second = {0};
    ck_assert_ok(open_bytes(s, made.blob, made.blob_len, TOK_TDK, &first), e);
    const size_t held = count_objects(s);
    ck_assert_ok(open_bytes(s, made.blob, made.blob_len, TOK_TDK, &second), e);
    ck_assert_uint_eq(second.handle, first.handle);
    tok_opened_drop(&first);
    tok_opened_drop(&second);
    ck_assert_uint_eq(count_objects(s), held);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(cache_is_bounded_and_spares_what_is_in_use)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    const size_t before = count_objects(s);
    const struct tok_working_key kept = make(s, TOK_TDES, TOK_TDK);
    AUTO(tok_opened) in_use = {0};
    uint8_t kcv[4];
    ck_assert_ok(open_bytes(s, kept.blob, kept.blob_len, TOK_TDK, &in_use), e);
    for (int i = 0; i < TOK_CACHE_ENTRIES + 100; i++) {
        const struct tok_working_key made = make(s, TOK_TDES, TOK_TDK);
        AUTO(tok_opened) opened = {0};
        ck_assert_ok(open_bytes(s, made.blob, made.blob_len, TOK_TDK, &opened), e);
    }
    ck_assert_uint_eq(count_objects(s), before + TOK_CACHE_ENTRIES);
    ck_assert_ok(tok_object_kcv(s, in_use.handle, TOK_TDES, kcv, 4, &e), e);
    ck_assert_mem_eq(kcv, kept.kcv, 4);
    tok_opened_drop(&in_use);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(loading_keys_empties_the_cache)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    const size_t before = count_objects(s);
    const struct tok_working_key mak = make(s, TOK_TDES, TOK_MAK), tdk = make(s, TOK_TDES, TOK_TDK);
    struct tok_opened opened = {0};
    ck_assert_ok(open_bytes(s, mak.blob, mak.blob_len, TOK_MAK, &opened), e);
    tok_opened_drop(&opened);
    ck_assert_ok(open_bytes(s, tdk.blob, tdk.blob_len, TOK_TDK, &opened), e);
    tok_opened_drop(&opened);
    ck_assert_uint_eq(count_objects(s), before + 3); /* a key, its left half, another key */
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_uint_eq(count_objects(s), before);
    ck_assert_ok(open_bytes(s, tdk.blob, tdk.blob_len, TOK_TDK, &opened), e);
    tok_opened_drop(&opened);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

struct crowd {
    struct tok *tok;
    struct tok_working_key keys[8];
};

static void *open_many(void *arg)
{
    struct crowd *crowd = arg;
    for (int i = 0; i < 200; i++) {
        const struct tok_working_key *key = &crowd->keys[i % 8];
        const struct tok_key_ref ref = {.blob = key->blob, .blob_len = key->blob_len};
        struct tok_session *s = NULL;
        struct err mine = {0};
        uint8_t kcv[4] = {0};
        if (tok_session_take(crowd->tok, &s, &mine) != ERR_OK)
            return crowd;
        struct tok_opened opened = {0};
        enum err_code code =
            tok_open_ref(s, &ref, &(struct tok_need){TOK_TDK, TOK_ZONE_DATA, TOK_OPEN}, &opened, &mine);
        if (code == ERR_OK)
            code = tok_object_kcv(s, opened.handle, TOK_TDES, kcv, 4, &mine);
        tok_opened_drop(&opened);
        tok_session_give(s);
        if (code != ERR_OK || !secret_equal(kcv, key->kcv, 4))
            return crowd;
    }
    return NULL;
}

START_TEST(blobs_open_in_many_threads)
{
    static struct crowd crowd;
    crowd.tok = open_with_keys(_i);
    struct tok_session *s = take(crowd.tok);
    for (size_t i = 0; i < 8; i++)
        crowd.keys[i] = make(s, TOK_TDES, TOK_TDK);
    tok_session_give(s);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        ck_assert(pthread_create(&threads[i], NULL, open_many, &crowd) == 0);
    for (size_t i = 0; i < 4; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    close_copy(crowd.tok);
}
END_TEST

/* A restarted token: keys are found anew, cached objects are forgotten, and blobs open again. */
START_TEST(blob_opens_after_all_sessions_were_lost)
{
    struct tok *tok = open_with_keys(_i);
    struct tok_session *s = take(tok);
    const struct tok_working_key made = make(s, TOK_TDES, TOK_TDK);
    CK_SESSION_INFO session_info;
    for (int i = 0; i < 3; i++) {
        struct tok_opened opened = {0};
        uint8_t kcv[4];
        ck_assert_ok(open_bytes(s, made.blob, made.blob_len, TOK_TDK, &opened), e);
        ck_assert_ok(tok_object_kcv(s, opened.handle, TOK_TDES, kcv, 4, &e), e);
        ck_assert_mem_eq(kcv, made.kcv, 4);
        if (i != 1) /* once with a key that is still held */
            tok_opened_drop(&opened);
        ck_assert(s->fn->C_GetSessionInfo(s->handle, &session_info) == CKR_OK);
        ck_assert(s->fn->C_CloseAllSessions(session_info.slotID) == CKR_OK);
        tok_session_give(s);
        s = take(tok);
        tok_opened_drop(&opened);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("p11/blob");
    TCase *tc = tcase_create("blob");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    tcase_add_loop_test(tc, blob_says_what_it_is, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, blob_is_refused_when_any_bit_is_changed, 0, 2 * TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, blob_is_refused_when_cut_or_longer, 0, 2 * TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, blob_of_form_1_opens, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, blob_of_another_card_is_denied, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, blob_opens_for_its_own_usage_only, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, opened_key_may_do_only_what_its_usage_needs, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, blob_opens_after_its_keys_were_followed_by_newer_ones, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, blob_of_another_key_set_is_refused, 0, TOKEN_KIND_COUNT);
    tcase_add_test(tc, storage_key_opens_nothing_readable);
    tcase_add_loop_test(tc, reference_is_one_thing, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, cached_blob_costs_no_new_object, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, cache_is_bounded_and_spares_what_is_in_use, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, loading_keys_empties_the_cache, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, blobs_open_in_many_threads, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, blob_opens_after_all_sessions_were_lost, 0, TOKEN_KIND_COUNT);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

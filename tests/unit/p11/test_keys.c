#include "p11/keys/find.h"
#include "p11/object/object.h"
#include "p11/tok.h"
#include "tests/unit/p11/harness.h"

#include <stdio.h>

static const struct {
    enum tok_role role;
    enum tok_suite suite;
    const char *zone, *label;
} kinds[] = {
    {TOK_PSAM_MASTER, TOK_TDES, "", "posward/psam-master/tdes/1"},
    {TOK_PSAM_MASTER, TOK_AES_256, "", "posward/psam-master/aes-256/1"},
    {TOK_CARD_CONTROL, TOK_TDES, "", "posward/card-control/tdes/1"},
    {TOK_CARD_CONTROL, TOK_AES_256, "", "posward/card-control/aes-256/1"},
    {TOK_STORAGE, TOK_AES_256, "", "posward/storage/aes-256/1"},
    {TOK_BLOB_TAG, TOK_AES_256, "", "posward/blob-tag/aes-256/1"},
    {TOK_ZONE_PIN, TOK_TDES, "bank-a", "posward/zone-pin/bank-a/tdes/1"},
    {TOK_ZONE_PIN, TOK_AES_128, "bank-a", "posward/zone-pin/bank-a/aes-128/1"},
    {TOK_ZONE_MAC, TOK_TDES, "bank-a", "posward/zone-mac/bank-a/tdes/1"},
    {TOK_ZONE_MAC, TOK_AES_128, "bank-a", "posward/zone-mac/bank-a/aes-128/1"},
    {TOK_ZONE_DATA, TOK_TDES, "bank-a", "posward/zone-data/bank-a/tdes/1"},
    {TOK_ZONE_DATA, TOK_AES_128, "bank-a", "posward/zone-data/bank-a/aes-128/1"},
    {TOK_AUDIT, TOK_EC_P256, "", "posward/audit/ec-p256/1"},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static void generate_all(struct tok *tok)
{
    for (size_t i = 0; i < KINDS; i++)
        generate(tok, kinds[i].role, kinds[i].suite, 1, kinds[i].zone);
}

START_TEST(keys_are_generated_loaded_and_found)
{
    struct tok *tok = open_copy(_i);
    generate_all(tok);
    tok_close(tok);
    ck_assert_ok(tok_open(token_options(&fixture), &tok, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_uint_eq(tok_keys_count(tok), KINDS);
    for (size_t i = 0; i < KINDS; i++) {
        struct tok_key_name name = {.role = kinds[i].role, .suite = kinds[i].suite};
        struct tok_found found;
        strcpy(name.zone, kinds[i].zone);
        ck_assert_ok(tok_keys_find(tok, &name, TOK_PROTECT, &found, &e), e);
        ck_assert_uint_eq(found.name.version, 1);
        ck_assert_int_eq(found.left != 0, name.role == TOK_ZONE_MAC && name.suite == TOK_TDES);
        ck_assert_uint_eq(tok_keys_newest(tok, name.role, name.suite, name.zone), 1);
    }
    close_copy(tok);
}
END_TEST

START_TEST(key_may_do_only_what_its_role_needs)
{
    static const CK_ATTRIBUTE_TYPE usages[] = {CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN,       CKA_VERIFY,
                                               CKA_WRAP,    CKA_UNWRAP,  CKA_DERIVE,     CKA_EXTRACTABLE,
                                               CKA_TOKEN,   CKA_PRIVATE, CKA_MODIFIABLE, CKA_SENSITIVE};
    static const char *const wanted[] = {
        [TOK_PSAM_MASTER] = "000000101101", [TOK_CARD_CONTROL] = "000000101101",
        [TOK_STORAGE] = "000011001101",     [TOK_BLOB_TAG] = "001100001101",
        [TOK_ZONE_PIN] = "110011001101",    [TOK_ZONE_MAC] = "100000001101",
        [TOK_ZONE_DATA] = "110000001101"};
    struct tok *tok = open_copy(_i);
    generate_all(tok);
    struct tok_session *s = take(tok);
    for (size_t k = 0; k < KINDS - 1; k++) {
        CK_OBJECT_HANDLE handle[2];
        size_t count = 0;
        char got[sizeof usages / sizeof usages[0] + 1] = "";
        ck_assert_ok(tok_objects_labelled(s, kinds[k].label, handle, 2, &count, &e), e);
        ck_assert_uint_eq(count, 1);
        for (size_t i = 0; i < sizeof usages / sizeof usages[0]; i++) {
            CK_BBOOL value = 2;
            CK_ATTRIBUTE row = {usages[i], &value, sizeof value};
            ck_assert(s->fn->C_GetAttributeValue(s->handle, handle[0], &row, 1) == CKR_OK);
            got[i] = (char)('0' + value);
        }
        const bool signs = kinds[k].role == TOK_ZONE_MAC && kinds[k].suite != TOK_TDES;
        const char *want = signs ? "001100001101" : wanted[kinds[k].role];
        ck_assert_msg(strcmp(got, want) == 0, "%s may %s, not %s", kinds[k].label, got, want);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(key_value_is_not_readable)
{
    struct tok *tok = open_copy(_i);
    generate_all(tok);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    struct tok_session *s = take(tok);
    for (size_t k = 0; k < KINDS - 1; k++) {
        struct tok_key_name name;
        struct tok_found found;
        ck_assert_ok(tok_key_parse(kinds[k].label, &name, &e), e);
        ck_assert_ok(tok_keys_find(tok, &name, TOK_PROTECT, &found, &e), e);
        const CK_OBJECT_HANDLE both[] = {found.handle, found.left};
        for (size_t i = 0; i < 2 && both[i] != 0; i++) {
            uint8_t value[64];
            CK_ATTRIBUTE row = {CKA_VALUE, value, sizeof value};
            ck_assert(s->fn->C_GetAttributeValue(s->handle, both[i], &row, 1) == CKR_ATTRIBUTE_SENSITIVE);
        }
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(imported_key_has_the_published_kcv)
{
    /* kcv-jpos-1 as a pair that is no single DES; its KCV by OpenSSL: openssl enc -des-ede-ecb of 8 zero
     * bytes. */
    static const uint8_t value[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
                                      0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10};
    static const uint8_t want[3] = {0x08, 0xD7, 0xB4}; /* the well-known check value of this test key */
    struct tok *tok = open_copy(_i);
    const struct tok_key_name name = {.role = TOK_PSAM_MASTER, .suite = TOK_TDES, .version = 7};
    AUTO(secret) secret = {0};
    struct tok_key_info info;
    uint8_t kcv[3];
    ck_assert_ok(secret_init_copy(&secret, value, sizeof value, &e), e);
    ck_assert_ok(tok_value_kcv(tok, TOK_TDES, &secret, kcv, &e), e);
    ck_assert_mem_eq(kcv, want, 3);
    ck_assert_ok(tok_key_import(tok, &name, &secret, TOK_KEY_ACTIVE, &info, &e), e);
    ck_assert_mem_eq(info.kcv, want, 3);
    ck_assert_str_eq(info.label, "posward/psam-master/tdes/7");
    ck_assert_int_eq(tok_key_import(tok, &name, &secret, TOK_KEY_ACTIVE, &info, &e), ERR_EXISTS);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    tok_keys_info(tok, 0, &info);
    ck_assert(info.has_kcv);
    ck_assert_mem_eq(info.kcv, want, 3);
    close_copy(tok);
}
END_TEST

START_TEST(import_refuses_what_is_no_such_key)
{
    struct tok *tok = open_copy(_i);
    struct tok_key_name name = {.role = TOK_PSAM_MASTER, .suite = TOK_TDES, .version = 1};
    AUTO(secret) secret = {0};
    struct tok_key_info info;
    /* equal but for parity bits */
    ck_assert_ok(
        secret_init_copy(&secret, "\x10\x20\x30\x40\x50\x60\x70\x80\x11\x21\x31\x41\x51\x61\x71\x81", 16, &e),
        e);
    ck_assert_int_eq(tok_key_import(tok, &name, &secret, TOK_KEY_ACTIVE, &info, &e), ERR_INPUT);
    secret.len = 15;
    ck_assert_int_eq(tok_key_import(tok, &name, &secret, TOK_KEY_ACTIVE, &info, &e), ERR_INPUT);
    name.suite = TOK_AES_128;
    ck_assert_int_eq(tok_key_import(tok, &name, &secret, TOK_KEY_ACTIVE, &info, &e), ERR_INPUT);
    name = (struct tok_key_name){.role = TOK_AUDIT, .suite = TOK_EC_P256, .version = 1};
    ck_assert_int_eq(tok_key_import(tok, &name, &secret, TOK_KEY_ACTIVE, &info, &e), ERR_UNSUPPORTED);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_uint_eq(tok_keys_count(tok), 0);
    close_copy(tok);
}
END_TEST

/* A second object under a label that is taken, as another tool would make it. */
static void plant(struct tok *tok, const char *label, const char *id)
{
    AUTO(tok_session) rw = {0};
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG len = 32;
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE handle;
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &class, sizeof class},
                        {CKA_KEY_TYPE, &type, sizeof type},
                        {CKA_TOKEN, &yes, sizeof yes},
                        {CKA_SIGN, &yes, sizeof yes},
                        {CKA_VALUE_LEN, &len, sizeof len},
                        {CKA_LABEL, (void *)(uintptr_t)label, strlen(label)},
                        {CKA_ID, (void *)(uintptr_t)id, strlen(id)}};
    ck_assert_ok(tok_session_open_rw(tok, &rw, &e), e);
    ck_assert(rw.fn->C_GenerateKey(rw.handle, &mechanism, t, sizeof t / sizeof t[0], &handle) == CKR_OK);
}

START_TEST(two_keys_of_one_label_are_refused)
{
    struct tok *tok = open_copy(_i);
    generate(tok, TOK_BLOB_TAG, TOK_AES_256, 1, "");
    plant(tok, "posward/blob-tag/aes-256/1", "AAAAAA/AAAAAA/posward/blob-tag/aes-256/1");
    const enum err_code code = tok_keys_load(tok, &e);
    ck_assert(code == ERR_STATE || code == ERR_CHECK); /* whichever object is listed first */
    ck_assert_ptr_nonnull(strstr(e.note, "posward/blob-tag/aes-256/1"));
    close_copy(tok);
}
END_TEST

START_TEST(key_that_is_not_the_recorded_one_is_refused)
{
    static const char *const ids[] = {"AAAAAA/BBBBBB/posward/blob-tag/aes-256/1",
                                      "AAAAAA/BBBBBB/posward/other", "no record", ""};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct tok *tok = open_copy(_i);
        plant(tok, "posward/blob-tag/aes-256/1", ids[i]);
        ck_assert_int_eq(tok_keys_load(tok, &e), ERR_CHECK);
        ck_assert_ptr_nonnull(strstr(e.note, "posward/blob-tag/aes-256/1"));
        close_copy(tok);
    }
}
END_TEST

START_TEST(foreign_keys_are_passed_over_and_misnamed_ones_refused)
{
    struct tok *tok = open_copy(_i);
    plant(tok, "someone else's", "x");
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_uint_eq(tok_keys_count(tok), 0);
    plant(tok, "posward/psam-mister/tdes/1", "y");
    ck_assert_int_eq(tok_keys_load(tok, &e), ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(e.note, "psam-mister"));
    close_copy(tok);
    tok = open_copy(_i);
    plant(tok, "posward/\033[2Jaudit", "z"); /* would clear the operator's screen */
    ck_assert_int_eq(tok_keys_load(tok, &e), ERR_CHECK);
    ck_assert_ptr_null(strchr(e.note, '\033'));
    close_copy(tok);
}
END_TEST

START_TEST(missing_key_is_named_and_the_newest_is_found)
{
    struct tok *tok = open_copy(_i);
    const struct tok_key_name storage = {.role = TOK_STORAGE, .suite = TOK_AES_256, .version = 3};
    struct tok_found found;
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_int_eq(tok_keys_find(tok, &storage, TOK_PROTECT, &found, &e), ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(e.note, "posward/storage/aes-256/3"));
    ck_assert_uint_eq(tok_keys_newest(tok, TOK_STORAGE, TOK_AES_256, ""), 0);
    generate(tok, TOK_STORAGE, TOK_AES_256, 2, "");
    generate(tok, TOK_STORAGE, TOK_AES_256, 10, "");
    generate(tok, TOK_STORAGE, TOK_AES_256, 9, "");
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_uint_eq(tok_keys_newest(tok, TOK_STORAGE, TOK_AES_256, ""), 10);
    close_copy(tok);
}
END_TEST

START_TEST(zone_of_two_suites_must_be_told_which)
{
    struct tok *tok = open_copy(_i);
    struct tok_key_name name = {.role = TOK_ZONE_PIN, .zone = "bank-a"};
    struct tok_found found;
    generate(tok, TOK_ZONE_PIN, TOK_TDES, 1, "bank-a");
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_ok(tok_keys_find(tok, &name, TOK_PROTECT, &found, &e), e);
    ck_assert_int_eq(found.name.suite, TOK_TDES);
    generate(tok, TOK_ZONE_PIN, TOK_AES_128, 1, "bank-a");
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_int_eq(tok_keys_find(tok, &name, TOK_PROTECT, &found, &e), ERR_STATE);
    close_copy(tok);
}
END_TEST

START_TEST(keys_leave_no_session_objects)
{
    struct tok *tok = open_copy(_i);
    struct tok_session *s = take(tok);
    const size_t before = count_objects(s);
    generate_all(tok);
    const size_t made = count_objects(s);
    ck_assert_uint_eq(made, before + 2 * KINDS +
                                2); /* each with its state; the left half and the audit key's public half */
    ck_assert_ok(tok_keys_load(tok, &e), e);
    const size_t loaded = count_objects(s);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_uint_eq(count_objects(s), loaded);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(label_reads_back_and_bad_ones_are_refused)
{
    static const char *const bad[] = {"",
                                      "posward/",
                                      "posward/psam-master",
                                      "posward/psam-master/tdes",
                                      "posward/psam-master/tdes/",
                                      "posward/psam-master/tdes/0",
                                      "posward/psam-master/tdes/256",
                                      "posward/psam-master/tdes/1x",
                                      "posward/psam-master/tdes/01",
                                      "posward/psam-master/aes-128/1",
                                      "posward/psam-master/bank/tdes/1",
                                      "posward/zone-pin/tdes/1",
                                      "posward/zone-pin//tdes/1",
                                      "posward/zone-pin/Bank/tdes/1",
                                      "posward/zone-pin/0123456789012345678901234567890123/tdes/1",
                                      "posward/zone-pin/a/aes-256/1",
                                      "posward/audit/aes-256/1",
                                      "posward/blob-tag/ec-p256/1",
                                      "Posward/psam-master/tdes/1"};
    for (size_t i = 0; i < KINDS; i++) {
        struct tok_key_name name;
        char label[TOK_LABEL_BYTES];
        ck_assert_ok(tok_key_parse(kinds[i].label, &name, &e), e);
        tok_key_label(&name, label);
        ck_assert_str_eq(label, kinds[i].label);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tok_key_name name;
        ck_assert_msg(tok_key_parse(bad[i], &name, &e) == ERR_INPUT, "%s is taken", bad[i]);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("p11/keys");
    TCase *tc = tcase_create("keys");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    tcase_add_loop_test(tc, keys_are_generated_loaded_and_found, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, key_may_do_only_what_its_role_needs, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, key_value_is_not_readable, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, imported_key_has_the_published_kcv, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, import_refuses_what_is_no_such_key, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, two_keys_of_one_label_are_refused, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, key_that_is_not_the_recorded_one_is_refused, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, foreign_keys_are_passed_over_and_misnamed_ones_refused, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, missing_key_is_named_and_the_newest_is_found, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, zone_of_two_suites_must_be_told_which, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, keys_leave_no_session_objects, 0, TOKEN_KIND_COUNT);
    tcase_add_test(tc, label_reads_back_and_bad_ones_are_refused);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

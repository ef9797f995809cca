#include "p11/flow/blob_form.h"

#include "base/secret.h"
#include "tests/support/suite.h"

#include <string.h>

static struct err e;

static const struct {
    enum tok_suite suite;
    enum tok_usage usage;
    unsigned key_bytes, parts;
    const char *psam_number;
    bool right;
    enum tok_mac mac; /* of form 2 */
} rows[] = {
    {TOK_TDES, TOK_PIK, 8, 1, "6201000000123456", true, 0},
    {TOK_TDES, TOK_MAK, 16, 2, "62010000001234567890", true, TOK_MAC_X9_19},
    {TOK_TDES, TOK_MAK, 16, 1, "00000000000000000", true, TOK_MAC_ALG3_PAD2},
    {TOK_TDES, TOK_MAK, 8, 1, "6201000000123456", true, TOK_MAC_X9_9},
    {TOK_AES_128, TOK_TMK, 16, 1, "0201000000123456789", true, 0},
    {TOK_AES_256, TOK_TMK, 32, 1, "620100000012345678", true, 0},
    {TOK_AES_256, TOK_PIK, 16, 1, "620100000012345678", true, 0},
    {TOK_AES_256, TOK_MAK, 16, 1, "620100000012345678", true, TOK_MAC_CMAC},
    {TOK_TDES, TOK_PIK, 24, 1, "6201000000123456", false, 0},
    {TOK_TDES, TOK_PIK, 16, 2, "6201000000123456", false, 0},
    {TOK_TDES, TOK_MAK, 8, 2, "6201000000123456", false, TOK_MAC_X9_9},
    {TOK_TDES, TOK_MAK, 16, 0, "6201000000123456", false, TOK_MAC_UNIONPAY},
    {TOK_TDES, TOK_MAK, 16, 3, "6201000000123456", false, TOK_MAC_UNIONPAY},
    {TOK_AES_256, TOK_PIK, 32, 1, "6201000000123456", false, 0},
    {TOK_AES_128, TOK_PIK, 8, 1, "6201000000123456", false, 0},
    {TOK_TDES, TOK_PIK, 8, 1, "620100000012345", false, 0},
    {TOK_TDES, TOK_PIK, 8, 1, "620100000012345A", false, 0},
    {TOK_TDES, (enum tok_usage)5, 16, 1, "6201000000123456", false, 0},
    {(enum tok_suite)0, TOK_PIK, 16, 1, "6201000000123456", false, 0},
};
#define ROWS ((int)(sizeof rows / sizeof rows[0]))

/* As form 1 says it, which has no fields for the last two. */
static void make_form_1(struct tok_blob_view *view)
{
    view->info.form = 1;
    if (view->info.mac_algorithm != 0)
        view->info.mac_algorithm = view->info.suite == TOK_TDES ? TOK_MAC_UNIONPAY : TOK_MAC_CMAC;
    memset(view->info.sign_in, 0, sizeof view->info.sign_in);
}

static struct tok_blob_view view_of(int row, unsigned form)
{
    struct tok_blob_view view = {.info = {.form = 2,
                                          .mac_algorithm = rows[row].mac,
                                          .suite = rows[row].suite,
                                          .usage = rows[row].usage,
                                          .key_bytes = rows[row].key_bytes,
                                          .master_version = 255,
                                          .storage_version = 2,
                                          .created_ms = 0x0102030405060708,
                                          .kcv = {0xDE, 0xAD, 0xBE, 0xEF}},
                                 .tag_version = 3,
                                 .parts = rows[row].parts};
    strcpy(view.info.psam_number, rows[row].psam_number);
    if (rows[row].usage != TOK_TMK)
        memcpy(view.info.sign_in, "\0signin!", 8);
    if (form == 1)
        make_form_1(&view);
    return view;
}

START_TEST(head_reads_back)
{
    const int row = _i / 2;
    const unsigned form = 1 + _i % 2;
    const struct tok_blob_view view = view_of(row, form);
    uint8_t blob[TOK_BLOB_BYTES] = {0};
    struct tok_blob_view got;
    if (!rows[row].right) {
        ck_assert_int_eq(tok_blob_head(&view, blob, &e), ERR_INPUT);
        return;
    }
    ck_assert_ok(tok_blob_head(&view, blob, &e), e);
    const size_t wrapped = tok_blob_held_bytes(rows[row].key_bytes) + 8;
    const size_t len = (form == 1 ? 34 : 43) + rows[row].parts * wrapped + TOK_BLOB_TAG_BYTES;
    ck_assert_uint_le(len, TOK_BLOB_BYTES);
    for (size_t cut = 0; cut <= TOK_BLOB_BYTES; cut++)
        ck_assert_int_eq(tok_blob_parse(blob, cut, &got, &e), cut == len ? ERR_OK : ERR_CHECK);
    ck_assert_ok(tok_blob_parse(blob, len, &got, &e), e);
    ck_assert_str_eq(got.info.psam_number, rows[row].psam_number);
    ck_assert_int_eq(got.info.created_ms, view.info.created_ms);
    ck_assert_uint_eq(got.info.master_version, 255);
    ck_assert_uint_eq(got.info.storage_version, 2);
    ck_assert_uint_eq(got.tag_version, 3);
    ck_assert_mem_eq(got.info.kcv, view.info.kcv, 4);
    ck_assert_uint_eq(got.wrapped_len, wrapped);
    ck_assert_uint_eq(got.parts, rows[row].parts);
    ck_assert_uint_eq(got.info.form, form);
    ck_assert_int_eq(got.info.mac_algorithm, view.info.mac_algorithm);
    ck_assert_mem_eq(got.info.sign_in, view.info.sign_in, 8);
}
END_TEST

START_TEST(form_has_one_encoding)
{
    static const struct {
        size_t at;
        uint8_t value;
    } bad[] = {
        {0, 'Q'}, {3, '0'}, {3, '3'}, {4, 0},     {4, 4},  {5, 0},    {5, 5},     {6, 0},
        {6, 24},  {7, 0},   {7, 2},   {8, 15},    {8, 21}, {9, 0x10}, {10, 0x01}, {18, 0x0A},
        {19, 0},  {20, 0},  {21, 0},  {22, 0x80}, {34, 1}, /* form 2: no MAC algorithm of a PIK; form 1: a
                                                              byte of the key */
    };
    const unsigned form = (unsigned)_i;
    const struct tok_blob_view view = view_of(0, form);
    uint8_t blob[TOK_BLOB_HEAD_MAX + 24 + TOK_BLOB_TAG_BYTES] = {0};
    const size_t len = tok_blob_head_bytes(form) + 24 + TOK_BLOB_TAG_BYTES;
    struct tok_blob_view got;
    ck_assert_ok(tok_blob_head(&view, blob, &e), e);
    ck_assert_ok(tok_blob_parse(blob, len, &got, &e), e);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0] - (form == 1); i++) {
        uint8_t changed[sizeof blob];
        memcpy(changed, blob, sizeof blob);
        changed[bad[i].at] = bad[i].value;
        ck_assert_msg(tok_blob_parse(changed, len, &got, &e) == ERR_CHECK, "byte %zu", bad[i].at);
    }
    blob[3] ^= 3; /* the other form's digit: the length is wrong then */
    ck_assert_int_eq(tok_blob_parse(blob, len, &got, &e), ERR_CHECK);
    ck_assert_int_eq(tok_blob_parse(NULL, 0, &got, &e), ERR_CHECK);
}
END_TEST

/* Every value of the algorithm's byte, for every key that there is, against the rule in words. */
START_TEST(algorithm_is_one_that_the_key_serves)
{
    uint8_t blob[TOK_BLOB_BYTES] = {0};
    struct tok_blob_view got, view = view_of(_i, 2);
    if (!rows[_i].right)
        return;
    ck_assert_ok(tok_blob_head(&view, blob, &e), e);
    const size_t len =
        43 + rows[_i].parts * (tok_blob_held_bytes(rows[_i].key_bytes) + 8) + TOK_BLOB_TAG_BYTES;
    for (unsigned value = 0; value < 256; value++) {
        const bool tdes_mac = value >= TOK_MAC_UNIONPAY && value < TOK_MAC_CMAC;
        bool right = value == 0;
        if (rows[_i].usage == TOK_MAK && rows[_i].suite != TOK_TDES)
            right = value == TOK_MAC_CMAC;
        else if (rows[_i].usage == TOK_MAK)
            right = tdes_mac && (value != TOK_MAC_X9_9 || rows[_i].key_bytes == 8);
        blob[34] = (uint8_t)value;
        ck_assert_int_eq(tok_blob_parse(blob, len, &got, &e), right ? ERR_OK : ERR_CHECK);
        view.info.mac_algorithm = (enum tok_mac)value;
        ck_assert_int_eq(tok_blob_head(&view, blob, &e), right ? ERR_OK : ERR_INPUT);
        if (rows[_i].usage == TOK_MAK)
            ck_assert(tok_mac_fits(rows[_i].suite, rows[_i].key_bytes, (enum tok_mac)value) == right);
    }
}
END_TEST

/* A working key is of a sign-in, a TMK of none; form 1 says neither that nor an algorithm of its own. */
START_TEST(sign_in_is_of_working_keys)
{
    uint8_t blob[TOK_BLOB_BYTES] = {0};
    struct tok_blob_view got, view = view_of(_i, 2);
    if (!rows[_i].right)
        return;
    ck_assert_ok(tok_blob_head(&view, blob, &e), e);
    const bool tmk = rows[_i].usage == TOK_TMK;
    const size_t len =
        43 + rows[_i].parts * (tok_blob_held_bytes(rows[_i].key_bytes) + 8) + TOK_BLOB_TAG_BYTES;
    for (size_t at = 0; at < 8; at++) {
        memset(blob + 35, 0, 8);
        blob[35 + at] = 0x80;
        ck_assert_int_eq(tok_blob_parse(blob, len, &got, &e), tmk ? ERR_CHECK : ERR_OK);
        memcpy(view.info.sign_in, blob + 35, 8);
        ck_assert_int_eq(tok_blob_head(&view, blob, &e), tmk ? ERR_INPUT : ERR_OK);
    }
    memset(blob + 35, 0, 8);
    ck_assert_int_eq(tok_blob_parse(blob, len, &got, &e), tmk ? ERR_OK : ERR_CHECK);
    memset(view.info.sign_in, 0, 8);
    ck_assert_int_eq(tok_blob_head(&view, blob, &e), tmk ? ERR_OK : ERR_INPUT);
    view = view_of(_i, 1);
    view.info.sign_in[3] = 1;
    ck_assert_int_eq(tok_blob_head(&view, blob, &e), ERR_INPUT);
    view = view_of(_i, 1);
    view.info.mac_algorithm = view.info.mac_algorithm == TOK_MAC_X9_19 ? 0 : TOK_MAC_X9_19;
    ck_assert_int_eq(tok_blob_head(&view, blob, &e), ERR_INPUT);
    view = view_of(_i, 2);
    view.info.form = 3;
    ck_assert_int_eq(tok_blob_head(&view, blob, &e), ERR_INPUT);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("p11/blob_form");
    TCase *tc = tcase_create("form");
    tcase_add_loop_test(tc, head_reads_back, 0, 2 * ROWS);
    tcase_add_loop_test(tc, form_has_one_encoding, 1, 3);
    tcase_add_loop_test(tc, algorithm_is_one_that_the_key_serves, 0, ROWS);
    tcase_add_loop_test(tc, sign_in_is_of_working_keys, 0, ROWS);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

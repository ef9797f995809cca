#include "p11/blob.h"

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
} rows[] = {
    {TOK_TDES, TOK_PIK, 8, 1, "6201000000123456", true},
    {TOK_TDES, TOK_MAK, 16, 2, "62010000001234567890", true},
    {TOK_TDES, TOK_MAK, 16, 1, "00000000000000000", true},
    {TOK_AES_128, TOK_TMK, 16, 1, "0201000000123456789", true},
    {TOK_AES_256, TOK_TMK, 32, 1, "620100000012345678", true},
    {TOK_AES_256, TOK_PIK, 16, 1, "620100000012345678", true},
    {TOK_TDES, TOK_PIK, 24, 1, "6201000000123456", false},
    {TOK_TDES, TOK_PIK, 16, 2, "6201000000123456", false},
    {TOK_TDES, TOK_MAK, 8, 2, "6201000000123456", false},
    {TOK_TDES, TOK_MAK, 16, 0, "6201000000123456", false},
    {TOK_TDES, TOK_MAK, 16, 3, "6201000000123456", false},
    {TOK_AES_256, TOK_PIK, 32, 1, "6201000000123456", false},
    {TOK_AES_128, TOK_PIK, 8, 1, "6201000000123456", false},
    {TOK_TDES, TOK_PIK, 8, 1, "620100000012345", false},
    {TOK_TDES, TOK_PIK, 8, 1, "620100000012345A", false},
    {TOK_TDES, (enum tok_usage)5, 16, 1, "6201000000123456", false},
    {(enum tok_suite)0, TOK_PIK, 16, 1, "6201000000123456", false},
};
#define ROWS ((int)(sizeof rows / sizeof rows[0]))

static struct tok_blob_view view_of(int row)
{
    struct tok_blob_view view = {.info = {.suite = rows[row].suite,
                                          .usage = rows[row].usage,
                                          .key_bytes = rows[row].key_bytes,
                                          .master_version = 255,
                                          .storage_version = 2,
                                          .created_ms = 0x0102030405060708,
                                          .kcv = {0xDE, 0xAD, 0xBE, 0xEF}},
                                 .tag_version = 3,
                                 .parts = rows[row].parts};
    strcpy(view.info.psam_number, rows[row].psam_number);
    return view;
}

START_TEST(head_reads_back)
{
    const struct tok_blob_view view = view_of(_i);
    uint8_t blob[TOK_BLOB_BYTES] = {0};
    struct tok_blob_view got;
    if (!rows[_i].right) {
        ck_assert_int_eq(tok_blob_head(&view, blob, &e), ERR_INPUT);
        return;
    }
    ck_assert_ok(tok_blob_head(&view, blob, &e), e);
    const size_t wrapped = tok_blob_held_bytes(rows[_i].key_bytes) + 8;
    const size_t len = TOK_BLOB_HEAD_BYTES + rows[_i].parts * wrapped + TOK_BLOB_TAG_BYTES;
    ck_assert_uint_le(len, TOK_BLOB_BYTES);
    for (size_t cut = 0; cut <= TOK_BLOB_BYTES; cut++)
        ck_assert_int_eq(tok_blob_parse(blob, cut, &got, &e), cut == len ? ERR_OK : ERR_CHECK);
    ck_assert_ok(tok_blob_parse(blob, len, &got, &e), e);
    ck_assert_str_eq(got.info.psam_number, rows[_i].psam_number);
    ck_assert_int_eq(got.info.created_ms, view.info.created_ms);
    ck_assert_uint_eq(got.info.master_version, 255);
    ck_assert_uint_eq(got.info.storage_version, 2);
    ck_assert_uint_eq(got.tag_version, 3);
    ck_assert_mem_eq(got.info.kcv, view.info.kcv, 4);
    ck_assert_uint_eq(got.wrapped_len, wrapped);
    ck_assert_uint_eq(got.parts, rows[_i].parts);
}
END_TEST

START_TEST(form_has_one_encoding)
{
    static const struct {
        size_t at;
        uint8_t value;
    } bad[] = {
        {0, 'Q'}, {3, '2'}, {4, 0},    {4, 4},     {5, 0},     {5, 5},  {6, 0},  {6, 24}, {7, 0},     {7, 2},
        {8, 15},  {8, 21},  {9, 0x10}, {10, 0x01}, {18, 0x0A}, {19, 0}, {20, 0}, {21, 0}, {22, 0x80},
    };
    const struct tok_blob_view view = view_of(0);
    uint8_t blob[TOK_BLOB_HEAD_BYTES + 24 + TOK_BLOB_TAG_BYTES] = {0};
    struct tok_blob_view got;
    ck_assert_ok(tok_blob_head(&view, blob, &e), e);
    ck_assert_ok(tok_blob_parse(blob, sizeof blob, &got, &e), e);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t changed[sizeof blob];
        memcpy(changed, blob, sizeof blob);
        changed[bad[i].at] = bad[i].value;
        ck_assert_msg(tok_blob_parse(changed, sizeof changed, &got, &e) == ERR_CHECK, "byte %zu", bad[i].at);
    }
    ck_assert_int_eq(tok_blob_parse(NULL, 0, &got, &e), ERR_CHECK);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("p11/blob_form");
    TCase *tc = tcase_create("form");
    tcase_add_loop_test(tc, head_reads_back, 0, ROWS);
    tcase_add_test(tc, form_has_one_encoding);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

#include "p11/flow/pin_block.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>

/* Layouts and rules of ISO 9564-1:2017, without a token. */

static const char pan_16[] = "5555555551234567";
static struct err e;

static void digits_of(const char *pin, struct secret *out_pin)
{
    ck_assert_ok(secret_init(out_pin, &e), e);
    out_pin->len = strlen(pin);
    for (size_t i = 0; i < out_pin->len; i++)
        out_pin->bytes[i] = (uint8_t)(pin[i] - '0');
}

static void expect_digits(const struct secret *got, const char *pin)
{
    ck_assert_uint_eq(got->len, strlen(pin));
    for (size_t i = 0; i < got->len; i++)
        ck_assert_int_eq(got->bytes[i] + '0', pin[i]);
}

START_TEST(pin_block_comes_back_in_every_format_and_length)
{
    static const char longest[] = "908172635445";
    for (size_t len = PIN_SHORTEST; len <= PIN_LONGEST; len++) {
        char pin[PIN_LONGEST + 1] = {0};
        uint8_t fill[PIN_FILL_BYTES];
        AUTO(secret) digits = {0};
        AUTO(secret) block = {0};
        AUTO(secret) decoded = {0};
        memcpy(pin, longest, len);
        random_bytes(fill, sizeof fill);
        digits_of(pin, &digits);
        ck_assert_ok(pin_block_encode((unsigned)_i, pan_16, &digits, fill, &block, &e), e);
        ck_assert_ok(pin_block_decode((unsigned)_i, pan_16, &block, &decoded, &e), e);
        expect_digits(&decoded, pin);
    }
}
END_TEST

START_TEST(pin_block_refuses_a_pin_of_another_length)
{
    static const char *const pins[] = {"", "123", "1234567890123"};
    const uint8_t fill[PIN_FILL_BYTES] = {0};
    for (size_t i = 0; i < sizeof pins / sizeof *pins; i++) {
        AUTO(secret) digits = {0};
        AUTO(secret) block = {0};
        digits_of(pins[i], &digits);
        ck_assert_int_eq(pin_block_encode(0, pan_16, &digits, fill, &block, &e), ERR_INPUT);
        ck_assert_ptr_null(block.bytes);
    }
}
END_TEST

/* A clear field of format 1 (no PAN in the way) or of another, and why it is none. */
struct bad_block {
    unsigned format;
    uint8_t field[8];
    const char *why;
};
static const struct bad_block bad_blocks[] = {
    {1, {0x04, 0x12, 0x34, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, "control nibble of format 0"},
    {1, {0x13, 0x12, 0x3F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, "three digits"},
    {1, {0x1D, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x3F}, "thirteen digits"},
    {1, {0x1F, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34}, "fifteen digits"},
    {1, {0x10, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34}, "no digit"},
    {1, {0x14, 0x12, 0x3A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, "the last digit is A"},
    {1, {0x14, 0xF2, 0x34, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, "the first digit is F"},
    {2, {0x24, 0x12, 0x34, 0xFF, 0xFF, 0xFF, 0xFF, 0xF0}, "last fill 0"},
    {2, {0x24, 0x12, 0x34, 0xEF, 0xFF, 0xFF, 0xFF, 0xFF}, "first fill E"},
};

START_TEST(pin_block_refuses_what_is_no_pin)
{
    const struct bad_block *bad = &bad_blocks[_i];
    AUTO(secret) block = {0};
    AUTO(secret) pin = {0};
    ck_assert_ok(secret_init_copy(&block, bad->field, sizeof bad->field, &e), e);
    ck_assert_msg(pin_block_decode(bad->format, pan_16, &block, &pin, &e) == ERR_CHECK, "%s", bad->why);
    ck_assert_ptr_null(pin.bytes);
    /* One sentence for all of them: no oracle. */
    ck_assert_str_eq(e.note, "the PIN block does not decode: another key, PAN or format");
}
END_TEST

START_TEST(pin_block_refuses_fill_of_other_formats)
{
    const uint8_t format_3[8] = {0x34,        0x12,        0x34 ^ 0x55, 0x9A ^ 0x55,
                                 0xFF ^ 0x55, 0xFF ^ 0x12, 0xFF ^ 0x34, 0xFF ^ 0x56};
    uint8_t format_4[16] = {0x44, 0x12, 0x34, 0xAA, 0xAA, 0xAA, 0xAA, 0xAB};
    AUTO(secret) three = {0};
    AUTO(secret) four = {0};
    AUTO(secret) pin = {0};
    ck_assert_ok(secret_init_copy(&three, format_3, sizeof format_3, &e), e);
    ck_assert_int_eq(pin_block_decode(3, pan_16, &three, &pin, &e), ERR_CHECK);
    three.bytes[3] = 0xAA ^ 0x55;
    ck_assert_ok(pin_block_decode(3, pan_16, &three, &pin, &e), e);
    expect_digits(&pin, "1234");
    secret_drop(&pin);
    ck_assert_ok(secret_init_copy(&four, format_4, sizeof format_4, &e), e);
    ck_assert_int_eq(pin_block_decode(4, pan_16, &four, &pin, &e), ERR_CHECK);
    four.bytes[7] = 0xAA;
    ck_assert_ok(pin_block_decode(4, pan_16, &four, &pin, &e), e);
    expect_digits(&pin, "1234");
}
END_TEST

START_TEST(pin_block_is_bound_to_its_pan)
{
    const uint8_t fill[PIN_FILL_BYTES] = {0};
    AUTO(secret) digits = {0};
    AUTO(secret) block = {0};
    AUTO(secret) pin = {0};
    digits_of("1234", &digits);
    ck_assert_ok(pin_block_encode(0, pan_16, &digits, fill, &block, &e), e);
    ck_assert_int_eq(pin_block_decode(0, "5555555551234575", &block, &pin, &e), ERR_CHECK);
}
END_TEST

START_TEST(pin_block_refuses_wrong_lengths)
{
    const uint8_t zeros[PIN_BLOCK_LARGEST + 1] = {0};
    for (unsigned format = 0; format < PIN_FORMATS; format++) {
        for (size_t len = 0; len <= sizeof zeros; len++) {
            AUTO(secret) block = {0};
            AUTO(secret) pin = {0};
            if (len == pin_block_bytes(format))
                continue;
            ck_assert_ok(secret_init_copy(&block, zeros, len, &e), e);
            ck_assert_int_eq(pin_block_decode(format, pan_16, &block, &pin, &e), ERR_INPUT);
        }
    }
}
END_TEST

START_TEST(pan_field_takes_12_to_19_digits)
{
    static const char digits[] = "1234567890123456789";
    char pan[24];
    uint8_t field[PIN_BLOCK_LARGEST];
    /* 12 digits: 11 without the check digit, one zero before them */
    const uint8_t shortest_0[8] = {0x00, 0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0x01};
    const uint8_t longest_4[16] = {0x71, 0x23, 0x45, 0x67, 0x89, 0x01, 0x23, 0x45, 0x67, 0x89};
    pin_pan_field(0, "123456789012", field);
    ck_assert_mem_eq(field, shortest_0, 8);
    pin_pan_field(4, digits, field);
    ck_assert_mem_eq(field, longest_4, 16);
    const uint8_t shortest_4[16] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x50};
    pin_pan_field(4, "5", field);
    ck_assert_mem_eq(field, shortest_4, 16);
    for (size_t len = 12; len <= 19; len++) {
        snprintf(pan, sizeof pan, "%.*s", (int)len, digits);
        ck_assert_ok(pin_pan_check(pan, &e), e);
    }
    static const char *const wrong[] = {"", "12345678901", "12345678901234567890",
                                        "123456789012345=", "12345678 0123"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_int_eq(pin_pan_check(wrong[i], &e), ERR_INPUT);
        ck_assert(wrong[i][0] == '\0' || strstr(e.note, wrong[i]) == NULL);
    }
    ck_assert_int_eq(pin_pan_check(NULL, &e), ERR_INPUT);
}
END_TEST

/* Rows from, columns to; ISO 9564-1:2017 9.3 and 9.4, written down anew. */
static const char permitted[PIN_FORMATS][PIN_FORMATS + 1] = {
    [0] = "y--yy", [1] = "yy-yy", [2] = "-----", [3] = "y--yy", [4] = "y--yy"};

START_TEST(pin_rules_refuse_each_forbidden_translation)
{
    for (unsigned to = 0; to < PIN_FORMATS; to++) {
        const enum err_code code = pin_rule_check((unsigned)_i, to, &e);
        ck_assert_msg(code == (permitted[_i][to] == 'y' ? ERR_OK : ERR_DENIED), "%d to %u", _i, to);
    }
    ck_assert_int_eq(pin_rule_check((unsigned)_i, PIN_FORMATS, &e), ERR_INPUT);
    ck_assert_int_eq(pin_rule_check(PIN_FORMATS, (unsigned)_i, &e), ERR_INPUT);
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("p11 pin block");
    TCase *tcase = tcase_create("layouts");
    tcase_add_loop_test(tcase, pin_block_comes_back_in_every_format_and_length, 0, PIN_FORMATS);
    tcase_add_test(tcase, pin_block_refuses_a_pin_of_another_length);
    tcase_add_loop_test(tcase, pin_block_refuses_what_is_no_pin, 0,
                        (int)(sizeof bad_blocks / sizeof *bad_blocks));
    tcase_add_test(tcase, pin_block_refuses_fill_of_other_formats);
    tcase_add_test(tcase, pin_block_is_bound_to_its_pan);
    tcase_add_test(tcase, pin_block_refuses_wrong_lengths);
    tcase_add_test(tcase, pan_field_takes_12_to_19_digits);
    tcase_add_loop_test(tcase, pin_rules_refuse_each_forbidden_translation, 0, PIN_FORMATS);
    suite_add_tcase(suite, tcase);
    return suite;
}

SUITE_MAIN(make_suite())

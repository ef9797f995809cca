/* Published clear PIN blocks through the encoder and the decoder. */
#include "p11/flow/pin_block.h"
#include "tests/support/suite.h"
#include "tests/support/vectors.h"

#include <string.h>

static struct vectors blocks;
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

/* Fill that makes the encoder choose the filler of a published block: format 3 counts from A, 1 from 0. */
static void fill_of(unsigned format, const uint8_t *block, const uint8_t *field,
                    uint8_t out_fill[PIN_FILL_BYTES])
{
    const unsigned low = format == 3 ? 10 : 0, values = format == 3 ? 6 : 16;
    for (size_t i = 0; i < PIN_FILL_BYTES; i++) {
        const uint8_t byte = block[1 + i / 2] ^ field[1 + i / 2];
        const unsigned nibble = i % 2 == 0 ? byte >> 4 : byte & 15;
        out_fill[i] = nibble < low ? 0 : (uint8_t)(((nibble - low) * 256 + values - 1) / values);
    }
    if (format == 4)
        memcpy(out_fill, block + 8, 8);
}

START_TEST(pin_block_is_as_published)
{
    static const char *const known[] = {"block", NULL};
    uint8_t right[PIN_BLOCK_LARGEST] = {0}, field[PIN_BLOCK_LARGEST] = {0}, fill[PIN_FILL_BYTES];
    vectors_expect_only(&blocks, _i, known);
    const long number = vectors_int(&blocks, _i, "inputs", "format", -1);
    ck_assert(number >= 0 && number < PIN_FORMATS);
    const unsigned format = (unsigned)number;
    const char *pan = vectors_text(&blocks, _i, "inputs", "pan");
    const char *pin = vectors_text(&blocks, _i, "inputs", "pin");
    AUTO(secret) digits = {0};
    AUTO(secret) made = {0};
    AUTO(secret) published = {0};
    AUTO(secret) decoded = {0};
    digits_of(pin, &digits);
    const size_t len = vectors_hex(&blocks, _i, "expected", "block", right, sizeof right);
    ck_assert_uint_eq(len, pin_block_bytes(format));
    if (pan != NULL && format != 4)
        pin_pan_field(format, pan, field);
    fill_of(format, right, field, fill);
    ck_assert_ok(pin_block_encode(format, pan, &digits, fill, &made, &e), e);
    ck_assert_uint_eq(made.len, len);
    ck_assert(secret_equal(made.bytes, right, len));
    ck_assert_ok(secret_init_copy(&published, right, len, &e), e);
    ck_assert_ok(pin_block_decode(format, pan, &published, &decoded, &e), e);
    expect_digits(&decoded, pin);
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("p11 pin block vectors");
    TCase *tcase = tcase_create("vectors");
    if (vectors_open(&blocks, "pin_block"))
        tcase_add_loop_test(tcase, pin_block_is_as_published, 0, (int)blocks.count);
    suite_add_tcase(suite, tcase);
    return suite;
}

SUITE_MAIN_EXIT(make_suite(), vectors_exit)

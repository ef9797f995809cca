#include "base/hex.h"
#include "tests/support/suite.h"

START_TEST(hex_round_trips)
{
    const uint8_t bytes[] = {0x00, 0x7F, 0xA5, 0xFF};
    char text[9];
    hex_encode(bytes, sizeof bytes, text);
    ck_assert_str_eq(text, "007FA5FF");
    uint8_t again[4];
    struct err e = {0};
    ck_assert_ok(hex_decode("007fA5fF", 8, again, &e), e);
    ck_assert_mem_eq(again, bytes, 4);
}
END_TEST

START_TEST(hex_refuses_odd_and_foreign_characters)
{
    uint8_t out[2] = {0x11, 0x22};
    struct err e = {0};
    ck_assert_int_eq(hex_decode("123", 3, out, &e), ERR_INPUT);
    ck_assert_int_eq(hex_decode("12g4", 4, out, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "character 3 is not a hex digit");
    ck_assert_int_eq(out[0], 0x11);
    ck_assert_int_eq(out[1], 0x22);
}
END_TEST

START_TEST(bcd_refuses_hex_letters)
{
    uint8_t out[2];
    struct err e = {0};
    ck_assert_ok(bcd_encode("1234", 4, out, &e), e);
    ck_assert_int_eq(out[1], 0x34);
    ck_assert_int_eq(bcd_encode("12A4", 4, out, &e), ERR_INPUT);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hex");
    TCase *tc = tcase_create("hex");
    tcase_add_test(tc, hex_round_trips);
    tcase_add_test(tc, hex_refuses_odd_and_foreign_characters);
    tcase_add_test(tc, bcd_refuses_hex_letters);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

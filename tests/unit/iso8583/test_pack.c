#include "base/hex.h"
#include "iso8583/pack.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>

static struct iso_message m;
static struct err e;

static void setup(void)
{
    iso_message_init(&m, &iso_unionpay);
    e = (struct err){0};
}

static enum err_code unpack_hex(const char *text)
{
    uint8_t bytes[512];
    ck_assert_uint_le(strlen(text) / 2, sizeof bytes);
    ck_assert_ok(hex_decode(text, strlen(text), bytes, &e), e);
    return iso_unpack(&m, &iso_unionpay, bytes, strlen(text) / 2, &e);
}

struct refusal {
    const char *hex, *note;
};

static const struct refusal refusals[] = {
    {"02", "message type: needs 2 bytes, 1 left"},
    {"0A00", "message type is not 4 digits"},
    {"0200302004", "bitmap: needs 8 bytes, 3 left"},
    {"02008000000000000000", "bitmap announces a secondary bitmap (field 1); only fields 2-64 are supported"},
    {"02000800000000000000", "field 5 is not in dialect unionpay"},
    {"0200000000002000000039", "field 35: length 39 exceeds 37"},
    {"020000000000200000003A", "field 35: length byte 3A is not BCD"},
    {"0200000000002000000037", "field 35: value: needs 19 bytes, 0 left"},
    {"02000000000020000000", "field 35: length: needs 1 bytes, 0 left"},
    {"0200000000000000040005", "field 54: length: needs 2 bytes, 1 left"},
    {"020000000000000004000256", "field 54: length 256 exceeds 255"},
    {"0200002000000000000012345A", "field 11: digit 6 is A, not decimal"},
    {"020000000400000000000215", "field 22: pad nibble is 5, needs 0"},
    {"020000000200000000001001", "field 23: pad nibble is 1, needs 0"},
    {"0200400000000000000013123456789012", "field 2: value: needs 7 bytes, 6 left"},
    {"020040000000000000001312345678901FF0", "field 2: digit 12 is F, not decimal"},
    {"02000000000002000000300A", "field 39: character 2 is not printable"},
    {"020000200000000000000000010203", "2 bytes follow the last field (11)"},
    {"0200000000000000000000", "1 bytes follow the last field (0)"},
};

START_TEST(unpack_refuses_precisely)
{
    ck_assert_int_eq(unpack_hex(refusals[_i].hex), ERR_INPUT);
    ck_assert_str_eq(e.note, refusals[_i].note);
    for (unsigned i = ISO_FIELD_FIRST; i <= ISO_FIELD_LAST; i++)
        ck_assert(!iso_has(&m, i));
}
END_TEST

START_TEST(unpack_refuses_every_field_of_no_dialect)
{
    static const uint8_t unknown[] = {5,  6,  7,  8,  9,  10, 16, 17, 18, 19, 20, 21,
                                      24, 27, 28, 29, 30, 31, 33, 34, 40, 45, 50, 51};
    for (size_t i = 0; i < sizeof unknown; i++) {
        uint8_t bytes[64] = {0x02, 0x00};
        bytes[2 + (unknown[i] - 1) / 8] = (uint8_t)(0x80 >> (unknown[i] - 1) % 8);
        ck_assert_int_eq(iso_unpack(&m, &iso_unionpay, bytes, sizeof bytes, &e), ERR_INPUT);
        char note[64];
        snprintf(note, sizeof note, "field %u is not in dialect unionpay", unknown[i]);
        ck_assert_str_eq(e.note, note);
    }
}
END_TEST

START_TEST(every_field_at_its_longest_fits_and_returns)
{
    static uint8_t wire[ISO_MESSAGE_BYTES_MAX];
    static struct iso_message again;
    size_t len = 0;
    ck_assert_ok(iso_set_mti(&m, "0200", &e), e);
    for (unsigned i = ISO_FIELD_FIRST; i <= ISO_FIELD_LAST; i++) {
        const struct iso_field *row = iso_dialect_field(&iso_unionpay, i);
        char value[1024];
        memset(value, (int)('1' + i % 9), sizeof value);
        if (row != NULL)
            ck_assert_ok(iso_set_bytes(&m, i, value, row->max, &e), e);
    }
    ck_assert_ok(iso_pack(&m, wire, sizeof wire, &len, &e), e);
    ck_assert_ok(iso_unpack(&again, &iso_unionpay, wire, len, &e), e);
    for (unsigned i = ISO_FIELD_FIRST; i <= ISO_FIELD_LAST; i++) {
        ck_assert_int_eq(iso_has(&m, i), iso_has(&again, i));
        if (iso_has(&m, i))
            ck_assert_str_eq(iso_text(&m, i), iso_text(&again, i));
    }
    ck_assert_int_eq(iso_pack(&m, wire, len - 1, &len, &e), ERR_LIMIT);
}
END_TEST

START_TEST(set_replaces_and_clear_forgets)
{
    ck_assert_ok(iso_set_text(&m, 37, "123456789012", &e), e);
    ck_assert_ok(iso_set_text(&m, 39, "00", &e), e);
    ck_assert_ok(iso_set_text(&m, 63, "abc", &e), e);
    ck_assert_ok(iso_set_text(&m, 37, "ABCDEFGHIJKL", &e), e);
    ck_assert_str_eq(iso_text(&m, 37), "ABCDEFGHIJKL");
    ck_assert_str_eq(iso_text(&m, 39), "00");
    iso_clear(&m, 39);
    ck_assert(!iso_has(&m, 39) && iso_text(&m, 39) == NULL);
    ck_assert_str_eq(iso_text(&m, 63), "abc");
    for (int i = 0; i < 10000; i++) /* replaced values leave nothing behind */
        ck_assert_ok(iso_set_text(&m, 60, "0000000100", &e), e);
    ck_assert_str_eq(iso_text(&m, 63), "abc");
}
END_TEST

START_TEST(set_refuses_what_the_dictionary_does_not_allow)
{
    ck_assert_ok(iso_set_text(&m, 39, "00", &e), e);
    ck_assert_int_eq(iso_set_text(&m, 39, "000", &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "field 39: length 3 exceeds 2");
    ck_assert_str_eq(iso_text(&m, 39), "00");
    ck_assert_int_eq(iso_set_text(&m, 41, "123", &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "field 41: length 3, needs 8");
    ck_assert_int_eq(iso_set_text(&m, 4, "00000000010x", &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "field 4: character 12 is not a digit");
    ck_assert_int_eq(iso_set_text(&m, 1, "0", &e), ERR_INPUT);
    ck_assert_int_eq(iso_set_text(&m, 65, "0", &e), ERR_INPUT);
    ck_assert_int_eq(iso_set_number(&m, 11, 1000000, &e), ERR_INPUT);
    ck_assert_ok(iso_set_number(&m, 11, 42, &e), e);
    ck_assert_str_eq(iso_text(&m, 11), "000042");
    uint64_t number = 0;
    ck_assert_ok(iso_number(&m, 11, &number, &e), e);
    ck_assert_uint_eq(number, 42);
    ck_assert_int_eq(iso_number(&m, 4, &number, &e), ERR_NOT_FOUND);
}
END_TEST

START_TEST(track_separator_becomes_d)
{
    ck_assert_ok(iso_set_text(&m, 35, "6225758326736419=2412a", &e), e);
    ck_assert_str_eq(iso_text(&m, 35), "6225758326736419D2412A");
}
END_TEST

START_TEST(dialect_pads_field_2_with_f)
{
    static const uint8_t wire[] = {0x02, 0x00, 0x40, 0,    0,    0,    0,    0,    0,
                                   0,    0x13, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x3F};
    uint8_t again[64];
    size_t len = 0;
    ck_assert_int_eq(iso_unpack(&m, &iso_unionpay, wire, sizeof wire, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "field 2: pad nibble is F, needs 0");
    ck_assert_ok(iso_unpack(&m, &iso_unionpay_f2_pad_f, wire, sizeof wire, &e), e);
    ck_assert_str_eq(iso_text(&m, 2), "1234567890123");
    ck_assert_ok(iso_pack(&m, again, sizeof again, &len, &e), e);
    ck_assert_uint_eq(len, sizeof wire);
    ck_assert_mem_eq(again, wire, len);
}
END_TEST

START_TEST(mac_input_sets_bit_64_and_leaves_field_64_out)
{
    uint8_t with[64], without[64];
    size_t with_len = 0, without_len = 0;
    ck_assert_ok(iso_set_mti(&m, "0800", &e), e);
    ck_assert_ok(iso_set_number(&m, 11, 1, &e), e);
    ck_assert_ok(iso_mac_input(&m, without, sizeof without, &without_len, &e), e);
    ck_assert_uint_eq(iso_mac_input_len(&m, without_len), 0);
    ck_assert_ok(iso_set_text(&m, 64, "12345678", &e), e);
    ck_assert_ok(iso_mac_input(&m, with, sizeof with, &with_len, &e), e);
    ck_assert_uint_eq(with_len, without_len);
    ck_assert_mem_eq(with, without, with_len);
    ck_assert_uint_eq(with[9] & 1, 1);
    ck_assert_uint_eq(iso_mac_input_len(&m, with_len + 8), with_len);
}
END_TEST

START_TEST(require_names_the_missing_field)
{
    ck_assert_ok(iso_set_number(&m, 11, 1, &e), e);
    ck_assert_ok(iso_require(&m, (const uint8_t[]){11, 0}, &e), e);
    ck_assert_int_eq(iso_require(&m, (const uint8_t[]){11, 41, 42, 0}, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "field 41 is missing");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("iso8583 pack");
    TCase *tc = tcase_create("pack");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, unpack_refuses_precisely, 0, (int)(sizeof refusals / sizeof refusals[0]));
    tcase_add_test(tc, unpack_refuses_every_field_of_no_dialect);
    tcase_add_test(tc, every_field_at_its_longest_fits_and_returns);
    tcase_add_test(tc, set_replaces_and_clear_forgets);
    tcase_add_test(tc, set_refuses_what_the_dictionary_does_not_allow);
    tcase_add_test(tc, track_separator_becomes_d);
    tcase_add_test(tc, dialect_pads_field_2_with_f);
    tcase_add_test(tc, mac_input_sets_bit_64_and_leaves_field_64_out);
    tcase_add_test(tc, require_names_the_missing_field);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

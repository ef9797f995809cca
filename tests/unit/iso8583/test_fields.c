#include "iso8583/f62.h"
#include "iso8583/frame.h"
#include "iso8583/mask.h"
#include "iso8583/processing.h"
#include "iso8583/track2.h"
#include "tests/support/suite.h"

#include <string.h>

static struct err e;

START_TEST(mask_shows_first_six_and_last_four)
{
    char out[ISO_MASKED_BYTES];
    iso_mask_pan("6225758326736419", out);
    ck_assert_str_eq(out, "622575******6419");
    iso_mask_pan("123456789012", out);
    ck_assert_str_eq(out, "************");
    iso_mask_pan("12345678901234567890", out);
    ck_assert_str_eq(out, "?");
    iso_mask_track("6225758326736419D24122010000012300000", out);
    ck_assert_str_eq(out, "622575******6419=*");
    iso_mask_track("62A5758326736419D2412", out);
    ck_assert_str_eq(out, "?=*");
}
END_TEST

START_TEST(mask_hides_fields_without_a_row)
{
    static struct iso_message m;
    char out[ISO_MASKED_BYTES];
    iso_message_init(&m, &iso_unionpay);
    ck_assert_ok(iso_set_bytes(&m, 52, "12345678", 8, &e), e);
    ck_assert_ok(iso_set_text(&m, 2, "6225758326736419", &e), e);
    ck_assert_ok(iso_set_text(&m, 39, "00", &e), e);
    ck_assert_ok(iso_set_text(&m, 62, "plain text", &e), e);
    iso_mask_field(&m, 52, out);
    ck_assert_str_eq(out, "(8 bytes)");
    iso_mask_field(&m, 2, out);
    ck_assert_str_eq(out, "622575******6419");
    iso_mask_field(&m, 39, out);
    ck_assert_str_eq(out, "00");
    iso_mask_field(&m, 62, out);
    ck_assert_str_eq(out, "(10 bytes)");
    iso_mask_field(&m, 41, out);
    ck_assert_str_eq(out, "");
}
END_TEST

START_TEST(track2_spans_follow_the_rules)
{
    static const struct {
        enum iso_track2_rule rule;
        size_t digits, first, count; /* count 0: refused */
    } rows[] = {
        {ISO_TRACK2_TDES, 33, 16, 16}, {ISO_TRACK2_TDES, 37, 20, 16}, {ISO_TRACK2_TDES, 36, 18, 16},
        {ISO_TRACK2_TDES, 18, 0, 16},  {ISO_TRACK2_TDES, 17, 0, 0},   {ISO_TRACK2_TDES, 38, 0, 0},
        {ISO_TRACK2_AES, 37, 4, 32},   {ISO_TRACK2_AES, 36, 2, 32},   {ISO_TRACK2_AES, 35, 2, 32},
        {ISO_TRACK2_AES, 34, 0, 32},   {ISO_TRACK2_AES, 33, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct iso_track2_span span = {0};
        const enum err_code code = iso_track2_span(rows[i].rule, rows[i].digits, &span, &e);
        ck_assert_int_eq(code, rows[i].count > 0 ? ERR_OK : ERR_INPUT);
        ck_assert_uint_eq(span.first_digit, rows[i].first);
        ck_assert_uint_eq(span.digit_count, rows[i].count);
    }
}
END_TEST

START_TEST(track2_put_returns_what_slice_took)
{
    char track[] = "6225758326736419=24122010000012300000";
    uint8_t bytes[ISO_TRACK2_CLEAR_MAX];
    size_t len = 0;
    char pan[20];
    ck_assert_ok(iso_track2_pan(track, pan, &e), e);
    ck_assert_str_eq(pan, "6225758326736419");
    ck_assert_ok(iso_track2_slice(ISO_TRACK2_AES, track, bytes, &len, &e), e);
    ck_assert_uint_eq(len, 16);
    ck_assert_ok(iso_track2_put(ISO_TRACK2_AES, track, bytes, len, &e), e);
    ck_assert_str_eq(track, "6225758326736419D24122010000012300000");
    ck_assert_int_eq(iso_track2_put(ISO_TRACK2_TDES, track, bytes, len, &e), ERR_INPUT);
    ck_assert_int_eq(iso_track2_pan("622575832673641924122010000012300000", pan, &e), ERR_INPUT);
    ck_assert_int_eq(iso_track2_pan("62D24122010000012300000", pan, &e), ERR_INPUT);
}
END_TEST

START_TEST(frame_waits_for_every_byte)
{
    struct iso_envelope envelope = {{0x60, 0x00, 0x03, 0x12, 0x34}, {0x60, 0x31, 0x23, 0x31, 0x13, 0x01}};
    uint8_t message[10] = {0x08, 0x00}, wire[64];
    size_t len = 0;
    ck_assert_ok(iso_frame_build(&envelope, message, sizeof message, wire, sizeof wire, &len, &e), e);
    ck_assert_uint_eq(len, 23);
    struct iso_frame frame;
    for (size_t cut = 0; cut < len; cut++) {
        frame.total = 99;
        ck_assert_ok(iso_frame_parse(wire, cut, 1024, &frame, &e), e);
        ck_assert_uint_eq(frame.total, 0);
    }
    ck_assert_ok(iso_frame_parse(wire, sizeof wire, 1024, &frame, &e), e);
    ck_assert_uint_eq(frame.total, len);
    ck_assert_mem_eq(frame.message, message, frame.message_len);
    const struct iso_envelope answer = iso_envelope_answer(&frame.envelope);
    ck_assert_mem_eq(answer.tpdu, ((uint8_t[]){0x60, 0x12, 0x34, 0x00, 0x03}), 5);
    ck_assert_mem_eq(answer.header, ((uint8_t[]){0x60, 0x31, 0x20, 0x31, 0x13, 0x01}), 6);
    ck_assert_int_eq(iso_frame_build(&envelope, message, sizeof message, wire, len - 1, &len, &e), ERR_LIMIT);
}
END_TEST

START_TEST(frame_refuses_bad_lengths_at_once)
{
    struct iso_frame frame;
    ck_assert_int_eq(iso_frame_parse((const uint8_t[]){0x10, 0x00}, 2, 1024, &frame, &e), ERR_LIMIT);
    ck_assert_str_eq(e.note, "frame of 4098 bytes is longer than 1024");
    ck_assert_int_eq(iso_frame_parse((const uint8_t[]){0x00, 0x14}, 2, 1024, &frame, &e), ERR_INPUT);
    uint8_t wire[23] = {0x00, 0x15, 0x61};
    ck_assert_int_eq(iso_frame_parse(wire, sizeof wire, 1024, &frame, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "TPDU begins with 61, needs 60");
}
END_TEST

START_TEST(f60_parts_come_and_go)
{
    static const char *const seen[] = {"22000001",           "22000001000",    "220000010005",
                                       "2200000100050",      "22000606000601", "22000727000600070",
                                       "2200072700060007012"};
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++) {
        struct iso_f60 f60;
        char again[ISO_F60_DIGITS_MAX + 1];
        ck_assert_ok(iso_f60_parse(seen[i], &f60, &e), e);
        ck_assert_str_eq(f60.type, "22");
        ck_assert_ok(iso_f60_build(&f60, again, &e), e);
        ck_assert_str_eq(again, seen[i]);
    }
    struct iso_f60 f60;
    ck_assert_int_eq(iso_f60_parse("2200000", &f60, &e), ERR_INPUT);
    ck_assert_int_eq(iso_f60_parse("220000010", &f60, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "field 60: management code has 1 digits, needs 3");
    f60 = (struct iso_f60){.type = "0", .batch = "000001"};
    char out[ISO_F60_DIGITS_MAX + 1] = "untouched";
    ck_assert_int_eq(iso_f60_build(&f60, out, &e), ERR_INPUT);
    ck_assert_str_eq(out, "untouched");
}
END_TEST

START_TEST(f53_digits_are_told_apart)
{
    struct iso_f53 f53;
    char text[17];
    ck_assert_ok(iso_f53_parse("2610000000000000", &f53, &e), e);
    ck_assert(f53.pin == ISO_PIN_WITH_PAN && f53.cipher == ISO_CIPHER_TDES && f53.track_enciphered);
    iso_f53_build(&f53, text);
    ck_assert_str_eq(text, "2610000000000000");
    ck_assert_ok(iso_f53_parse("2400000000000000", &f53, &e), e);
    ck_assert(f53.cipher == ISO_CIPHER_AES && !f53.track_enciphered);
    ck_assert_int_eq(iso_f53_parse("3600000000000000", &f53, &e), ERR_INPUT);
    ck_assert_int_eq(iso_f53_parse("2500000000000000", &f53, &e), ERR_INPUT);
    ck_assert_int_eq(iso_f53_parse("2620000000000000", &f53, &e), ERR_INPUT);
    ck_assert_int_eq(iso_f53_parse("26100000000000", &f53, &e), ERR_INPUT);
}
END_TEST

START_TEST(f62_refuses_foreign_lengths_and_padding)
{
    uint8_t bytes[256] = {0};
    struct iso_f62 f62;
    for (size_t len = 0; len < sizeof bytes; len++) {
        const bool known =
            len == 24 || len == 40 || len == 60 || len == 84 || len == 56 || len == 57 || len == 104;
        ck_assert_int_eq(iso_f62_parse(bytes, len, ISO_F62_TDES, &f62, &e), known ? ERR_OK : ERR_INPUT);
    }
    bytes[20 + 8] = 1;
    ck_assert_int_eq(iso_f62_parse(bytes, 40, ISO_F62_TDES, &f62, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "field 62: MAK: padding after 8 bytes is not zero");
    memset(bytes, 7, sizeof bytes);
    ck_assert_int_eq(iso_f62_parse(bytes, 84, ISO_F62_TDES, &f62, &e), ERR_INPUT);
    ck_assert_ok(iso_f62_parse(bytes, 84, ISO_F62_AES, &f62, &e), e);
    ck_assert_uint_eq(f62.keys[ISO_F62_TDK].cipher_len, 24);
    uint8_t again[ISO_F62_BYTES_MAX];
    ck_assert_ok(iso_f62_build(&f62, 84, again, &e), e);
    ck_assert_mem_eq(again, bytes, 84);
    ck_assert_int_eq(iso_f62_build(&f62, 60, again, &e), ERR_INPUT);
    ck_assert_int_eq(iso_f62_build(&f62, 104, again, &e), ERR_INPUT);
}
END_TEST

START_TEST(f62_length_follows_the_management_code)
{
    size_t len = 0;
    ck_assert_ok(iso_f62_len("001", &len, &e), e);
    ck_assert_uint_eq(len, 24);
    ck_assert_ok(iso_f62_len("003", &len, &e), e);
    ck_assert_uint_eq(len, 40);
    ck_assert_uint_eq(iso_f62_slot_len(40, ISO_F62_MAK), 8);
    ck_assert_uint_eq(iso_f62_slot_len(40, ISO_F62_TDK), 0);
    ck_assert_ok(iso_f62_len("004", &len, &e), e);
    ck_assert_uint_eq(len, 60);
    ck_assert_ok(iso_f62_len("005", &len, &e), e);
    ck_assert_uint_eq(len, 84);
    ck_assert_int_eq(iso_f62_len("301", &len, &e), ERR_INPUT);
}
END_TEST

START_TEST(f62_serial_is_counted)
{
    char text[16 + ISO_F62_SERIAL_MAX];
    const char *serial = NULL;
    size_t len = 0;
    ck_assert_ok(iso_f62_serial_build("3150SX-4C304119", text, &e), e);
    ck_assert_str_eq(text, "Sequence No153150SX-4C304119");
    ck_assert_ok(iso_f62_serial((const uint8_t *)text, strlen(text), &serial, &len, &e), e);
    ck_assert_uint_eq(len, 15);
    for (size_t cut = 0; cut < strlen(text); cut++)
        ck_assert_int_eq(iso_f62_serial((const uint8_t *)text, cut, &serial, &len, &e), ERR_INPUT);
    ck_assert_int_eq(iso_f62_serial_build("", text, &e), ERR_INPUT);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("iso8583 fields");
    TCase *tc = tcase_create("fields");
    tcase_add_test(tc, mask_shows_first_six_and_last_four);
    tcase_add_test(tc, mask_hides_fields_without_a_row);
    tcase_add_test(tc, track2_spans_follow_the_rules);
    tcase_add_test(tc, track2_put_returns_what_slice_took);
    tcase_add_test(tc, frame_waits_for_every_byte);
    tcase_add_test(tc, frame_refuses_bad_lengths_at_once);
    tcase_add_test(tc, f60_parts_come_and_go);
    tcase_add_test(tc, f53_digits_are_told_apart);
    tcase_add_test(tc, f62_refuses_foreign_lengths_and_padding);
    tcase_add_test(tc, f62_length_follows_the_management_code);
    tcase_add_test(tc, f62_serial_is_counted);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

#include "apdu/psam.h"
#include "apdu/secure.h"
#include "apdu/status.h"
#include "base/hex.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>

static struct err e;

static const struct {
    const char *hex; /* cases 1 to 4 */
    uint8_t lc;
    bool has_le;
    uint16_t le;
} good[] = {
    {"00A40000", 0, false, 0},       {"0084000004", 0, true, 4},        {"00B0950000", 0, true, 256},
    {"00A40000023F00", 2, false, 0}, {"00A40000023F0010", 2, true, 16}, {"80D4020001AA00", 1, true, 256},
};

START_TEST(command_parses_and_rebuilds)
{
    uint8_t bytes[APDU_COMMAND_MAX], again[APDU_COMMAND_MAX];
    struct apdu_command command;
    size_t again_len = 0;
    const size_t len = strlen(good[_i].hex) / 2;
    ck_assert_ok(hex_decode(good[_i].hex, 2 * len, bytes, &e), e);
    ck_assert_ok(apdu_command_parse(bytes, len, &command, &e), e);
    ck_assert_uint_eq(command.lc, good[_i].lc);
    ck_assert_int_eq(command.has_le, good[_i].has_le);
    ck_assert_uint_eq(command.le, good[_i].le);
    ck_assert_ok(apdu_command_build(&command, again, &again_len, &e), e);
    ck_assert_uint_eq(again_len, len);
    ck_assert_mem_eq(again, bytes, len);
}
END_TEST

START_TEST(command_cut_at_every_byte_is_another_or_none)
{
    static const uint8_t whole[] = {0x84, 0xD4, 0x00, 0x00, 0x05, 1, 2, 3, 4, 5};
    struct apdu_command command;
    for (size_t len = 0; len <= sizeof whole + 2; len++) {
        uint8_t bytes[sizeof whole + 2] = {0};
        memcpy(bytes, whole, sizeof whole);
        const bool good_len = len == 4 || len == 5 || len == sizeof whole || len == sizeof whole + 1;
        ck_assert_int_eq(apdu_command_parse(bytes, len, &command, &e), good_len ? ERR_OK : ERR_INPUT);
    }
    static const uint8_t extended[] = {0x00, 0xB0, 0x00, 0x00, 0x00, 0x01, 0x00};
    ck_assert_int_eq(apdu_command_parse(extended, sizeof extended, &command, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "extended length is not supported");
}
END_TEST

START_TEST(response_needs_a_status_word)
{
    struct apdu_response response;
    uint8_t bytes[APDU_RESPONSE_MAX + 1] = {0xAA, 0x90, 0x00}, again[APDU_RESPONSE_MAX];
    ck_assert_int_eq(apdu_response_parse(bytes, 1, &response, &e), ERR_INPUT);
    ck_assert_int_eq(apdu_response_parse(bytes, sizeof bytes, &response, &e), ERR_INPUT);
    ck_assert_ok(apdu_response_parse(bytes, 3, &response, &e), e);
    ck_assert_uint_eq(response.sw, SW_OK);
    ck_assert_uint_eq(response.data_len, 1);
    ck_assert_uint_eq(apdu_response_build(&response, again), 3);
    ck_assert_mem_eq(again, bytes, 3);
}
END_TEST

START_TEST(status_words_have_names)
{
    ck_assert_str_eq(apdu_sw_text(0x9000), "done");
    ck_assert_str_eq(apdu_sw_text(0x610E), "done, more data to fetch");
    ck_assert_str_eq(apdu_sw_text(0x63C2), "refused, a few tries are left");
    ck_assert_str_eq(apdu_sw_text(0x9303), "control key locked after three wrong MACs");
    ck_assert_str_eq(apdu_sw_text(0x1234), "unknown status");
}
END_TEST

START_TEST(plain_opens_again_and_damage_shows)
{
    uint8_t plain[APDU_SM_PADDED_MAX];
    const uint8_t *data = NULL;
    size_t len = 0;
    for (size_t n = 1; n < 200; n++) {
        uint8_t bytes[200];
        memset(bytes, (int)n, sizeof bytes);
        const size_t padded = apdu_sm_plain(bytes, n, plain);
        ck_assert_uint_eq(padded % 8, 0);
        ck_assert_ok(apdu_sm_open(plain, padded, &data, &len, &e), e);
        ck_assert_uint_eq(len, n);
        for (size_t cut = 0; cut < padded; cut++)
            ck_assert_int_eq(apdu_sm_open(plain, cut, &data, &len, &e), ERR_CHECK);
    }
    const size_t padded = apdu_sm_plain((const uint8_t[19]){0}, 19, plain);
    ck_assert_uint_eq(padded, 24);
    ck_assert_mem_eq(plain + 20, ((uint8_t[]){0x80, 0, 0, 0}), 4);
    plain[21] = 1;
    ck_assert_int_eq(apdu_sm_open(plain, padded, &data, &len, &e), ERR_CHECK);
}
END_TEST

static void expect_hex(const struct apdu_command *command, const char *expected)
{
    uint8_t bytes[APDU_COMMAND_MAX];
    char text[2 * APDU_COMMAND_MAX + 1];
    size_t len = 0;
    ck_assert_ok(apdu_command_build(command, bytes, &len, &e), e);
    hex_encode(bytes, len, text);
    ck_assert_str_eq(text, expected);
}

START_TEST(psam_commands_are_as_agreed)
{
    const struct psam_key_header header = {PSAM_MAK, 3, PSAM_TDES | PSAM_MAC_BLOCKS};
    static const uint8_t cipher[24] = {1}, mac[8] = {2}, cv[4] = {0xAA, 0xBB, 0xCC, 0xDD};
    struct apdu_command c = psam_get_challenge(4);
    expect_hex(&c, "0084000004");
    c = psam_read_binary(0x15, 0, 14);
    expect_hex(&c, "00B095000E");
    c = psam_get_key_info(PSAM_TMK);
    expect_hex(&c, "80CA000506");
    c = psam_select(0x3F00);
    expect_hex(&c, "00A40000023F00");
    c = psam_init_crypt(PSAM_PIK);
    expect_hex(&c, "801A0D00");
    c = psam_crypt(PSAM_ENCRYPT_LAST, cipher, 8);
    expect_hex(&c, "80FA000008010000000000000000");
    ck_assert_ok(psam_write_working_key(&header, cipher, 8, cv, &c, &e), e);
    expect_hex(&c, "80D402000F0603100100000000000000AABBCCDD");
    ck_assert_int_eq(psam_write_working_key(&header, cipher, 9, cv, &c, &e), ERR_INPUT);
    c = psam_write_key_pboc(cipher, mac);
    ck_assert_uint_eq(c.lc, 0x1C);
    ck_assert_ok(psam_write_key_aes(&header, cipher, 24, mac, &c, &e), e);
    ck_assert_uint_eq(c.lc, 35);
    ck_assert_int_eq(psam_write_key_aes(&header, cipher, 32, mac, &c, &e), ERR_INPUT);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("apdu");
    TCase *tc = tcase_create("apdu");
    tcase_add_loop_test(tc, command_parses_and_rebuilds, 0, (int)(sizeof good / sizeof good[0]));
    tcase_add_test(tc, command_cut_at_every_byte_is_another_or_none);
    tcase_add_test(tc, response_needs_a_status_word);
    tcase_add_test(tc, status_words_have_names);
    tcase_add_test(tc, plain_opens_again_and_damage_shows);
    tcase_add_test(tc, psam_commands_are_as_agreed);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

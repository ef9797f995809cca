#include "apdu/psam.h"
#include "apdu/secure.h"
#include "apdu/status.h"
#include "base/hex.h"
#include "card-emu/crypto/mac.h"
#include "tests/support/suite.h"
#include "tests/support/vectors.h"

#include <stdio.h>
#include <string.h>

static struct err e;
static struct vectors secure;

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

static struct apdu_command command_of(const char *hex)
{
    uint8_t bytes[APDU_COMMAND_MAX];
    struct apdu_command command = {0};
    const size_t digits = strlen(hex);
    ck_assert_ok(hex_decode(hex, digits, bytes, &e), e);
    command.cla = bytes[0];
    command.ins = bytes[1];
    command.p1 = bytes[2];
    command.p2 = bytes[3];
    command.lc = (uint8_t)(digits / 2 - 5);
    memcpy(command.data, bytes + 5, command.lc);
    return command;
}

static void check_mac(int i, const struct emu_key *key, const uint8_t iv[8], const uint8_t *input, size_t len,
                      uint8_t mac[8])
{
    uint8_t expected[8];
    ck_assert_ok(emu_mac_pboc(key, iv, input, len, mac, &e), e);
    const size_t expected_len = vectors_hex(&secure, i, "expected", "mac", expected, sizeof expected);
    for (size_t k = 0; k < expected_len; k++)
        ck_assert_msg(mac[k] == expected[k], "%s: byte %zu of the MAC", vectors_id(&secure, i), k);
}

/* header || cipher || MAC, the way WRITE KEY is built. */
static void check_command(int i, const struct emu_key *key, const uint8_t iv[8])
{
    uint8_t plain[256], cipher[256], expected[256], input[APDU_SM_PADDED_MAX], apdu[APDU_COMMAND_MAX], mac[8];
    char header[64];
    const size_t plain_len = vectors_hex(&secure, i, "inputs", "plain", plain, sizeof plain);
    const size_t cipher_len = vectors_hex(&secure, i, "expected", "cipher", expected, sizeof expected);
    ck_assert_ok(emu_encrypt_ecb(key, plain, plain_len, cipher, &e), e);
    if (cipher_len > 0)
        ck_assert_mem_eq(cipher, expected, cipher_len);
    snprintf(header, sizeof header, "%.10s", vectors_text(&secure, i, "inputs", "header"));
    struct apdu_command command = command_of(header);
    memcpy(command.data, cipher, plain_len);
    const size_t len = apdu_sm_mac_input(&command, plain_len, APDU_PBOC_MAC_BYTES, input);
    char head[11];
    hex_encode(input, 5, head);
    ck_assert_str_eq(head, header);
    check_mac(i, key, iv, input, len, mac);
    const size_t apdu_len = vectors_hex(&secure, i, "expected", "apdu", apdu, sizeof apdu);
    if (apdu_len == 0)
        return;
    ck_assert_uint_eq(apdu_len, len + APDU_PBOC_MAC_BYTES);
    ck_assert_mem_eq(apdu, input, len);
    ck_assert_mem_eq(apdu + len, mac, APDU_PBOC_MAC_BYTES);
}

START_TEST(secure_messaging_matches)
{
    static const char *const known[] = {"cipher", "mac", "apdu", NULL};
    uint8_t key_bytes[24], challenge[8], iv[8], data[512], mac[8];
    struct emu_key key = {0};
    vectors_expect_only(&secure, _i, known);
    const size_t key_len = vectors_hex(&secure, _i, "inputs", "key", key_bytes, sizeof key_bytes);
    ck_assert_ok(emu_key_init_des(&key, key_bytes, key_len, &e), e);
    if (vectors_hex(&secure, _i, "inputs", "challenge", challenge, sizeof challenge) >= 4)
        apdu_sm_iv(challenge, iv);
    else
        ck_assert_uint_eq(vectors_hex(&secure, _i, "inputs", "iv", iv, sizeof iv), 8);
    if (vectors_text(&secure, _i, "inputs", "plain") != NULL) {
        check_command(_i, &key, iv);
    } else {
        const size_t len = vectors_hex(&secure, _i, "inputs", "data", data, sizeof data);
        check_mac(_i, &key, iv, data, len, mac);
    }
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
    if (vectors_open(&secure, "secure_messaging"))
        tcase_add_loop_test(tc, secure_messaging_matches, 0, (int)secure.count);
    tcase_add_test(tc, plain_opens_again_and_damage_shows);
    tcase_add_test(tc, psam_commands_are_as_agreed);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

/* The real posward-psam, driven over its reader line. */
#include "apdu/psam.h"
#include "apdu/reader.h"
#include "apdu/status.h"
#include "base/hex.h"
#include "card-emu/crypto/mac.h"
#include "card-emu/psam/chip.h"
#include "tests/support/suite.h"
#include "tests/unit/card-emu/psam_fixture.h"

#include <stdio.h>
#include <string.h>

static uint16_t send_hex(const char *hex)
{
    uint8_t bytes[300], answer[APDU_RESPONSE_MAX];
    size_t len = 0;
    ck_assert_ok(hex_decode(hex, strlen(hex), bytes, &psam_err), psam_err);
    ck_assert_ok(
        psam_reader.transport->exchange(psam_reader.state, bytes, strlen(hex) / 2, answer, &len, &psam_err),
        psam_err);
    return (uint16_t)(answer[len - 2] << 8 | answer[len - 1]);
}

static struct apdu_response use_key(uint8_t usage, uint8_t mode, const uint8_t *data, size_t len)
{
    struct apdu_response response = {0};
    const struct apdu_command init = psam_init_crypt(usage), command = psam_crypt(mode, data, len);
    ck_assert_uint_eq(psam_transmit(&init, &response), SW_OK);
    ck_assert_uint_eq(psam_transmit(&command, &response), SW_OK);
    return response;
}

START_TEST(card_tells_its_number_and_atr)
{
    struct apdu_response response;
    char number[21];
    const struct apdu_command read = psam_read_binary(0x15, 0, 14),
                              whole = psam_read_binary(0x15, 0, APDU_LE_ANY);
    ck_assert_uint_eq(psam_reader.atr[0], 0x3B);
    ck_assert_uint_eq(psam_transmit(&read, &response), SW_OK);
    ck_assert_ok(psam_number_parse(&response, number, &psam_err), psam_err);
    ck_assert_str_eq(number, CARD_PSAM_NUMBER);
    ck_assert_uint_eq(psam_transmit(&whole, &response), SW_OK);
    ck_assert_uint_eq(response.data_len, 14);
    const struct apdu_command too_long = psam_read_binary(0x15, 10, 14); /* 6C04, then again with Le 4 */
    ck_assert_uint_eq(psam_transmit(&too_long, &response), SW_OK);
    ck_assert_uint_eq(response.data_len, 4);
    const struct apdu_command select = psam_select(0x3F00); /* 61xx, then GET RESPONSE */
    ck_assert_uint_eq(psam_transmit(&select, &response), SW_OK);
    ck_assert_uint_eq(response.data[0], 0x6F);
}
END_TEST

static const struct {
    const char *hex;
    uint16_t sw;
} refusals[] = {
    {"00B0000004", SW_NO_LOGICAL_CHANNEL}, /* nothing is selected yet */
    {"00A400", SW_WRONG_LENGTH},
    {"00A40000023F", SW_WRONG_LENGTH},
    {"00A4000002FFFF", SW_FILE_NOT_FOUND},
    {"00A40100023F00", SW_BAD_P1P2},
    {"00B0950F00", SW_BAD_OFFSET},
    {"00B0990004", SW_FILE_NOT_FOUND}, /* 0019 is below DF02 */
    {"00B0F50004", SW_BAD_P1P2},
    {"00B0950F", SW_WRONG_LENGTH},
    {"0084000005", SW_WRONG_LENGTH},
    {"0084010004", SW_BAD_P1P2},
    {"00C0000010", SW_CONDITIONS},
    {"00FF0000", SW_BAD_INS},
    {"90A40000", SW_BAD_CLA},
    {"80CA000506", SW_KEY_NOT_FOUND},
    {"80CA010506", SW_BAD_P1P2},
    {"80D4000000", SW_SECURITY_STATUS},
    {"80D00000010A", SW_SECURITY_STATUS},
    {"80D402000F060310010000000000000011223344", SW_KEY_NOT_FOUND},
    {"80D402000F010310010000000000000011223344", SW_BAD_DATA},
    {"80D402000106", SW_WRONG_LENGTH},
    {"84D4020000", SW_BAD_P1P2},
    {"84D400000106", SW_WRONG_LENGTH},
    {"801A0500", 0x9406},
    {"801A0600", SW_KEY_NOT_FOUND},
    {"80FA0000080000000000000000", SW_CONDITIONS},
    {"00820000080000000000000000", SW_CONDITIONS},
};

START_TEST(wrong_commands_get_their_status_word)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const uint16_t sw = send_hex(refusals[i].hex);
        ck_assert_msg(sw == refusals[i].sw, "%s: %04X, expected %04X", refusals[i].hex, sw, refusals[i].sw);
    }
}
END_TEST

START_TEST(truncated_commands_change_nothing)
{
    uint8_t before[1024], after[1024], bytes[64] = {0x84, 0xD4, 0x00, 0x00, 0x1C}, answer[APDU_RESPONSE_MAX];
    const size_t len = psam_snapshot(before);
    for (size_t cut = 2; cut < 33; cut++) { /* 1 is a control of the reader */
        size_t answer_len = 0;
        ck_assert_ok(
            psam_reader.transport->exchange(psam_reader.state, bytes, cut, answer, &answer_len, &psam_err),
            psam_err);
        ck_assert_uint_eq(answer_len, 2);
        ck_assert_uint_ne(answer[0], 0x90);
    }
    ck_assert_uint_eq(psam_snapshot(after), len);
    ck_assert_mem_eq(before, after, len);
}
END_TEST

START_TEST(tmk_is_written_in_both_profiles)
{
    const struct emu_key tdes = psam_key_of(EMU_TDES, 1), aes = psam_key_of(EMU_AES_128, 2),
                         aes_256 = psam_key_of(EMU_AES_256, 3);
    const struct emu_key *const keys[] = {&tdes, &tdes, &aes, &aes_256};
    for (size_t i = 0; i < 4; i++) {
        const uint8_t version = (uint8_t)(i + 1);
        ck_assert_uint_eq(i == 0 ? test_card_write_pboc(&psam_card, &psam_reader, version, keys[i], false)
                                 : test_card_write_aes(&psam_card, &psam_reader, version, keys[i], false),
                          SW_OK);
        const struct apdu_command ask = psam_get_key_info(PSAM_TMK);
        struct apdu_response response;
        struct psam_key_info info;
        uint8_t kcv[3];
        ck_assert_uint_eq(psam_transmit(&ask, &response), SW_OK);
        ck_assert_ok(psam_key_info_parse(&response, &info, &psam_err), psam_err);
        ck_assert_ok(emu_kcv(keys[i], kcv, sizeof kcv, &psam_err), psam_err);
        ck_assert_uint_eq(info.header.version, version);
        ck_assert_uint_eq(info.header.algorithm, keys[i]->algorithm);
        ck_assert_mem_eq(info.kcv, kcv, sizeof kcv);
    }
}
END_TEST

START_TEST(challenge_serves_once)
{
    const struct emu_key tmk = psam_key_of(EMU_TDES, 1);
    ck_assert_uint_eq(send_hex("84D400001C00000000000000000000000000000000000000000000000000000000"),
                      SW_CONDITIONS);
    ck_assert_uint_eq(test_card_write_pboc(&psam_card, &psam_reader, 1, &tmk, false), SW_OK);
    ck_assert_uint_eq(send_hex("84D400001C00000000000000000000000000000000000000000000000000000000"),
                      SW_CONDITIONS);
    ck_assert_uint_eq(send_hex("0084000008"), SW_OK); /* the other profile's length */
    ck_assert_uint_eq(send_hex("84D400001C00000000000000000000000000000000000000000000000000000000"),
                      SW_CONDITIONS);
}
END_TEST

START_TEST(three_wrong_macs_lock_for_good)
{
    const struct emu_key tmk = psam_key_of(EMU_TDES, 1);
    ck_assert_uint_eq(test_card_write_pboc(&psam_card, &psam_reader, 1, &tmk, true), SW_MAC_WRONG);
    ck_assert_uint_eq(test_card_write_aes(&psam_card, &psam_reader, 1, &tmk, true), SW_MAC_WRONG);
    ck_assert_uint_eq(test_card_write_pboc(&psam_card, &psam_reader, 1, &tmk, false),
                      SW_OK); /* a right one counts anew */
    ck_assert_uint_eq(test_card_write_pboc(&psam_card, &psam_reader, 1, &tmk, true), SW_MAC_WRONG);
    ck_assert_uint_eq(test_card_write_pboc(&psam_card, &psam_reader, 1, &tmk, true), SW_MAC_WRONG);
    ck_assert_uint_eq(test_card_write_aes(&psam_card, &psam_reader, 1, &tmk, true), SW_LOCKED);
    card_link_drop(&psam_reader);
    test_card_kill(&psam_card);
    test_card_serve(&psam_card);
    psam_insert();
    ck_assert_uint_eq(test_card_write_pboc(&psam_card, &psam_reader, 1, &tmk, false), SW_LOCKED);
}
END_TEST

START_TEST(tdes_working_keys_work)
{
    const struct emu_key tmk = psam_key_of(EMU_TDES, 1), pik = psam_key_of(EMU_TDES, 40),
                         tdk = psam_key_of(EMU_TDES, 60);
    const struct emu_key mak = psam_key_of(EMU_TDES, 50), short_mak = psam_key_of(EMU_DES, 70);
    uint8_t data[24] = {0}, expected[16], mac[8];
    ck_assert_uint_eq(test_card_write_pboc(&psam_card, &psam_reader, 1, &tmk, false), SW_OK);
    ck_assert_uint_eq(psam_write_working(&tmk, &pik, PSAM_PIK, 0), SW_OK);
    ck_assert_uint_eq(psam_write_working(&tmk, &tdk, PSAM_TDK, 0), SW_OK);
    ck_assert_uint_eq(psam_write_working(&tmk, &mak, PSAM_MAK, PSAM_MAC_BLOCKS), SW_OK);
    struct apdu_response response = use_key(PSAM_PIK, PSAM_ENCRYPT_LAST, (const uint8_t *)"12345678", 8);
    ck_assert_ok(emu_encrypt_ecb(&pik, (const uint8_t *)"12345678", 8, expected, &psam_err), psam_err);
    ck_assert_mem_eq(response.data, expected, 8);
    response = use_key(PSAM_TDK, PSAM_ENCRYPT_LAST, (const uint8_t *)"12345678ABCDEFGH", 16);
    ck_assert_ok(emu_encrypt_ecb(&tdk, (const uint8_t *)"12345678ABCDEFGH", 16, expected, &psam_err),
                 psam_err);
    ck_assert_mem_eq(response.data, expected, 16);
    emu_unionpay_fold((const uint8_t *)"a message of any length", 23, data + 8);
    response = use_key(PSAM_MAK, PSAM_MAC_ONLY, data, sizeof data);
    ck_assert_ok(emu_mac_unionpay(&mak, (const uint8_t *)"a message of any length", 23, mac, &psam_err),
                 psam_err);
    ck_assert_uint_eq(response.data_len, 8);
    ck_assert_mem_eq(response.data, mac, 8);
    ck_assert_uint_eq(psam_write_working(&tmk, &short_mak, PSAM_MAK, PSAM_MAC_PBOC), SW_OK);
    response = use_key(PSAM_MAK, PSAM_MAC_ONLY, data, sizeof data);
    ck_assert_ok(emu_mac_pboc(&short_mak, data, data + 8, 16, mac, &psam_err), psam_err);
    ck_assert_uint_eq(response.data_len, 4);
    ck_assert_mem_eq(response.data, mac, 4);
}
END_TEST

START_TEST(aes_working_keys_work)
{
    const struct emu_key tmk = psam_key_of(EMU_AES_256, 1), mak = psam_key_of(EMU_AES_128, 50),
                         pik = psam_key_of(EMU_AES_128, 40);
    uint8_t data[16 + 600] = {0}, mac[16], expected[16];
    struct apdu_response response;
    memset(data + 16, 0x5A, 600);
    ck_assert_uint_eq(test_card_write_aes(&psam_card, &psam_reader, 1, &tmk, false), SW_OK);
    ck_assert_uint_eq(psam_write_working(&tmk, &mak, PSAM_MAK, PSAM_MAC_BLOCKS), SW_BAD_DATA);
    ck_assert_uint_eq(psam_write_working(&tmk, &mak, PSAM_MAK, PSAM_MAC_CMAC), SW_OK);
    ck_assert_uint_eq(psam_write_working(&tmk, &pik, PSAM_PIK, 0), SW_OK);
    const struct apdu_command init = psam_init_crypt(PSAM_MAK), first = psam_crypt(PSAM_MAC_FIRST, data, 240),
                              next = psam_crypt(PSAM_MAC_NEXT, data + 240, 240),
                              last = psam_crypt(PSAM_MAC_LAST, data + 480, 136);
    ck_assert_uint_eq(psam_transmit(&init, &response), SW_OK);
    ck_assert_uint_eq(psam_transmit(&first, &response), SW_OK);
    ck_assert_uint_eq(psam_transmit(&next, &response), SW_OK);
    ck_assert_uint_eq(psam_transmit(&last, &response), SW_OK);
    ck_assert_ok(emu_cmac(&mak, data + 16, 600, mac, &psam_err), psam_err);
    ck_assert_uint_eq(response.data_len, 8);
    ck_assert_mem_eq(response.data, mac, 8);
    response = use_key(PSAM_PIK, PSAM_ENCRYPT_LAST, data + 16, 16);
    ck_assert_ok(emu_encrypt_ecb(&pik, data + 16, 16, expected, &psam_err), psam_err);
    ck_assert_mem_eq(response.data, expected, 16);
}
END_TEST

START_TEST(keys_serve_their_usage_only)
{
    const struct emu_key tmk = psam_key_of(EMU_TDES, 1), key = psam_key_of(EMU_TDES, 40);
    ck_assert_uint_eq(test_card_write_pboc(&psam_card, &psam_reader, 1, &tmk, false), SW_OK);
    ck_assert_uint_eq(psam_write_working(&tmk, &key, PSAM_PIK, 0), SW_OK);
    ck_assert_uint_eq(psam_write_working(&tmk, &key, PSAM_MAK, PSAM_MAC_BLOCKS), SW_OK);
    ck_assert_uint_eq(send_hex("801A0600"), SW_OK);
    ck_assert_uint_eq(send_hex("80FA0000080000000000000000"), SW_KEY_UNUSABLE);
    ck_assert_uint_eq(send_hex("801A0D00"), SW_OK);
    ck_assert_uint_eq(send_hex("80FA050010000000000000000000000000000000000000"), SW_WRONG_LENGTH);
    ck_assert_uint_eq(send_hex("80FA05001000000000000000000000000000000000"), SW_KEY_UNUSABLE);
    ck_assert_uint_eq(send_hex("801A0600"), SW_OK);
    ck_assert_uint_eq(send_hex("80FA0100080000000000000000"), SW_CONDITIONS); /* last without first */
    ck_assert_uint_eq(send_hex("801A0D00"), SW_OK);
    ck_assert_uint_eq(send_hex("80FA00000700000000000000"), SW_WRONG_LENGTH);
}
END_TEST

START_TEST(working_keys_of_another_tmk_are_refused)
{
    const struct emu_key tmk = psam_key_of(EMU_TDES, 1), foreign = psam_key_of(EMU_TDES, 90),
                         key = psam_key_of(EMU_TDES, 40);
    const struct emu_key aes = psam_key_of(EMU_AES_128, 2), foreign_aes = psam_key_of(EMU_AES_128, 91),
                         aes_key = psam_key_of(EMU_AES_128, 41);
    uint8_t before[1024], after[1024];
    ck_assert_uint_eq(test_card_write_pboc(&psam_card, &psam_reader, 1, &tmk, false), SW_OK);
    ck_assert_uint_eq(psam_write_working(&tmk, &key, PSAM_PIK, 0), SW_OK);
    size_t len = psam_snapshot(before);
    ck_assert_uint_eq(psam_write_working(&foreign, &key, PSAM_PIK, 0), SW_MAC_WRONG);
    ck_assert_uint_eq(psam_write_working(&aes, &aes_key, PSAM_PIK, 0), SW_BAD_DATA);
    ck_assert_uint_eq(psam_snapshot(after), len);
    ck_assert_mem_eq(before, after, len);
    ck_assert_uint_eq(test_card_write_aes(&psam_card, &psam_reader, 2, &aes, false), SW_OK);
    len = psam_snapshot(before);
    ck_assert_uint_eq(psam_write_working(&foreign_aes, &aes_key, PSAM_PIK, 0), SW_MAC_WRONG);
    ck_assert_uint_eq(psam_snapshot(after), len);
    ck_assert_mem_eq(before, after, len);
    ck_assert_uint_eq(send_hex("80CA000D06"), SW_KEY_NOT_FOUND); /* the new TMK has ended the old PIK */
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("psam");
    TCase *tc = tcase_create("psam");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, psam_setup, psam_teardown);
    tcase_add_test(tc, card_tells_its_number_and_atr);
    tcase_add_test(tc, wrong_commands_get_their_status_word);
    tcase_add_test(tc, truncated_commands_change_nothing);
    tcase_add_test(tc, tmk_is_written_in_both_profiles);
    tcase_add_test(tc, challenge_serves_once);
    tcase_add_test(tc, three_wrong_macs_lock_for_good);
    tcase_add_test(tc, tdes_working_keys_work);
    tcase_add_test(tc, aes_working_keys_work);
    tcase_add_test(tc, keys_serve_their_usage_only);
    tcase_add_test(tc, working_keys_of_another_tmk_are_refused);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

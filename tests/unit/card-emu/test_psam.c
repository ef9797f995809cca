/* The real posward-psam, driven over its reader line. */
#include "apdu/address.h"
#include "apdu/psam.h"
#include "apdu/reader.h"
#include "apdu/status.h"
#include "base/hex.h"
#include "card-emu/crypto/mac.h"
#include "card-emu/psam/chip.h"
#include "tests/support/card.h"
#include "tests/support/suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct test_card card;
static struct card_link reader;
static struct err e;

static void insert(void)
{
    ck_assert_ok(card_link_connect(&reader, card.address, 5000, &e), e);
    ck_assert_ok(card_power_on(&reader, &e), e);
}

static void setup(void)
{
    e = (struct err){0};
    test_card_make(&card);
    test_card_serve(&card);
    insert();
}

static void teardown(void)
{
    card_link_drop(&reader);
    test_card_drop(&card);
}

static int connect_raw(void)
{
    int fd = -1;
    card_link_drop(&reader); /* the card has one reader at a time */
    ck_assert_ok(address_connect(card.address, 5000, &fd, &e), e);
    return fd;
}

static uint16_t transmit(const struct apdu_command *command, struct apdu_response *out)
{
    ck_assert_ok(card_exchange(&reader, command, out, &e), e);
    return out->sw;
}

static uint16_t send_hex(const char *hex)
{
    uint8_t bytes[300], answer[APDU_RESPONSE_MAX];
    size_t len = 0;
    ck_assert_ok(hex_decode(hex, strlen(hex), bytes, &e), e);
    ck_assert_ok(reader.transport->exchange(reader.state, bytes, strlen(hex) / 2, answer, &len, &e), e);
    return (uint16_t)(answer[len - 2] << 8 | answer[len - 1]);
}

static struct emu_key key_of(enum emu_algorithm algorithm, uint8_t seed)
{
    uint8_t bytes[32];
    struct emu_key key = {0};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(seed + 7 * i);
    ck_assert_ok(emu_key_init(&key, algorithm, bytes, emu_key_len(algorithm), &e), e);
    return key;
}

static uint16_t write_working(const struct emu_key *tmk, const struct emu_key *key, uint8_t usage,
                              uint8_t method)
{
    const struct psam_key_header header = {usage, 1, (uint8_t)(key->algorithm | method)};
    uint8_t cipher[40], cv[4];
    struct apdu_command command;
    struct apdu_response response;
    const size_t len = test_card_wrap(tmk, key, cipher);
    ck_assert_ok(emu_kcv(key, cv, sizeof cv, &e), e);
    ck_assert_ok(psam_write_working_key(&header, cipher, len, cv, &command, &e), e);
    return transmit(&command, &response);
}

static struct apdu_response use_key(uint8_t usage, uint8_t mode, const uint8_t *data, size_t len)
{
    struct apdu_response response = {0};
    const struct apdu_command init = psam_init_crypt(usage), command = psam_crypt(mode, data, len);
    ck_assert_uint_eq(transmit(&init, &response), SW_OK);
    ck_assert_uint_eq(transmit(&command, &response), SW_OK);
    return response;
}

static size_t snapshot(uint8_t out[1024])
{
    const size_t len = test_card_read(&card, out, 1024);
    ck_assert_uint_gt(len, 100);
    return len;
}

START_TEST(card_tells_its_number_and_atr)
{
    struct apdu_response response;
    char number[21];
    const struct apdu_command read = psam_read_binary(0x15, 0, 14),
                              whole = psam_read_binary(0x15, 0, APDU_LE_ANY);
    ck_assert_uint_eq(reader.atr[0], 0x3B);
    ck_assert_uint_eq(transmit(&read, &response), SW_OK);
    ck_assert_ok(psam_number_parse(&response, number, &e), e);
    ck_assert_str_eq(number, CARD_PSAM_NUMBER);
    ck_assert_uint_eq(transmit(&whole, &response), SW_OK);
    ck_assert_uint_eq(response.data_len, 14);
    const struct apdu_command too_long = psam_read_binary(0x15, 10, 14); /* 6C04, then again with Le 4 */
    ck_assert_uint_eq(transmit(&too_long, &response), SW_OK);
    ck_assert_uint_eq(response.data_len, 4);
    const struct apdu_command select = psam_select(0x3F00); /* 61xx, then GET RESPONSE */
    ck_assert_uint_eq(transmit(&select, &response), SW_OK);
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
    const size_t len = snapshot(before);
    for (size_t cut = 2; cut < 33; cut++) { /* 1 is a control of the reader */
        size_t answer_len = 0;
        ck_assert_ok(reader.transport->exchange(reader.state, bytes, cut, answer, &answer_len, &e), e);
        ck_assert_uint_eq(answer_len, 2);
        ck_assert_uint_ne(answer[0], 0x90);
    }
    ck_assert_uint_eq(snapshot(after), len);
    ck_assert_mem_eq(before, after, len);
}
END_TEST

START_TEST(tmk_is_written_in_both_profiles)
{
    const struct emu_key tdes = key_of(EMU_TDES, 1), aes = key_of(EMU_AES_128, 2),
                         aes_256 = key_of(EMU_AES_256, 3);
    const struct emu_key *const keys[] = {&tdes, &tdes, &aes, &aes_256};
    for (size_t i = 0; i < 4; i++) {
        const uint8_t version = (uint8_t)(i + 1);
        ck_assert_uint_eq(i == 0 ? test_card_write_pboc(&card, &reader, version, keys[i], false)
                                 : test_card_write_aes(&card, &reader, version, keys[i], false),
                          SW_OK);
        const struct apdu_command ask = psam_get_key_info(PSAM_TMK);
        struct apdu_response response;
        struct psam_key_info info;
        uint8_t kcv[3];
        ck_assert_uint_eq(transmit(&ask, &response), SW_OK);
        ck_assert_ok(psam_key_info_parse(&response, &info, &e), e);
        ck_assert_ok(emu_kcv(keys[i], kcv, sizeof kcv, &e), e);
        ck_assert_uint_eq(info.header.version, version);
        ck_assert_uint_eq(info.header.algorithm, keys[i]->algorithm);
        ck_assert_mem_eq(info.kcv, kcv, sizeof kcv);
    }
}
END_TEST

START_TEST(challenge_serves_once)
{
    const struct emu_key tmk = key_of(EMU_TDES, 1);
    ck_assert_uint_eq(send_hex("84D400001C00000000000000000000000000000000000000000000000000000000"),
                      SW_CONDITIONS);
    ck_assert_uint_eq(test_card_write_pboc(&card, &reader, 1, &tmk, false), SW_OK);
    ck_assert_uint_eq(send_hex("84D400001C00000000000000000000000000000000000000000000000000000000"),
                      SW_CONDITIONS);
    ck_assert_uint_eq(send_hex("0084000008"), SW_OK); /* the other profile's length */
    ck_assert_uint_eq(send_hex("84D400001C00000000000000000000000000000000000000000000000000000000"),
                      SW_CONDITIONS);
}
END_TEST

START_TEST(three_wrong_macs_lock_for_good)
{
    const struct emu_key tmk = key_of(EMU_TDES, 1);
    ck_assert_uint_eq(test_card_write_pboc(&card, &reader, 1, &tmk, true), SW_MAC_WRONG);
    ck_assert_uint_eq(test_card_write_aes(&card, &reader, 1, &tmk, true), SW_MAC_WRONG);
    ck_assert_uint_eq(test_card_write_pboc(&card, &reader, 1, &tmk, false),
                      SW_OK); /* a right one counts anew */
    ck_assert_uint_eq(test_card_write_pboc(&card, &reader, 1, &tmk, true), SW_MAC_WRONG);
    ck_assert_uint_eq(test_card_write_pboc(&card, &reader, 1, &tmk, true), SW_MAC_WRONG);
    ck_assert_uint_eq(test_card_write_aes(&card, &reader, 1, &tmk, true), SW_LOCKED);
    card_link_drop(&reader);
    test_card_kill(&card);
    test_card_serve(&card);
    insert();
    ck_assert_uint_eq(test_card_write_pboc(&card, &reader, 1, &tmk, false), SW_LOCKED);
}
END_TEST

START_TEST(tdes_working_keys_work)
{
    const struct emu_key tmk = key_of(EMU_TDES, 1), pik = key_of(EMU_TDES, 40), tdk = key_of(EMU_TDES, 60);
    const struct emu_key mak = key_of(EMU_TDES, 50), short_mak = key_of(EMU_DES, 70);
    uint8_t data[24] = {0}, expected[16], mac[8];
    ck_assert_uint_eq(test_card_write_pboc(&card, &reader, 1, &tmk, false), SW_OK);
    ck_assert_uint_eq(write_working(&tmk, &pik, PSAM_PIK, 0), SW_OK);
    ck_assert_uint_eq(write_working(&tmk, &tdk, PSAM_TDK, 0), SW_OK);
    ck_assert_uint_eq(write_working(&tmk, &mak, PSAM_MAK, PSAM_MAC_BLOCKS), SW_OK);
    struct apdu_response response = use_key(PSAM_PIK, PSAM_ENCRYPT_LAST, (const uint8_t *)"12345678", 8);
    ck_assert_ok(emu_encrypt_ecb(&pik, (const uint8_t *)"12345678", 8, expected, &e), e);
    ck_assert_mem_eq(response.data, expected, 8);
    response = use_key(PSAM_TDK, PSAM_ENCRYPT_LAST, (const uint8_t *)"12345678ABCDEFGH", 16);
    ck_assert_ok(emu_encrypt_ecb(&tdk, (const uint8_t *)"12345678ABCDEFGH", 16, expected, &e), e);
    ck_assert_mem_eq(response.data, expected, 16);
    emu_unionpay_fold((const uint8_t *)"a message of any length", 23, data + 8);
    response = use_key(PSAM_MAK, PSAM_MAC_ONLY, data, sizeof data);
    ck_assert_ok(emu_mac_unionpay(&mak, (const uint8_t *)"a message of any length", 23, mac, &e), e);
    ck_assert_uint_eq(response.data_len, 8);
    ck_assert_mem_eq(response.data, mac, 8);
    ck_assert_uint_eq(write_working(&tmk, &short_mak, PSAM_MAK, PSAM_MAC_PBOC), SW_OK);
    response = use_key(PSAM_MAK, PSAM_MAC_ONLY, data, sizeof data);
    ck_assert_ok(emu_mac_pboc(&short_mak, data, data + 8, 16, mac, &e), e);
    ck_assert_uint_eq(response.data_len, 4);
    ck_assert_mem_eq(response.data, mac, 4);
}
END_TEST

START_TEST(aes_working_keys_work)
{
    const struct emu_key tmk = key_of(EMU_AES_256, 1), mak = key_of(EMU_AES_128, 50),
                         pik = key_of(EMU_AES_128, 40);
    uint8_t data[16 + 600] = {0}, mac[16], expected[16];
    struct apdu_response response;
    memset(data + 16, 0x5A, 600);
    ck_assert_uint_eq(test_card_write_aes(&card, &reader, 1, &tmk, false), SW_OK);
    ck_assert_uint_eq(write_working(&tmk, &mak, PSAM_MAK, PSAM_MAC_BLOCKS), SW_BAD_DATA);
    ck_assert_uint_eq(write_working(&tmk, &mak, PSAM_MAK, PSAM_MAC_CMAC), SW_OK);
    ck_assert_uint_eq(write_working(&tmk, &pik, PSAM_PIK, 0), SW_OK);
    const struct apdu_command init = psam_init_crypt(PSAM_MAK), first = psam_crypt(PSAM_MAC_FIRST, data, 240),
                              next = psam_crypt(PSAM_MAC_NEXT, data + 240, 240),
                              last = psam_crypt(PSAM_MAC_LAST, data + 480, 136);
    ck_assert_uint_eq(transmit(&init, &response), SW_OK);
    ck_assert_uint_eq(transmit(&first, &response), SW_OK);
    ck_assert_uint_eq(transmit(&next, &response), SW_OK);
    ck_assert_uint_eq(transmit(&last, &response), SW_OK);
    ck_assert_ok(emu_cmac(&mak, data + 16, 600, mac, &e), e);
    ck_assert_uint_eq(response.data_len, 8);
    ck_assert_mem_eq(response.data, mac, 8);
    response = use_key(PSAM_PIK, PSAM_ENCRYPT_LAST, data + 16, 16);
    ck_assert_ok(emu_encrypt_ecb(&pik, data + 16, 16, expected, &e), e);
    ck_assert_mem_eq(response.data, expected, 16);
}
END_TEST

START_TEST(keys_serve_their_usage_only)
{
    const struct emu_key tmk = key_of(EMU_TDES, 1), key = key_of(EMU_TDES, 40);
    ck_assert_uint_eq(test_card_write_pboc(&card, &reader, 1, &tmk, false), SW_OK);
    ck_assert_uint_eq(write_working(&tmk, &key, PSAM_PIK, 0), SW_OK);
    ck_assert_uint_eq(write_working(&tmk, &key, PSAM_MAK, PSAM_MAC_BLOCKS), SW_OK);
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
    const struct emu_key tmk = key_of(EMU_TDES, 1), foreign = key_of(EMU_TDES, 90),
                         key = key_of(EMU_TDES, 40);
    const struct emu_key aes = key_of(EMU_AES_128, 2), foreign_aes = key_of(EMU_AES_128, 91),
                         aes_key = key_of(EMU_AES_128, 41);
    uint8_t before[1024], after[1024];
    ck_assert_uint_eq(test_card_write_pboc(&card, &reader, 1, &tmk, false), SW_OK);
    ck_assert_uint_eq(write_working(&tmk, &key, PSAM_PIK, 0), SW_OK);
    size_t len = snapshot(before);
    ck_assert_uint_eq(write_working(&foreign, &key, PSAM_PIK, 0), SW_MAC_WRONG);
    ck_assert_uint_eq(write_working(&aes, &aes_key, PSAM_PIK, 0), SW_BAD_DATA);
    ck_assert_uint_eq(snapshot(after), len);
    ck_assert_mem_eq(before, after, len);
    ck_assert_uint_eq(test_card_write_aes(&card, &reader, 2, &aes, false), SW_OK);
    len = snapshot(before);
    ck_assert_uint_eq(write_working(&foreign_aes, &aes_key, PSAM_PIK, 0), SW_MAC_WRONG);
    ck_assert_uint_eq(snapshot(after), len);
    ck_assert_mem_eq(before, after, len);
    ck_assert_uint_eq(send_hex("80CA000D06"), SW_KEY_NOT_FOUND); /* the new TMK has ended the old PIK */
}
END_TEST

START_TEST(kill_loses_no_answered_write)
{
    const struct emu_key tmk = key_of(EMU_TDES, 1);
    for (uint8_t i = 0; i < 8; i++) {
        const struct emu_key key = key_of(EMU_TDES, (uint8_t)(40 + i));
        uint8_t kcv[3];
        struct apdu_response response;
        const struct apdu_command ask = psam_get_key_info(PSAM_PIK);
        ck_assert_uint_eq(test_card_write_pboc(&card, &reader, 1, &tmk, false), SW_OK);
        ck_assert_uint_eq(write_working(&tmk, &key, PSAM_PIK, 0), SW_OK);
        test_card_kill(&card);
        card_link_drop(&reader);
        test_card_serve(&card);
        insert();
        ck_assert_uint_eq(transmit(&ask, &response), SW_OK);
        ck_assert_ok(emu_kcv(&key, kcv, sizeof kcv, &e), e);
        ck_assert_mem_eq(response.data + 3, kcv, sizeof kcv);
    }
}
END_TEST

START_TEST(kill_in_the_middle_leaves_a_whole_card)
{
    const struct emu_key tmk = key_of(EMU_TDES, 1), key = key_of(EMU_TDES, 40);
    const struct psam_key_header header = {PSAM_PIK, 1, PSAM_TDES};
    uint8_t cipher[24], cv[4], bytes[APDU_COMMAND_MAX];
    struct apdu_command command;
    struct chip_image image;
    size_t len = 0;
    ck_assert_uint_eq(test_card_write_pboc(&card, &reader, 1, &tmk, false), SW_OK);
    ck_assert_ok(emu_kcv(&key, cv, sizeof cv, &e), e);
    ck_assert_ok(
        psam_write_working_key(&header, cipher, test_card_wrap(&tmk, &key, cipher), cv, &command, &e), e);
    ck_assert_ok(apdu_command_build(&command, bytes, &len, &e), e);
    for (int i = 0; i < 20; i++) {
        const int fd = connect_raw();
        ck_assert_ok(reader_send(fd, (const uint8_t[]){READER_ON}, 1, &e), e);
        for (int n = 0; n < 50; n++)
            ck_assert_ok(reader_send(fd, bytes, len, &e), e);
        usleep((useconds_t)(i * 300)); /* somewhere among the fifty writes */
        test_card_kill(&card);
        close(fd);
        ck_assert_ok(chip_file_load(card.file, &image, &e), e);
        ck_assert_uint_eq(image.keys[CHIP_TMK].len, 16);
        test_card_serve(&card);
    }
}
END_TEST

/* vpcd listens, the card connects; vpcd writes length and body apart. */
START_TEST(card_goes_into_a_virtual_reader)
{
    static const uint8_t pieces[][2] = {{0, 1}, {READER_ON, 0}, {0, 1}, {READER_ATR, 0}};
    static const size_t lengths[] = {2, 1, 2, 1};
    char address[32];
    uint8_t message[READER_MESSAGE_MAX];
    int listener = -1, port = 0;
    size_t len = 0;
    card_link_drop(&reader);
    test_card_kill(&card);
    ck_assert_ok(address_listen("127.0.0.1:0", &listener, &port, &e), e);
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    const char *const argv[] = {"posward-psam", "serve", "--card", card.file, "--connect", address, NULL};
    const pid_t pid = test_start("posward-psam", argv, "/dev/null");
    for (int i = 0; i < 2; i++) { /* comes again after the reader has gone */
        const int fd = accept(listener, NULL, NULL);
        ck_assert_int_ge(fd, 0);
        for (size_t k = 0; k < 4; k++)
            ck_assert_int_eq(write(fd, pieces[k], lengths[k]), (ssize_t)lengths[k]);
        ck_assert_ok(reader_receive(fd, 5000, message, &len, &e), e);
        ck_assert_uint_eq(len, CHIP_ATR_BYTES);
        ck_assert_mem_eq(message, chip_atr, len);
        close(fd);
    }
    close(listener);
    card.pid = pid; /* teardown ends it */
}
END_TEST

START_TEST(second_process_and_open_or_damaged_files_are_refused)
{
    const char *const serve[] = {"posward-psam", "serve",       "--card", card.file,
                                 "--listen",     "127.0.0.1:0", NULL};
    const char *const show[] = {"posward-psam", "show", "--card", card.file, NULL};
    char text[2048];
    uint8_t bytes[1024];
    ck_assert_int_eq(test_run("posward-psam", serve, text, sizeof text), 1);
    ck_assert_ptr_nonnull(strstr(text, "another process serves the card"));
    ck_assert_int_eq(test_run("posward-psam", show, text, sizeof text), 0);
    ck_assert_ptr_nonnull(strstr(text, CARD_PSAM_NUMBER));
    ck_assert_int_eq(chmod(card.file, 0644), 0);
    ck_assert_int_eq(test_run("posward-psam", show, text, sizeof text), 1);
    ck_assert_ptr_nonnull(strstr(text, "is open to others (mode 0644)"));
    ck_assert_int_eq(chmod(card.file, 0600), 0);
    const size_t len = snapshot(bytes);
    const int fd = open(card.file, O_RDWR | O_CLOEXEC);
    struct chip_image image;
    for (size_t i = 0; i < len; i++) {
        const uint8_t wrong = bytes[i] ^ 0x10;
        ck_assert_int_eq(pwrite(fd, &wrong, 1, (off_t)i), 1);
        ck_assert_int_ne(chip_file_load(card.file, &image, &e), ERR_OK);
        ck_assert_int_eq(pwrite(fd, &bytes[i], 1, (off_t)i), 1);
    }
    ck_assert_ok(chip_file_load(card.file, &image, &e), e);
    for (size_t cut = len; cut-- > 0;) {
        ck_assert_int_eq(ftruncate(fd, (off_t)cut), 0);
        ck_assert_int_ne(chip_file_load(card.file, &image, &e), ERR_OK);
    }
    close(fd);
}
END_TEST

START_TEST(key_bytes_are_never_shown)
{
    const struct emu_key tmk = key_of(EMU_TDES, 1);
    char text[4096], hex[2 * 16 + 1];
    const char *const show[] = {"posward-psam", "show", "--card", card.file, NULL};
    ck_assert_uint_eq(test_card_write_pboc(&card, &reader, 1, &tmk, false), SW_OK);
    ck_assert_int_eq(test_run("posward-psam", show, text, sizeof text), 0);
    hex_encode(tmk.bytes, 16, hex);
    ck_assert_ptr_null(strstr(text, hex));
    hex_encode(card.control_tdes.bytes, 16, hex);
    ck_assert_ptr_null(strstr(text, hex));
    ck_assert_ptr_nonnull(strstr(text, "TMK          usage 05 version 1 algorithm 00 (TDES) KCV "));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("psam");
    TCase *tc = tcase_create("psam");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
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
    tcase_add_test(tc, kill_loses_no_answered_write);
    tcase_add_test(tc, kill_in_the_middle_leaves_a_whole_card);
    tcase_add_test(tc, card_goes_into_a_virtual_reader);
    tcase_add_test(tc, second_process_and_open_or_damaged_files_are_refused);
    tcase_add_test(tc, key_bytes_are_never_shown);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

/* posward-psam as a process: killed, attached to a virtual reader, beside a second one, before damaged files.
 */
#include "apdu/address.h"
#include "apdu/psam.h"
#include "apdu/reader.h"
#include "apdu/status.h"
#include "base/hex.h"
#include "card-emu/psam/chip.h"
#include "tests/support/suite.h"
#include "tests/unit/card-emu/psam_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

START_TEST(kill_loses_no_answered_write)
{
    const struct emu_key tmk = psam_key_of(EMU_TDES, 1);
    for (uint8_t i = 0; i < 8; i++) {
        const struct emu_key key = psam_key_of(EMU_TDES, (uint8_t)(40 + i));
        uint8_t kcv[3];
        struct apdu_response response;
        const struct apdu_command ask = psam_get_key_info(PSAM_PIK);
        ck_assert_uint_eq(test_card_write_pboc(&psam_card, &psam_reader, 1, &tmk, false), SW_OK);
        ck_assert_uint_eq(psam_write_working(&tmk, &key, PSAM_PIK, 0), SW_OK);
        test_card_kill(&psam_card);
        card_link_drop(&psam_reader);
        test_card_serve(&psam_card);
        psam_insert();
        ck_assert_uint_eq(psam_transmit(&ask, &response), SW_OK);
        ck_assert_ok(emu_kcv(&key, kcv, sizeof kcv, &psam_err), psam_err);
        ck_assert_mem_eq(response.data + 3, kcv, sizeof kcv);
    }
}
END_TEST

START_TEST(kill_in_the_middle_leaves_a_whole_card)
{
    const struct emu_key tmk = psam_key_of(EMU_TDES, 1), key = psam_key_of(EMU_TDES, 40);
    const struct psam_key_header header = {PSAM_PIK, 1, PSAM_TDES};
    uint8_t cipher[24], cv[4], bytes[APDU_COMMAND_MAX];
    struct apdu_command command;
    struct chip_image image;
    size_t len = 0;
    ck_assert_uint_eq(test_card_write_pboc(&psam_card, &psam_reader, 1, &tmk, false), SW_OK);
    ck_assert_ok(emu_kcv(&key, cv, sizeof cv, &psam_err), psam_err);
    ck_assert_ok(
        psam_write_working_key(&header, cipher, test_card_wrap(&tmk, &key, cipher), cv, &command, &psam_err),
        psam_err);
    ck_assert_ok(apdu_command_build(&command, bytes, &len, &psam_err), psam_err);
    for (int i = 0; i < 20; i++) {
        const int fd = psam_connect_raw();
        ck_assert_ok(reader_send(fd, (const uint8_t[]){READER_ON}, 1, &psam_err), psam_err);
        for (int n = 0; n < 50; n++)
            ck_assert_ok(reader_send(fd, bytes, len, &psam_err), psam_err);
        usleep((useconds_t)(i * 300)); /* somewhere among the fifty writes */
        test_card_kill(&psam_card);
        close(fd);
        ck_assert_ok(chip_file_load(psam_card.file, &image, &psam_err), psam_err);
        ck_assert_uint_eq(image.keys[CHIP_TMK].len, 16);
        test_card_serve(&psam_card);
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
    card_link_drop(&psam_reader);
    test_card_kill(&psam_card);
    ck_assert_ok(address_listen("127.0.0.1:0", &listener, &port, &psam_err), psam_err);
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    const char *const argv[] = {"posward-psam", "serve", "--card", psam_card.file,
                                "--connect",    address, NULL};
    const pid_t pid = test_start("posward-psam", argv, "/dev/null");
    for (int i = 0; i < 2; i++) { /* comes again after the reader has gone */
        const int fd = accept(listener, NULL, NULL);
        ck_assert_int_ge(fd, 0);
        for (size_t k = 0; k < 4; k++)
            ck_assert_int_eq(write(fd, pieces[k], lengths[k]), (ssize_t)lengths[k]);
        ck_assert_ok(reader_receive(fd, 5000, message, &len, &psam_err), psam_err);
        ck_assert_uint_eq(len, CHIP_ATR_BYTES);
        ck_assert_mem_eq(message, chip_atr, len);
        close(fd);
    }
    close(listener);
    psam_card.pid = pid; /* teardown ends it */
}
END_TEST

START_TEST(second_process_and_open_or_damaged_files_are_refused)
{
    const char *const serve[] = {"posward-psam", "serve",       "--card", psam_card.file,
                                 "--listen",     "127.0.0.1:0", NULL};
    const char *const show[] = {"posward-psam", "show", "--card", psam_card.file, NULL};
    char text[2048];
    uint8_t bytes[1024];
    ck_assert_int_eq(test_run("posward-psam", serve, text, sizeof text), 1);
    ck_assert_ptr_nonnull(strstr(text, "another process serves the card"));
    ck_assert_int_eq(test_run("posward-psam", show, text, sizeof text), 0);
    ck_assert_ptr_nonnull(strstr(text, CARD_PSAM_NUMBER));
    ck_assert_int_eq(chmod(psam_card.file, 0644), 0);
    ck_assert_int_eq(test_run("posward-psam", show, text, sizeof text), 1);
    ck_assert_ptr_nonnull(strstr(text, "is open to others (mode 0644)"));
    ck_assert_int_eq(chmod(psam_card.file, 0600), 0);
    const size_t len = psam_snapshot(bytes);
    const int fd = open(psam_card.file, O_RDWR | O_CLOEXEC);
    struct chip_image image;
    for (size_t i = 0; i < len; i++) {
        const uint8_t wrong = bytes[i] ^ 0x10;
        ck_assert_int_eq(pwrite(fd, &wrong, 1, (off_t)i), 1);
        ck_assert_int_ne(chip_file_load(psam_card.file, &image, &psam_err), ERR_OK);
        ck_assert_int_eq(pwrite(fd, &bytes[i], 1, (off_t)i), 1);
    }
    ck_assert_ok(chip_file_load(psam_card.file, &image, &psam_err), psam_err);
    for (size_t cut = len; cut-- > 0;) {
        ck_assert_int_eq(ftruncate(fd, (off_t)cut), 0);
        ck_assert_int_ne(chip_file_load(psam_card.file, &image, &psam_err), ERR_OK);
    }
    close(fd);
}
END_TEST

START_TEST(key_bytes_are_never_shown)
{
    const struct emu_key tmk = psam_key_of(EMU_TDES, 1);
    char text[4096], hex[2 * 16 + 1];
    const char *const show[] = {"posward-psam", "show", "--card", psam_card.file, NULL};
    ck_assert_uint_eq(test_card_write_pboc(&psam_card, &psam_reader, 1, &tmk, false), SW_OK);
    ck_assert_int_eq(test_run("posward-psam", show, text, sizeof text), 0);
    hex_encode(tmk.bytes, 16, hex);
    ck_assert_ptr_null(strstr(text, hex));
    hex_encode(psam_card.control_tdes.bytes, 16, hex);
    ck_assert_ptr_null(strstr(text, hex));
    ck_assert_ptr_nonnull(strstr(text, "TMK          usage 05 version 1 algorithm 00 (TDES) KCV "));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("psam process");
    TCase *tc = tcase_create("psam process");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, psam_setup, psam_teardown);
    tcase_add_test(tc, kill_loses_no_answered_write);
    tcase_add_test(tc, kill_in_the_middle_leaves_a_whole_card);
    tcase_add_test(tc, card_goes_into_a_virtual_reader);
    tcase_add_test(tc, second_process_and_open_or_damaged_files_are_refused);
    tcase_add_test(tc, key_bytes_are_never_shown);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

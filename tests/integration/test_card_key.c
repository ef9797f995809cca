#include "apdu/psam.h"
#include "apdu/status.h"
#include "base/hex.h"
#include "card-emu/crypto/mac.h"
#include "card-emu/crypto/pin_block.h"
#include "card-emu/psam/chip.h"
#include "card-emu/psam/maker.h"
#include "tests/unit/p11/pay_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* The token and the emulated card, which have no line of cryptography in common: the card takes the WRITE KEY
 * command and the working keys that the token makes, and the token understands what the card then enciphers
 * and authenticates. */

struct kind {
    enum tok_card_profile profile;
    enum tok_suite suite;
    unsigned key_bytes; /* of working keys */
    unsigned wrap_version;
};
static const struct kind kinds[] = {
    {TOK_CARD_AES, TOK_TDES, 16, 1},    {TOK_CARD_AES, TOK_TDES, 8, 1},   {TOK_CARD_AES, TOK_AES_128, 16, 1},
    {TOK_CARD_AES, TOK_AES_256, 16, 1}, {TOK_CARD_PBOC, TOK_TDES, 16, 1}, {TOK_CARD_AES, TOK_AES_128, 16, 2},
    {TOK_CARD_AES, TOK_AES_256, 16, 2},
};

static struct chip chip;

static enum err_code keep_nothing(void *state, const struct chip_image *image, struct err *e)
{
    (void)state, (void)image, (void)e;
    return ERR_OK;
}

static void write_component(const char *path, const uint8_t *value, size_t len)
{
    char text[65];
    hex_encode(value, len, text);
    const int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, 2 * len), (ssize_t)(2 * len));
    close(fd);
}

/* A card of the factory that has the fixture's control masters. */
static void make_card(void)
{
    static struct chip_image image;
    char dir[64], tdes[80], aes[80];
    suite_scratch_name("card", dir, sizeof dir);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(tdes, sizeof tdes, "%s/tdes", dir);
    snprintf(aes, sizeof aes, "%s/aes", dir);
    write_component(tdes, pay_control_tdes, sizeof pay_control_tdes);
    write_component(aes, pay_control_aes, sizeof pay_control_aes);
    const struct option_list tdes_files = {.items = {tdes}, .count = 1},
                             aes_files = {.items = {aes}, .count = 1};
    const struct card_order order = {
        .psam_number = PAY_PSAM, .tdes_files = &tdes_files, .aes_files = &aes_files};
    ck_assert_ok(maker_make(&order, &image, &pay_err), pay_err);
    unlink(tdes);
    unlink(aes);
    rmdir(dir);
    const struct chip_memory memory = {.save = keep_nothing};
    chip_init(&chip, &image, &memory);
}

static struct apdu_response send(const uint8_t *bytes, size_t len)
{
    uint8_t raw[APDU_RESPONSE_MAX];
    struct apdu_response response;
    const size_t raw_len = chip_answer(&chip, bytes, len, raw);
    ck_assert_ok(apdu_response_parse(raw, raw_len, &response, &pay_err), pay_err);
    return response;
}

static struct apdu_response play(const struct apdu_command *command)
{
    uint8_t bytes[APDU_COMMAND_MAX];
    size_t len;
    ck_assert_ok(apdu_command_build(command, bytes, &len, &pay_err), pay_err);
    const struct apdu_response response = send(bytes, len);
    ck_assert_msg(response.sw == SW_OK, "%02X%02X: %04X", command->cla, command->ins, response.sw);
    return response;
}

static void make_script(const struct kind *kind, struct tok_card_script *out_script)
{
    const uint8_t bytes = kind->profile == TOK_CARD_PBOC ? 4 : 8;
    const struct apdu_command ask = psam_get_challenge(bytes);
    const struct apdu_response challenge = play(&ask);
    const struct tok_card_request request = {.psam_number = PAY_PSAM,
                                             .suite = kind->suite,
                                             .master_version = 1,
                                             .control_version = 1,
                                             .profile = kind->profile,
                                             .wrap_version = kind->wrap_version,
                                             .challenge = challenge.data,
                                             .challenge_len = challenge.data_len};
    ck_assert_ok(tok_card_script(pay_session, &request, out_script, &pay_err), pay_err);
}

static void issue(const struct kind *kind)
{
    struct tok_card_script script;
    make_card();
    make_script(kind, &script);
    ck_assert_uint_eq(send(script.apdu, script.apdu_len).sw, SW_OK);
    struct psam_key_info info;
    const struct apdu_command ask = psam_get_key_info(PSAM_TMK);
    const struct apdu_response answer = play(&ask);
    ck_assert_ok(psam_key_info_parse(&answer, &info, &pay_err), pay_err);
    ck_assert(secret_equal(info.kcv, script.kcv, sizeof info.kcv));
}

static void sign_in(const struct kind *kind, enum tok_usage usage, struct tok_working_key *out_key)
{
    static const enum psam_usage card_usages[] = {
        [TOK_PIK] = PSAM_PIK, [TOK_MAK] = PSAM_MAK, [TOK_TDK] = PSAM_TDK};
    const bool aes = kind->suite != TOK_TDES;
    const enum psam_mac_method method = usage != TOK_MAK ? PSAM_MAC_PBOC
                                        : aes            ? PSAM_MAC_CMAC
                                                         : PSAM_MAC_BLOCKS;
    const enum psam_cipher cipher = aes ? PSAM_AES_128 : kind->key_bytes == 8 ? PSAM_DES : PSAM_TDES;
    const struct psam_key_header header = {.usage = (uint8_t)card_usages[usage],
                                           .version = 1,
                                           .algorithm = (uint8_t)((unsigned)method | (unsigned)cipher)};
    struct apdu_command command;
    pay_working_wrapped(kind->suite, usage, kind->key_bytes, kind->wrap_version, out_key);
    ck_assert_ok(psam_write_working_key(&header, out_key->cryptogram, out_key->cryptogram_len, out_key->kcv,
                                        &command, &pay_err),
                 pay_err);
    play(&command);
}

static struct apdu_response card_crypt(enum psam_usage usage, uint8_t mode, const uint8_t *data, size_t len)
{
    const struct apdu_command init = psam_init_crypt(usage);
    play(&init);
    const struct apdu_command crypt = psam_crypt(mode, data, len);
    return play(&crypt);
}

START_TEST(card_enciphers_what_the_token_deciphers)
{
    static const uint8_t track[16] = "6222620910029130";
    struct tok_working_key tdk;
    uint8_t clear[16];
    enum tok_grade grade;
    issue(&kinds[_i]);
    sign_in(&kinds[_i], TOK_TDK, &tdk);
    const struct apdu_response answer = card_crypt(PSAM_TDK, PSAM_ENCRYPT_LAST, track, sizeof track);
    const struct tok_data_request request = {
        .mode = TOK_ECB, .key = pay_blob(&tdk), .data = answer.data, .len = sizeof track};
    ck_assert_uint_eq(answer.data_len, sizeof track);
    ck_assert_ok(tok_data_decrypt(pay_session, &request, clear, &grade, &pay_err), pay_err);
    ck_assert_mem_eq(clear, track, sizeof track);
}
END_TEST

START_TEST(card_makes_the_mac_that_the_token_checks)
{
    static const uint8_t message[] = "0200302004C020C0 a message of no particular length";
    const bool aes = kinds[_i].suite != TOK_TDES;
    struct tok_working_key mak;
    uint8_t input[sizeof message + 16] = {0}, field64[8];
    size_t len = 16 + sizeof message; /* AES: IV block, message */
    issue(&kinds[_i]);
    sign_in(&kinds[_i], TOK_MAK, &mak);
    memcpy(input + 16, message, sizeof message);
    if (!aes) { /* IV block, then the text that the terminal folds the message to */
        emu_unionpay_fold(message, sizeof message, input + 8);
        len = 24;
    }
    const struct apdu_response answer = card_crypt(PSAM_MAK, PSAM_MAC_ONLY, input, len);
    char text[17];
    ck_assert_uint_eq(answer.data_len, 8);
    hex_encode(answer.data, 8, text);
    memcpy(field64, aes ? (const void *)answer.data : text, 8);
    const struct tok_mac_request request = {.algorithm = aes ? TOK_MAC_CMAC : TOK_MAC_UNIONPAY,
                                            .key = pay_blob(&mak),
                                            .data = message,
                                            .len = sizeof message,
                                            .mac = field64,
                                            .mac_len = sizeof field64};
    bool matches = false;
    enum tok_grade grade;
    ck_assert_ok(tok_mac_check(pay_session, &request, &matches, &grade, &pay_err), pay_err);
    ck_assert(matches);
}
END_TEST

/* The PIN that the terminal builds and the card enciphers is what the bank reads under its zone key. */
START_TEST(card_enciphers_the_pin_that_the_bank_reads)
{
    static const char pan[] = "6222620910029130", pin[] = "908172";
    const bool aes = kinds[_i].suite != TOK_TDES;
    const size_t len = aes ? 16 : 8;
    struct tok_working_key pik;
    uint8_t block[16], pan_field[16], moved[16], clear[16];
    size_t moved_len;
    enum tok_grade grade;
    issue(&kinds[_i]);
    sign_in(&kinds[_i], TOK_PIK, &pik);
    ck_assert_ok(emu_pan_field_4(pan, pan_field, &pay_err), pay_err);
    ck_assert_ok(aes ? emu_pin_field_4(pin, block, &pay_err)
                     : emu_pin_block_build(0, pin, pan, block, &pay_err),
                 pay_err);
    for (int round = 0; round < (aes ? 2 : 1); round++) {
        for (size_t i = 0; round == 1 && i < 16; i++)
            block[i] ^= pan_field[i];
        const struct apdu_response answer = card_crypt(PSAM_PIK, PSAM_ENCRYPT_LAST, block, len);
        memcpy(block, answer.data, len);
    }
    /* To format 0 under the bank's TDES key in both cases; the bank deciphers that. */
    const struct tok_pin_request request = {.source = pay_blob(&pik),
                                            .destination = pay_zone("bank-a", TOK_TDES),
                                            .source_format = aes ? TOK_PIN_4 : TOK_PIN_0,
                                            .destination_format = TOK_PIN_0,
                                            .pan = pan,
                                            .block = block,
                                            .block_len = len};
    ck_assert_ok(tok_pin_translate(pay_session, &request, moved, &moved_len, &grade, &pay_err), pay_err);
    AUTO(tok_object) bank = {0};
    CK_MECHANISM ecb = {CKM_DES3_ECB, NULL, 0};
    char read[EMU_PIN_DIGITS_MAX + 1];
    pay_des_key(pay_a_tdes, 16, &bank);
    ck_assert_ok(tok_decrypt(pay_session, &ecb, bank.handle, moved, 8, clear, &pay_err), pay_err);
    ck_assert_ok(emu_pin_block_parse(0, clear, pan, read, &pay_err), pay_err);
    ck_assert_str_eq(read, pin);
}
END_TEST

START_TEST(card_refuses_a_changed_script)
{
    const struct kind *kind = &kinds[_i];
    struct tok_card_script script;
    make_card();
    for (unsigned wrong = 0; wrong < 2; wrong++) { /* the third wrong MAC would lock the card */
        make_script(kind, &script);
        script.apdu[wrong == 0 ? 8 : script.apdu_len - 1] ^= 1;
        ck_assert_uint_ne(send(script.apdu, script.apdu_len).sw, SW_OK);
    }
    make_script(kind, &script);
    ck_assert_uint_eq(send(script.apdu, script.apdu_len).sw, SW_OK);
    /* Its challenge is used up. */
    ck_assert_uint_ne(send(script.apdu, script.apdu_len).sw, SW_OK);
}
END_TEST

static void add_all(TCase *tcase)
{
    const int count = (int)(sizeof kinds / sizeof *kinds);
    tcase_add_loop_test(tcase, card_enciphers_what_the_token_deciphers, 0, count);
    tcase_add_loop_test(tcase, card_makes_the_mac_that_the_token_checks, 0, count);
    tcase_add_loop_test(tcase, card_enciphers_the_pin_that_the_bank_reads, 0, count);
    tcase_add_loop_test(tcase, card_refuses_a_changed_script, 0, count);
}

int main(void)
{
    return pay_main("token and card", add_all);
}

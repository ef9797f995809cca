/* The real posward-terminal with the real posward-psam, against a host that computes everything itself. */
#include "apdu/address.h"
#include "apdu/psam.h"
#include "apdu/status.h"
#include "base/hex.h"
#include "base/secret.h"
#include "card-emu/crypto/diversify.h"
#include "card-emu/crypto/mac.h"
#include "card-emu/crypto/pin_block.h"
#include "iso8583/f62.h"
#include "iso8583/frame.h"
#include "iso8583/pack.h"
#include "iso8583/track2.h"
#include "tests/support/card.h"
#include "tests/support/suite.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAN "6225758326736419"
#define PIN "123456"

static struct err e;
static struct test_card card;

/* A host for one terminal. Set before start, then read by its thread only. */
static struct host {
    bool aes, wrong_mac, wrong_trace, no_mac;
    bool by_usage; /* wrap version 2 */
    bool swap;     /* PIK and TDK change places in F62, as somebody on the line would do it */
    const char *signin_f39;
    struct emu_key tmk, pik, mak, tdk;
    int drop_answers; /* close so many times instead of answering */
    int listener, port, purchases;
    char last_trace[7];
} host;

static char state_file[128], posp[32], output[8192];

static struct emu_key key_of(enum emu_algorithm algorithm, uint8_t seed)
{
    uint8_t bytes[32];
    struct emu_key key = {0};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(seed + 5 * i);
    ck_assert_ok(emu_key_init(&key, algorithm, bytes, emu_key_len(algorithm), &e), e);
    return key;
}

static void mac_of(const struct iso_message *m, uint8_t out_f64[8])
{
    uint8_t input[ISO_MESSAGE_BYTES_MAX], mac[16];
    size_t len = 0;
    char hex[9];
    ck_assert_ok(iso_mac_input(m, input, sizeof input, &len, &e), e);
    if (host.aes) {
        ck_assert_ok(emu_cmac(&host.mak, input, len, mac, &e), e);
        memcpy(out_f64, mac, 8);
        return;
    }
    ck_assert_ok(emu_mac_unionpay(&host.mak, input, len, mac, &e), e);
    hex_encode(mac, 4, hex);
    memcpy(out_f64, hex, 8);
}

static void put_slot(struct iso_f62_key *slot, const struct emu_key *key, uint8_t usage)
{
    AUTO(emu_key) kek = host.tmk;
    if (host.by_usage)
        ck_assert_ok(emu_working_kek(&host.tmk, usage, &kek, &e), e);
    slot->cipher_len = test_card_wrap(&kek, key, slot->cipher);
    ck_assert_ok(emu_kcv(key, slot->cv, sizeof slot->cv, &e), e);
}

static void answer_signin(const struct iso_message *m, struct iso_message *out)
{
    const char *code = iso_text(m, 60) + 8;
    struct iso_f62 f62 = {0};
    uint8_t bytes[ISO_F62_BYTES_MAX];
    size_t len = ISO_F62_BYTES_MAX;
    ck_assert_ok(iso_set_text(out, 39, host.signin_f39, &e), e);
    if (strcmp(host.signin_f39, "00") != 0)
        return;
    if (!host.aes)
        ck_assert_ok(iso_f62_len(code, &len, &e), e);
    const enum emu_algorithm any = host.aes ? EMU_AES_128 : EMU_TDES;
    host.pik = key_of(len == 24 ? EMU_DES : any, 10);
    host.mak = key_of(len <= 40 ? EMU_DES : any, 20);
    host.tdk = key_of(any, 30);
    put_slot(&f62.keys[host.swap ? ISO_F62_TDK : ISO_F62_PIK], &host.pik, PSAM_PIK);
    put_slot(&f62.keys[ISO_F62_MAK], &host.mak, PSAM_MAK);
    if (len >= 60)
        put_slot(&f62.keys[host.swap ? ISO_F62_PIK : ISO_F62_TDK], &host.tdk, PSAM_TDK);
    ck_assert_ok(iso_f62_build(&f62, len, bytes, &e), e);
    ck_assert_ok(iso_set_bytes(out, 62, bytes, len, &e), e);
}

static bool pin_is_right(const struct iso_message *m, const char *pan)
{
    size_t len = 0;
    const uint8_t *block = iso_view_bytes(m, host.aes ? 57 : 52, &len);
    uint8_t clear[16];
    char pin[EMU_PIN_DIGITS_MAX + 1];
    ck_assert_uint_eq(len, host.aes ? 16 : 8);
    if (host.aes)
        return emu_pin_block_4_decrypt(&host.pik, block, pan, clear, &e) == ERR_OK &&
               emu_pin_field_4_parse(clear, pin, &e) == ERR_OK && strcmp(pin, PIN) == 0;
    return emu_decrypt_ecb(&host.pik, block, 8, clear, &e) == ERR_OK &&
           emu_pin_block_parse(0, clear, pan, pin, &e) == ERR_OK && strcmp(pin, PIN) == 0;
}

/* The PAN of the deciphered track must be the one that was typed. */
static void check_track(const struct iso_message *m, char out_pan[20])
{
    char track[ISO_TRACK2_DIGITS_MAX + 1];
    uint8_t bytes[ISO_TRACK2_CLEAR_MAX];
    size_t len = 0;
    const enum iso_track2_rule rule = host.aes ? ISO_TRACK2_AES : ISO_TRACK2_TDES;
    snprintf(track, sizeof track, "%s", iso_text(m, 35));
    if (iso_text(m, 53)[2] == '1') {
        ck_assert_ok(iso_track2_slice(rule, track, bytes, &len, &e), e);
        ck_assert_ok(emu_decrypt_ecb(&host.tdk, bytes, len, bytes, &e), e);
        ck_assert_ok(iso_track2_put(rule, track, bytes, len, &e), e);
    }
    ck_assert_str_eq(track, PAN "D3012201"
                                "0000000000000");
    ck_assert_ok(iso_track2_pan(track, out_pan, &e), e);
}

static void answer_purchase(const struct iso_message *m, struct iso_message *out)
{
    uint8_t f64[8];
    char pan[20];
    size_t len = 0;
    mac_of(m, f64);
    const bool mac_ok = secret_equal(f64, iso_view_bytes(m, 64, &len), 8);
    check_track(m, pan);
    const char *code = !mac_ok ? "A0" : pin_is_right(m, pan) ? "00" : "55";
    ck_assert_ok(iso_set_text(out, 39, code, &e), e);
    ck_assert_ok(iso_copy_field(out, m, 4, &e), e);
    host.purchases += strcmp(host.last_trace, iso_text(m, 11)) != 0 ? 1 : 0;
    snprintf(host.last_trace, sizeof host.last_trace, "%s", iso_text(m, 11));
    if (!mac_ok || host.no_mac)
        return;
    mac_of(out, f64);
    f64[7] ^= host.wrong_mac ? 1 : 0;
    ck_assert_ok(iso_set_bytes(out, 64, f64, sizeof f64, &e), e);
}

static size_t answer(const struct iso_frame *frame, uint8_t *wire, size_t capacity)
{
    static struct iso_message m, out;
    uint8_t packed[ISO_MESSAGE_BYTES_MAX];
    char mti[5];
    size_t len = 0;
    ck_assert_ok(iso_unpack(&m, &iso_unionpay, frame->message, frame->message_len, &e), e);
    iso_message_init(&out, &iso_unionpay);
    memcpy(mti, m.mti, sizeof mti);
    mti[2]++;
    ck_assert_ok(iso_set_mti(&out, mti, &e), e);
    ck_assert_ok(iso_copy_field(&out, &m, 11, &e), e);
    ck_assert_ok(iso_copy_field(&out, &m, 41, &e), e);
    ck_assert_ok(iso_copy_field(&out, &m, 42, &e), e);
    ck_assert_ok(iso_set_text(&out, 37, "R00000000001", &e), e);
    if (host.wrong_trace)
        ck_assert_ok(iso_set_text(&out, 11, "999999", &e), e);
    if (strcmp(m.mti, "0800") == 0)
        answer_signin(&m, &out);
    else if (strcmp(m.mti, "0200") == 0)
        answer_purchase(&m, &out);
    else
        ck_assert_ok(iso_set_text(&out, 39, "00", &e), e);
    ck_assert_ok(iso_pack(&out, packed, sizeof packed, &len, &e), e);
    const struct iso_envelope envelope = iso_envelope_answer(&frame->envelope);
    ck_assert_ok(iso_frame_build(&envelope, packed, len, wire, capacity, &len, &e), e);
    return len;
}

static void serve_one(int fd)
{
    uint8_t bytes[ISO_FRAME_BYTES_MAX], wire[ISO_FRAME_BYTES_MAX];
    size_t held = 0;
    ssize_t got = 0;
    while ((got = recv(fd, bytes + held, sizeof bytes - held, 0)) > 0) {
        struct iso_frame frame;
        held += (size_t)got;
        ck_assert_ok(iso_frame_parse(bytes, held, sizeof bytes, &frame, &e), e);
        if (frame.total == 0)
            continue;
        const size_t len = answer(&frame, wire, sizeof wire);
        held = 0;
        if (host.drop_answers-- > 0)
            return;
        ck_assert_int_eq(send(fd, wire, len, MSG_NOSIGNAL), (ssize_t)len);
    }
}

static void *serve(void *unused)
{
    for (;;) {
        const int fd = accept(host.listener, NULL, NULL);
        if (fd < 0)
            return unused;
        serve_one(fd);
        close(fd);
    }
}

static void issue(const struct emu_key *tmk)
{
    AUTO(card_link) reader = {0};
    ck_assert_ok(card_link_connect(&reader, card.address, 5000, &e), e);
    ck_assert_ok(card_power_on(&reader, &e), e);
    const struct psam_key_header header = {
        PSAM_TMK, 1, (uint8_t)(tmk->algorithm | (host.by_usage ? PSAM_WRAP_USAGE : PSAM_WRAP_TMK))};
    ck_assert_uint_eq(test_card_write_header(&card, &reader, &header, tmk, false), SW_OK);
}

static void start(bool aes)
{
    pthread_t thread;
    host.aes = aes;
    host.tmk = key_of(aes ? EMU_AES_256 : EMU_TDES, 1);
    issue(&host.tmk);
    ck_assert_ok(address_listen("127.0.0.1:0", &host.listener, &host.port, &e), e);
    snprintf(posp, sizeof posp, "127.0.0.1:%d", host.port);
    ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
    pthread_detach(thread);
}

static void setup(void)
{
    memset(&host, 0, sizeof host);
    host.signin_f39 = "00";
    test_card_make(&card);
    test_card_serve(&card);
    snprintf(state_file, sizeof state_file, "%s/terminal", card.folder);
}

static void teardown(void)
{
    test_card_drop(&card);
}

/* posward-terminal with a command line of words; its exit status, its output in `output`. */
static int terminal(const char *words)
{
    static const char *fixed[] = {"posward-terminal", "--posp",        posp,       "--psam",
                                  card.address,       "--terminal-id", "10000001", "--merchant-id",
                                  "898100012345678",  "--state",       state_file};
    const char *argv[40];
    char copy[512];
    size_t count = sizeof fixed / sizeof fixed[0];
    memcpy(argv, fixed, sizeof fixed);
    argv[count++] = "--suite";
    argv[count++] = host.aes ? "aes" : "tdes";
    snprintf(copy, sizeof copy, "%s", words);
    for (char *rest = NULL, *word = strtok_r(copy, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest))
        argv[count++] = word;
    argv[count] = NULL;
    return test_run("posward-terminal", argv, output, sizeof output);
}

#define PAY "purchase --amount 10000 --pan " PAN " --expiry 3012 --pin "

static void expect_run(const char *words, int status, const char *text)
{
    const int got = terminal(words);
    ck_assert_msg(got == status && strstr(output, text) != NULL, "%s: exit %d, expected %d and \"%s\": %s",
                  words, got, status, text, output);
}

START_TEST(tdes_terminal_signs_in_and_pays)
{
    static const char *const layouts[] = {"single", "double", "track", "slots"};
    start(false);
    for (size_t i = 0; i < 4; i++) {
        char words[64];
        snprintf(words, sizeof words, "signin --keys %s", layouts[i]);
        expect_run(words, 0, "sign-in: approved, the card has the working keys");
        expect_run(PAY PIN, 0, "purchase: approved (F39 00, amount 100.00, card 622575******6419");
    }
    expect_run(PAY "999999", 3, "F39 55");
    expect_run(PAY PIN " --tamper-amount", 3, "F39 A0");
    expect_run(PAY PIN " --track-only", 0, "F39 00");
    expect_run(PAY PIN " --repeat", 0, "repeat: approved");
    expect_run("echo", 0, "echo: approved");
    expect_run("signoff --json", 0, "{\"step\":\"sign-off\",\"result\":\"approved\",\"F39\":\"00\"");
}
END_TEST

START_TEST(aes_terminal_signs_in_and_pays)
{
    start(true);
    expect_run("signin", 0, "F62 bytes 84");
    expect_run(PAY PIN, 0, "MAC verified");
    expect_run(PAY "999999", 3, "F39 55");
    expect_run(PAY PIN " --tamper-amount", 3, "F39 A0");
}
END_TEST

/* In wrap version 1 neither card nor terminal can tell; in version 2 the card refuses. */
START_TEST(swapped_keys_of_a_sign_in_are_refused_in_wrap_version_2)
{
    host.by_usage = _i != 0;
    start(true);
    expect_run("signin", 0, "approved");
    expect_run(PAY PIN, 0, "MAC verified");
    host.swap = true;
    if (host.by_usage)
        expect_run("signin", 4, "SW 9302");
    else
        expect_run("signin", 0, "approved");
    if (!host.by_usage)
        return;
    host.swap = false;
    expect_run(PAY PIN, 0, "MAC verified"); /* with the keys of before */
    expect_run("signin", 0, "approved");
    expect_run(PAY PIN, 0, "MAC verified");
}
END_TEST

START_TEST(foreign_tmk_is_refused_by_the_card)
{
    uint8_t before[1024], after[1024];
    start(false);
    expect_run("signin", 0, "approved");
    host.tmk = key_of(EMU_TDES, 99);
    const size_t len = test_card_read(&card, before, sizeof before);
    expect_run("signin", 4, "SW 9302");
    ck_assert_ptr_nonnull(strstr(output, "card unchanged"));
    ck_assert_uint_eq(test_card_read(&card, after, sizeof after), len);
    ck_assert_mem_eq(before, after, len);
    expect_run(PAY PIN, 0, "approved"); /* the old keys still serve */
}
END_TEST

START_TEST(refused_sign_in_shows_the_code)
{
    start(false);
    host.signin_f39 = "97";
    expect_run("signin", 3, "sign-in: terminal not registered (F39 97");
}
END_TEST

START_TEST(answers_that_do_not_fit_are_refused)
{
    start(false);
    expect_run("signin", 0, "approved");
    host.wrong_mac = true;
    expect_run(PAY PIN, 1, "the answer's MAC is wrong");
    host.wrong_mac = false;
    host.no_mac = true;
    expect_run(PAY PIN, 1, "the approval has no MAC");
    host.no_mac = false;
    host.wrong_trace = true;
    expect_run(PAY PIN, 1, "the answer's field 11 is not the request's");
}
END_TEST

START_TEST(run_repeats_until_answered)
{
    start(false);
    expect_run("signin", 0, "approved");
    host.drop_answers = 3;
    expect_run("run --count 5 --amount 100 --pan " PAN " --expiry 3012 --pin " PIN " --seconds 30", 0,
               "000002 00 R00000000001\n");
    ck_assert_int_eq(host.purchases, 5); /* the lost answers were asked for with the same trace */
    ck_assert_ptr_nonnull(strstr(output, "000006 00 R00000000001\n"));
    host.drop_answers = 1000000;
    expect_run("run --count 2 --pin " PIN " --seconds 1", 1, "trace 000007 is not answered yet");
}
END_TEST

START_TEST(bad_words_are_usage_errors)
{
    snprintf(posp, sizeof posp, "127.0.0.1:1");
    expect_run("", 2, "COMMAND");
    expect_run("fly", 2, "unknown command \"fly\"");
    expect_run("echo --amount x", 2, "--amount needs a number");
    expect_run("echo --nonsense", 2, "unknown option \"--nonsense\"");
    expect_run("echo signin", 2, "\"signin\" is no option");
    expect_run("signin --keys none", 1, "single, double, track or slots");
    expect_run("echo", 1, "cannot connect to 127.0.0.1:1");
    expect_run("--help", 0, "Exit status");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("terminal");
    TCase *tc = tcase_create("terminal");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, tdes_terminal_signs_in_and_pays);
    tcase_add_test(tc, aes_terminal_signs_in_and_pays);
    tcase_add_loop_test(tc, swapped_keys_of_a_sign_in_are_refused_in_wrap_version_2, 0, 2);
    tcase_add_test(tc, foreign_tmk_is_refused_by_the_card);
    tcase_add_test(tc, refused_sign_in_shows_the_code);
    tcase_add_test(tc, answers_that_do_not_fit_are_refused);
    tcase_add_test(tc, run_repeats_until_answered);
    tcase_add_test(tc, bad_words_are_usage_errors);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

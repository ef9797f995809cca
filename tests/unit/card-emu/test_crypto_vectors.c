/* Published vectors through the emulators' crypto. */
#include "base/hex.h"
#include "card-emu/crypto/diversify.h"
#include "card-emu/crypto/mac.h"
#include "card-emu/crypto/pin_block.h"
#include "iso8583/track2.h"
#include "tests/support/factors.h"
#include "tests/support/suite.h"
#include "tests/support/vectors.h"

#include <ctype.h>
#include <string.h>

#define BYTES_MAX VECTORS_BYTES_MAX

static struct err e;

struct value {
    uint8_t bytes[BYTES_MAX];
    size_t len;
};

static struct value input(const struct vectors *v, int i, const char *name)
{
    struct value value = {0};
    value.len = vectors_hex(v, i, "inputs", name, value.bytes, sizeof value.bytes);
    return value;
}

static bool has(const struct vectors *v, int i, const char *section, const char *name)
{
    return vectors_text(v, i, section, name) != NULL;
}

static struct emu_key des_key(const struct vectors *v, int i, const char *name)
{
    const struct value bytes = input(v, i, name);
    struct emu_key key = {0};
    ck_assert_ok(emu_key_init_des(&key, bytes.bytes, bytes.len, &e), e);
    return key;
}

static struct emu_key aes_key(const struct vectors *v, int i, const char *name)
{
    const struct value bytes = input(v, i, name);
    struct emu_key key = {0};
    ck_assert_ok(emu_key_init(&key,
                              bytes.len == 32   ? EMU_AES_256
                              : bytes.len == 24 ? EMU_AES_192
                                                : EMU_AES_128,
                              bytes.bytes, bytes.len, &e),
                 e);
    return key;
}

static struct vectors kcv, kcv_aes, pboc_mac, session, pin_block, pin_enc, pin_4, unionpay, working, div_,
    track2, tdes, cmac, wrap, x9_9, x9_19, alg1;

#define KNOWN(v, ...) vectors_expect_only((v), _i, (const char *const[]){__VA_ARGS__, NULL})

START_TEST(kcv_matches)
{
    KNOWN(&kcv, "kcv");
    const struct emu_key key = des_key(&kcv, _i, "key");
    uint8_t out[8];
    ck_assert_ok(emu_kcv(&key, out, sizeof out, &e), e);
    vectors_expect_left(&kcv, _i, "kcv", out, sizeof out);
}
END_TEST

START_TEST(kcv_aes_matches)
{
    KNOWN(&kcv_aes, "kcv");
    const struct emu_key key = aes_key(&kcv_aes, _i, "key");
    uint8_t out[16];
    ck_assert_ok(emu_kcv(&key, out, sizeof out, &e), e);
    vectors_expect_left(&kcv_aes, _i, "kcv", out, sizeof out);
}
END_TEST

START_TEST(pboc_mac_matches)
{
    KNOWN(&pboc_mac, "mac");
    const struct emu_key key = des_key(&pboc_mac, _i, "key");
    const struct value iv = input(&pboc_mac, _i, "iv"), data = input(&pboc_mac, _i, "data");
    uint8_t mac[8];
    ck_assert_uint_eq(iv.len, 8);
    ck_assert_ok(emu_mac_pboc(&key, iv.bytes, data.bytes, data.len, mac, &e), e);
    vectors_expect_left(&pboc_mac, _i, "mac", mac, sizeof mac);
}
END_TEST

START_TEST(session_key_matches)
{
    KNOWN(&session, "session_key");
    const struct emu_key key = des_key(&session, _i, "key");
    const struct value data = input(&session, _i, "data");
    uint8_t out[BYTES_MAX];
    ck_assert_ok(emu_encrypt_ecb(&key, data.bytes, data.len, out, &e), e);
    vectors_expect_hex(&session, _i, "session_key", out, data.len);
}
END_TEST

/* The clear field of format 4 has random bytes beside the PIN, and no PAN in it. */
static void check_pin_field_4(int i)
{
    const char *pin = vectors_text(&pin_block, i, "inputs", "pin");
    uint8_t right[EMU_PIN_FIELD_4_BYTES], made[EMU_PIN_FIELD_4_BYTES];
    char again[EMU_PIN_DIGITS_MAX + 1];
    ck_assert_uint_eq(vectors_hex(&pin_block, i, "expected", "block", right, sizeof right), sizeof right);
    ck_assert_ok(emu_pin_field_4_parse(right, again, &e), e);
    ck_assert_str_eq(again, pin);
    ck_assert_ok(emu_pin_field_4(pin, made, &e), e);
    ck_assert_mem_eq(made, right, EMU_PIN_BLOCK_BYTES);
}

START_TEST(pin_block_matches)
{
    KNOWN(&pin_block, "block");
    const int format = (int)vectors_int(&pin_block, _i, "inputs", "format", -1);
    const char *pin = vectors_text(&pin_block, _i, "inputs", "pin"),
               *pan = vectors_text(&pin_block, _i, "inputs", "pan");
    uint8_t block[8], expected[8];
    char again[EMU_PIN_DIGITS_MAX + 1];
    if (format == 4) {
        check_pin_field_4(_i);
        return;
    }
    ck_assert_ok(emu_pin_block_build(format, pin, pan, block, &e), e);
    ck_assert_ok(emu_pin_block_parse(format, block, pan, again, &e), e);
    ck_assert_str_eq(again, pin);
    if (format == 0 || format == 2) /* the others have random fill */
        vectors_expect_hex(&pin_block, _i, "block", block, sizeof block);
    ck_assert_uint_eq(vectors_hex(&pin_block, _i, "expected", "block", expected, sizeof expected), 8);
    ck_assert_ok(emu_pin_block_parse(format, expected, pan, again, &e), e);
    ck_assert_str_eq(again, pin);
}
END_TEST

START_TEST(pin_block_enc_matches)
{
    KNOWN(&pin_enc, "control", "pin");
    const struct emu_key key = des_key(&pin_enc, _i, "pik");
    const struct value block = input(&pin_enc, _i, "block");
    const int format = (int)vectors_int(&pin_enc, _i, "inputs", "format", -1);
    uint8_t clear[8];
    char pin[EMU_PIN_DIGITS_MAX + 1];
    ck_assert_uint_eq(block.len, sizeof clear);
    ck_assert_ok(emu_decrypt_ecb(&key, block.bytes, block.len, clear, &e), e);
    ck_assert_ok(emu_pin_block_parse(format, clear, vectors_text(&pin_enc, _i, "inputs", "pan"), pin, &e), e);
    vectors_expect_text(&pin_enc, _i, "pin", pin);
    ck_assert_int_eq(vectors_int(&pin_enc, _i, "expected", "control", format), clear[0] >> 4);
}
END_TEST

static void check_pin_4_block(int i, const char *pan)
{
    const struct emu_key key = aes_key(&pin_4, i, "key");
    const struct value block = input(&pin_4, i, "block");
    uint8_t field[EMU_PIN_FIELD_4_BYTES], again[EMU_PIN_FIELD_4_BYTES];
    char pin[EMU_PIN_DIGITS_MAX + 1];
    ck_assert_ok(emu_pin_block_4_decrypt(&key, block.bytes, pan, field, &e), e);
    ck_assert_ok(emu_pin_field_4_parse(field, pin, &e), e);
    vectors_expect_text(&pin_4, i, "pin", pin);
    ck_assert_int_eq(vectors_int(&pin_4, i, "expected", "control", 4), field[0] >> 4);
    vectors_expect_hex(&pin_4, i, "pin_field", field, sizeof field);
    const char *pin_field = vectors_text(&pin_4, i, "inputs", "pin_field");
    if (pin_field != NULL)
        ck_assert_mem_eq(field, input(&pin_4, i, "pin_field").bytes, sizeof field);
    ck_assert_ok(emu_pin_block_4_encrypt(&key, pin, pan, again, &e), e);
    ck_assert_ok(emu_pin_block_4_decrypt(&key, again, pan, field, &e), e);
    ck_assert_ok(emu_pin_field_4_parse(field, pin, &e), e);
    vectors_expect_text(&pin_4, i, "pin", pin);
}

START_TEST(pin_block_4_matches)
{
    KNOWN(&pin_4, "control", "pin", "pin_field", "pan_field");
    const char *pan = vectors_text(&pin_4, _i, "inputs", "pan");
    uint8_t field[EMU_PIN_FIELD_4_BYTES];
    ck_assert_ok(emu_pan_field_4(pan, field, &e), e);
    vectors_expect_hex(&pin_4, _i, "pan_field", field, sizeof field);
    if (has(&pin_4, _i, "inputs", "pan_field"))
        ck_assert_mem_eq(field, input(&pin_4, _i, "pan_field").bytes, sizeof field);
    if (has(&pin_4, _i, "inputs", "block"))
        check_pin_4_block(_i, pan);
}
END_TEST

START_TEST(unionpay_mac_matches)
{
    KNOWN(&unionpay, "mac_ascii", "field64", "mac_full", "xor", "xor_hex");
    const struct emu_key key = des_key(&unionpay, _i, "mak");
    const struct value data = input(&unionpay, _i, "data");
    uint8_t mac[8], folded_hex[16];
    char ascii[9];
    ck_assert_ok(emu_mac_unionpay(&key, data.bytes, data.len, mac, &e), e);
    hex_encode(mac, 4, ascii);
    vectors_expect_text(&unionpay, _i, "mac_ascii", ascii);
    vectors_expect_hex(&unionpay, _i, "field64", (const uint8_t *)ascii, 8);
    vectors_expect_hex(&unionpay, _i, "mac_full", mac, sizeof mac);
    emu_unionpay_fold(data.bytes, data.len, folded_hex);
    vectors_expect_hex(&unionpay, _i, "xor_hex", folded_hex, sizeof folded_hex);
    uint8_t folded[8];
    ck_assert_ok(hex_decode((const char *)folded_hex, sizeof folded_hex, folded, &e), e);
    vectors_expect_hex(&unionpay, _i, "xor", folded, sizeof folded);
}
END_TEST

START_TEST(working_key_matches)
{
    KNOWN(&working, "key", "kcv");
    const struct emu_key tmk = des_key(&working, _i, "tmk");
    const struct value cipher = input(&working, _i, "cipher");
    uint8_t clear[24], out[8];
    struct emu_key key = {0};
    ck_assert_ok(emu_decrypt_ecb(&tmk, cipher.bytes, cipher.len, clear, &e), e);
    vectors_expect_hex(&working, _i, "key", clear, cipher.len);
    ck_assert_ok(emu_key_init_des(&key, clear, cipher.len, &e), e);
    ck_assert_ok(emu_kcv(&key, out, sizeof out, &e), e);
    vectors_expect_left(&working, _i, "kcv", out, sizeof out);
}
END_TEST

static void odd_parity(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const uint8_t upper = bytes[i] & 0xFE;
        bytes[i] = upper | (__builtin_popcount(upper) % 2 == 0 ? 1 : 0);
    }
}

static void check_child(int i, const struct emu_key *key)
{
    uint8_t out[8], parity[24];
    vectors_expect_hex(&div_, i, "key", key->bytes, key->len);
    memcpy(parity, key->bytes, key->len);
    odd_parity(parity, key->len);
    vectors_expect_hex(&div_, i, "key_odd_parity", parity, key->len);
    ck_assert_ok(emu_kcv(key, out, sizeof out, &e), e);
    vectors_expect_left(&div_, i, "kcv", out, sizeof out);
    vectors_expect_left(&div_, i, "kcv4", out, sizeof out);
}

START_TEST(diversify_matches)
{
    KNOWN(&div_, "key", "key_odd_parity", "level1", "kcv", "kcv4");
    struct emu_key key = des_key(&div_, _i, "mk");
    const struct factors factors = factors_of(&div_, _i);
    const char *number = vectors_text(&div_, _i, "inputs", "psam_no");
    for (size_t level = 0; level < factors.levels; level++) {
        uint8_t bytes[EMU_FACTOR_BYTES], bcd[EMU_PSAM_BCD_BYTES];
        struct emu_key child = {0};
        ck_assert_ok(hex_decode(factors.digits[level], 2 * EMU_FACTOR_BYTES, bytes, &e), e);
        if (number != NULL) { /* the factor is the end of the PSAM number */
            ck_assert_ok(emu_psam_bcd(number, bcd, &e), e);
            ck_assert_mem_eq(bcd + EMU_PSAM_BCD_BYTES - EMU_FACTOR_BYTES, bytes, sizeof bytes);
        }
        ck_assert_ok(emu_diversify_tdes(&key, bytes, &child, &e), e);
        if (level == 0)
            vectors_expect_hex(&div_, _i, "level1", child.bytes, child.len);
        key = child;
    }
    check_child(_i, &key);
}
END_TEST

/* Upper case, the separator as it is on the wire. */
static void track_of(const char *text, char out_track[ISO_TRACK2_DIGITS_MAX + 1])
{
    ck_assert(text != NULL && strlen(text) <= ISO_TRACK2_DIGITS_MAX);
    for (size_t i = 0; i <= strlen(text); i++)
        out_track[i] = (char)(text[i] == '=' ? 'D' : toupper((unsigned char)text[i]));
}

START_TEST(track2_matches)
{
    KNOWN(&track2, "field35");
    const struct emu_key tdk = des_key(&track2, _i, "tdk");
    char track[ISO_TRACK2_DIGITS_MAX + 1];
    uint8_t bytes[ISO_TRACK2_CLEAR_MAX];
    size_t len = 0;
    track_of(vectors_text(&track2, _i, "inputs", "track2"), track);
    char clear[sizeof track];
    memcpy(clear, track, sizeof track);
    ck_assert_ok(iso_track2_slice(ISO_TRACK2_TDES, track, bytes, &len, &e), e);
    ck_assert_ok(emu_encrypt_ecb(&tdk, bytes, len, bytes, &e), e);
    ck_assert_ok(iso_track2_put(ISO_TRACK2_TDES, track, bytes, len, &e), e);
    char right[sizeof track];
    track_of(vectors_text(&track2, _i, "expected", "field35"), right);
    ck_assert_msg(strcmp(track, right) == 0, "%s: field35 is %s, expected %s", vectors_id(&track2, _i), track,
                  right);
    ck_assert_ok(iso_track2_slice(ISO_TRACK2_TDES, track, bytes, &len, &e), e);
    ck_assert_ok(emu_decrypt_ecb(&tdk, bytes, len, bytes, &e), e);
    ck_assert_ok(iso_track2_put(ISO_TRACK2_TDES, track, bytes, len, &e), e);
    ck_assert_str_eq(track, clear);
}
END_TEST

START_TEST(tdes_ecb_matches)
{
    KNOWN(&tdes, "cipher");
    const struct emu_key key = des_key(&tdes, _i, "key");
    const struct value data = input(&tdes, _i, "data");
    uint8_t out[BYTES_MAX];
    ck_assert_ok(emu_encrypt_ecb(&key, data.bytes, data.len, out, &e), e);
    vectors_expect_hex(&tdes, _i, "cipher", out, data.len);
    ck_assert_ok(emu_decrypt_ecb(&key, out, data.len, out, &e), e);
    ck_assert_mem_eq(out, data.bytes, data.len);
}
END_TEST

START_TEST(aes_cmac_matches)
{
    KNOWN(&cmac, "mac");
    const struct emu_key key = aes_key(&cmac, _i, "key");
    const struct value data = input(&cmac, _i, "data");
    uint8_t out[16];
    ck_assert_ok(emu_cmac(&key, data.bytes, data.len, out, &e), e);
    vectors_expect_left(&cmac, _i, "mac", out, sizeof out);
}
END_TEST

START_TEST(aes_keywrap_matches)
{
    KNOWN(&wrap, "wrapped");
    struct emu_key kek = aes_key(&wrap, _i, "kek");
    const struct value key = input(&wrap, _i, "key");
    if (key.len > EMU_KEY_BYTES_MAX) { /* no key of a card is that long; the token suite wraps it */
        ck_assert_int_eq(emu_wrap(&kek, key.bytes, key.len, kek.bytes, &e), ERR_INPUT);
        return;
    }
    uint8_t out[BYTES_MAX + 8], again[BYTES_MAX];
    ck_assert_ok(emu_wrap(&kek, key.bytes, key.len, out, &e), e);
    vectors_expect_hex(&wrap, _i, "wrapped", out, key.len + 8);
    ck_assert_ok(emu_unwrap(&kek, out, key.len + 8, again, &e), e);
    ck_assert_mem_eq(again, key.bytes, key.len);
    kek.bytes[0] ^= 1;
    ck_assert_int_eq(emu_unwrap(&kek, out, key.len + 8, again, &e), ERR_CHECK);
}
END_TEST

static void check_mac(const struct vectors *v, int i, bool retail)
{
    const struct emu_key key = des_key(v, i, "key");
    const struct value data = input(v, i, "data");
    const struct emu_mac_spec spec = {.retail = retail,
                                      .padding = (enum emu_padding)vectors_int(v, i, "inputs", "padding", 1)};
    uint8_t mac[8];
    ck_assert_ok(emu_mac(&key, &spec, data.bytes, data.len, mac, &e), e);
    vectors_expect_left(v, i, "mac", mac, sizeof mac);
}

START_TEST(x9_9_matches)
{
    KNOWN(&x9_9, "mac");
    check_mac(&x9_9, _i, false);
}
END_TEST

START_TEST(x9_19_matches)
{
    KNOWN(&x9_19, "mac");
    check_mac(&x9_19, _i, true);
}
END_TEST

START_TEST(iso9797_alg1_tdes_matches)
{
    KNOWN(&alg1, "mac");
    check_mac(&alg1, _i, false);
}
END_TEST

/* RFC 3394 4.2 and NIST SP 800-38B D.2 (empty message): a key length that cards do not use. */
START_TEST(aes_192_works)
{
    uint8_t bytes[24], key_data[16], out[24], expected[24];
    struct emu_key key = {0};
    ck_assert_ok(hex_decode("000102030405060708090A0B0C0D0E0F1011121314151617", 48, bytes, &e), e);
    ck_assert_ok(hex_decode("00112233445566778899AABBCCDDEEFF", 32, key_data, &e), e);
    ck_assert_ok(hex_decode("96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D", 48, expected, &e), e);
    ck_assert_ok(emu_key_init(&key, EMU_AES_192, bytes, sizeof bytes, &e), e);
    ck_assert_ok(emu_wrap(&key, key_data, sizeof key_data, out, &e), e);
    ck_assert_mem_eq(out, expected, sizeof out);
    ck_assert_ok(hex_decode("8E73B0F7DA0E6452C810F32B809079E562F8EAD2522C6B7B", 48, bytes, &e), e);
    ck_assert_ok(hex_decode("D17DDF46ADAACDE531CAC483DE7A9367", 32, expected, &e), e);
    ck_assert_ok(emu_key_init(&key, EMU_AES_192, bytes, sizeof bytes, &e), e);
    ck_assert_ok(emu_cmac(&key, bytes, 0, out, &e), e);
    ck_assert_mem_eq(out, expected, 16);
}
END_TEST

START_TEST(pin_block_of_a_12_digit_pan_has_a_zero_in_front)
{
    static const uint8_t right[] = {0x04, 0x12, 0x35, 0xDC, 0xBA, 0x98, 0x76, 0xFE};
    uint8_t block[EMU_PIN_BLOCK_BYTES];
    ck_assert_ok(emu_pin_block_build(0, "1234", "123456789012", block, &e), e);
    ck_assert_mem_eq(block, right, sizeof block);
    ck_assert_int_eq(emu_pin_block_build(0, "1234", "12345678901", block, &e), ERR_INPUT);
}
END_TEST

START_TEST(wrong_lengths_are_refused)
{
    static const uint8_t bytes[64];
    struct emu_key key = {0};
    uint8_t out[64];
    for (size_t len = 0; len < sizeof bytes; len++)
        ck_assert_int_eq(emu_key_init_des(&key, bytes, len, &e),
                         len == 8 || len == 16 || len == 24 ? ERR_OK : ERR_INPUT);
    ck_assert_ok(emu_key_init(&key, EMU_TDES, bytes, 16, &e), e);
    ck_assert_int_eq(emu_encrypt_ecb(&key, bytes, 12, out, &e), ERR_INPUT);
    ck_assert_int_eq(emu_cmac(&key, bytes, 16, out, &e), ERR_INPUT);
    ck_assert_int_eq(emu_wrap(&key, bytes, 16, out, &e), ERR_INPUT);
    ck_assert_int_eq(emu_pin_block_build(0, "123", "6225758326736419", out, &e), ERR_INPUT);
    ck_assert_int_eq(emu_pin_block_build(4, "1234", "6225758326736419", out, &e), ERR_INPUT);
    ck_assert_int_eq(emu_psam_bcd("123456789012345", out, &e), ERR_INPUT);
}
END_TEST

struct kind {
    struct vectors *v;
    const char *name;
    const TTest *test;
};

static Suite *suite(void)
{
    Suite *s = suite_create("emulators' crypto");
    TCase *tc = tcase_create("vectors");
    const struct kind kinds[] = {
        {&kcv, "kcv", kcv_matches},
        {&kcv_aes, "kcv_aes_cmac", kcv_aes_matches},
        {&pboc_mac, "pboc_mac", pboc_mac_matches},
        {&session, "session_key", session_key_matches},
        {&pin_block, "pin_block", pin_block_matches},
        {&pin_enc, "pin_block_enc", pin_block_enc_matches},
        {&pin_4, "pin_block_fmt4", pin_block_4_matches},
        {&unionpay, "unionpay_mac", unionpay_mac_matches},
        {&working, "working_key", working_key_matches},
        {&div_, "diversify", diversify_matches},
        {&track2, "track2_enc", track2_matches},
        {&tdes, "tdes_ecb", tdes_ecb_matches},
        {&cmac, "aes_cmac", aes_cmac_matches},
        {&wrap, "aes_keywrap", aes_keywrap_matches},
        {&x9_9, "x9_9", x9_9_matches},
        {&x9_19, "x9_19", x9_19_matches},
        {&alg1, "iso9797_alg1_tdes", iso9797_alg1_tdes_matches},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (vectors_open(kinds[i].v, kinds[i].name))
            tcase_add_loop_test(tc, kinds[i].test, 0, (int)kinds[i].v->count);
    }
    tcase_add_test(tc, aes_192_works);
    tcase_add_test(tc, pin_block_of_a_12_digit_pan_has_a_zero_in_front);
    tcase_add_test(tc, wrong_lengths_are_refused);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

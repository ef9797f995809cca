/* Published vectors of secure messaging: commands as WRITE KEY is built, and MACs alone. */
#include "apdu/secure.h"
#include "base/hex.h"
#include "card-emu/crypto/mac.h"
#include "tests/support/suite.h"
#include "tests/support/vectors.h"

#include <string.h>

#define HEADER_BYTES 5

static struct err e;
static struct vectors secure;

/* IV: as given, or a challenge of 4 bytes and zeros, or one of 8 bytes as it is. */
static void iv_of(int i, uint8_t out_iv[APDU_SM_IV_BYTES])
{
    uint8_t challenge[APDU_SM_IV_BYTES];
    const size_t given = vectors_hex(&secure, i, "inputs", "iv", out_iv, APDU_SM_IV_BYTES);
    if (given > 0) {
        ck_assert_uint_eq(given, APDU_SM_IV_BYTES);
        return;
    }
    const size_t len = vectors_hex(&secure, i, "inputs", "challenge", challenge, sizeof challenge);
    ck_assert_msg(len == 4 || len == sizeof challenge, "%s: challenge of %zu bytes", vectors_id(&secure, i),
                  len);
    if (len == 4)
        apdu_sm_iv(challenge, out_iv);
    else
        memcpy(out_iv, challenge, sizeof challenge);
}

/* The data of the command: what `plain` enciphers to, or `data`. */
static size_t body_of(int i, const struct emu_key *key, uint8_t out_body[VECTORS_BYTES_MAX])
{
    uint8_t plain[APDU_SM_PADDED_MAX];
    const size_t len = vectors_hex(&secure, i, "inputs", "plain", plain, sizeof plain);
    if (len == 0) {
        ck_assert(!vectors_expects(&secure, i, "cipher"));
        return vectors_hex(&secure, i, "inputs", "data", out_body, VECTORS_BYTES_MAX / 2);
    }
    ck_assert_ok(emu_encrypt_ecb(key, plain, len, out_body, &e), e);
    vectors_expect_hex(&secure, i, "cipher", out_body, len);
    return len;
}

/* The bytes under the MAC, by the code that builds commands when there is a header with the right Lc. */
static size_t mac_input(const uint8_t *header, size_t header_len, const uint8_t *body, size_t body_len,
                        uint8_t out_input[VECTORS_BYTES_MAX])
{
    struct apdu_command command = {.cla = header[0], .ins = header[1], .p1 = header[2], .p2 = header[3]};
    if (header_len == HEADER_BYTES && header[4] == body_len + APDU_PBOC_MAC_BYTES) {
        memcpy(command.data, body, body_len);
        return apdu_sm_mac_input(&command, body_len, APDU_PBOC_MAC_BYTES, out_input);
    }
    memcpy(out_input, header, header_len);
    memcpy(out_input + header_len, body, body_len);
    return header_len + body_len;
}

START_TEST(secure_messaging_matches)
{
    static const char *const known[] = {"cipher", "mac", "apdu", NULL};
    uint8_t key_bytes[24], iv[APDU_SM_IV_BYTES], header[16] = {0}, body[VECTORS_BYTES_MAX];
    uint8_t input[VECTORS_BYTES_MAX], mac[8];
    AUTO(emu_key) key = {0};
    vectors_expect_only(&secure, _i, known);
    const size_t key_len = vectors_hex(&secure, _i, "inputs", "key", key_bytes, sizeof key_bytes);
    ck_assert_ok(emu_key_init_des(&key, key_bytes, key_len, &e), e);
    iv_of(_i, iv);
    const size_t header_len = vectors_hex(&secure, _i, "inputs", "header", header, sizeof header);
    const size_t body_len = body_of(_i, &key, body);
    const size_t len = mac_input(header, header_len, body, body_len, input);
    ck_assert_ok(emu_mac_pboc(&key, iv, input, len, mac, &e), e);
    vectors_expect_left(&secure, _i, "mac", mac, sizeof mac);
    memcpy(input + len, mac, APDU_PBOC_MAC_BYTES);
    vectors_expect_hex(&secure, _i, "apdu", input, len + APDU_PBOC_MAC_BYTES);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("apdu vectors");
    TCase *tc = tcase_create("vectors");
    if (vectors_open(&secure, "secure_messaging"))
        tcase_add_loop_test(tc, secure_messaging_matches, 0, (int)secure.count);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN_EXIT(suite(), vectors_exit)

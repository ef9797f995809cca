#include "base/hex.h"
#include "iso8583/track2.h"
#include "tests/support/vectors.h"
#include "tests/unit/p11/pay_fixture.h"

#include <ctype.h>

/* Published vectors through the code of the flows, on both tokens. A raw key comes in as a session object. */

static struct vectors aes_cmac, x9_9, x9_19, alg1, unionpay, pboc, messaging, ecb, track2, session_key,
    messages;

static size_t key_of(const struct vectors *v, int index, const char *name, struct tok_object *out_key)
{
    uint8_t value[32];
    const size_t len = vectors_hex(v, index, "inputs", name, value, sizeof value);
    pay_des_key(value, len, out_key);
    return len;
}

static void run_mac(enum tok_mac algorithm, CK_OBJECT_HANDLE key, size_t key_bytes,
                    const struct tok_mac_input *input, uint8_t out_mac[TOK_MAC_BYTES])
{
    AUTO(tok_left) left = {0};
    size_t len;
    if (key_bytes == 16 && (algorithm == TOK_MAC_X9_19 || algorithm == TOK_MAC_ALG3_PAD2))
        pay_left(key, &left);
    const bool aes = algorithm == TOK_MAC_CMAC;
    const struct tok_mac_key mac_key = {key, aes ? TOK_AES_128 : TOK_TDES, (unsigned)key_bytes, &left};
    ck_assert_ok(tok_mac_run(pay_session, algorithm, &mac_key, input, out_mac, &len, &pay_err), pay_err);
    ck_assert_uint_eq(len, aes ? 16 : 8);
}

START_TEST(mac_cmac_is_as_published)
{
    static const char *const known[] = {"mac", NULL};
    uint8_t key[32], data[VECTORS_BYTES_MAX] = {0}, mac[TOK_MAC_BYTES];
    vectors_expect_only(&aes_cmac, _i, known);
    AUTO(tok_object) object = {0};
    const size_t key_len = vectors_hex(&aes_cmac, _i, "inputs", "key", key, sizeof key);
    pay_aes_key(key, key_len, &object);
    const struct tok_mac_input input = {
        .data = data, .len = vectors_hex(&aes_cmac, _i, "inputs", "data", data, sizeof data)};
    run_mac(TOK_MAC_CMAC, object.handle, key_len, &input, mac);
    vectors_expect_left(&aes_cmac, _i, "mac", mac, sizeof mac);
}
END_TEST

/* Padding method 3 is method 1 over a block with the length in bits and the data. */
static size_t with_length_block(uint8_t *data, size_t len)
{
    memmove(data + 8, data, len);
    memset(data, 0, 8);
    data[6] = (uint8_t)(len * 8 >> 8);
    data[7] = (uint8_t)(len * 8);
    return len + 8;
}

static void check_des_mac(const struct vectors *v, int index, enum tok_mac pad1, enum tok_mac pad2)
{
    static const char *const known[] = {"mac", NULL};
    uint8_t data[VECTORS_BYTES_MAX] = {0}, mac[TOK_MAC_BYTES];
    vectors_expect_only(v, index, known);
    AUTO(tok_object) key = {0};
    const size_t key_len = key_of(v, index, "key", &key);
    size_t len = vectors_hex(v, index, "inputs", "data", data, sizeof data - 8);
    const long padding = vectors_int(v, index, "inputs", "padding", 1);
    ck_assert_msg(padding >= 1 && padding <= 3, "padding %ld", padding);
    if (padding == 3)
        len = with_length_block(data, len);
    if (pad1 == TOK_MAC_X9_9 && key_len != 8) /* of a single key only, but its rule is algorithm 1's */
        pad1 = TOK_MAC_ALG1_PAD1;
    const struct tok_mac_input input = {.data = data, .len = len};
    run_mac(padding == 2 ? pad2 : pad1, key.handle, key_len, &input, mac);
    vectors_expect_left(v, index, "mac", mac, 8);
}

START_TEST(mac_x9_9_is_as_published)
{
    check_des_mac(&x9_9, _i, TOK_MAC_X9_9, TOK_MAC_ALG1_PAD2);
}
END_TEST

START_TEST(mac_x9_19_is_as_published)
{
    check_des_mac(&x9_19, _i, TOK_MAC_X9_19, TOK_MAC_ALG3_PAD2);
}
END_TEST

START_TEST(mac_algorithm_1_is_as_published)
{
    check_des_mac(&alg1, _i, TOK_MAC_ALG1_PAD1, TOK_MAC_ALG1_PAD2);
}
END_TEST

/* The steps on the way, outside the token: the XOR of the blocks, and its text. */
static void fold(const uint8_t *data, size_t len, uint8_t out_sum[8], char out_text[17])
{
    memset(out_sum, 0, 8);
    for (size_t i = 0; i < len; i++)
        out_sum[i % 8] ^= data[i];
    hex_encode(out_sum, 8, out_text);
}

START_TEST(mac_unionpay_is_as_published)
{
    static const char *const known[] = {"mac_ascii", "field64", "mac_full", "xor", "xor_hex", NULL};
    uint8_t data[VECTORS_BYTES_MAX], sum[8], mac[TOK_MAC_BYTES];
    char ascii[9] = "", sum_text[17];
    vectors_expect_only(&unionpay, _i, known);
    AUTO(tok_object) key = {0};
    const size_t key_len = key_of(&unionpay, _i, "mak", &key);
    struct tok_mac_input input = {.data = data,
                                  .len = vectors_hex(&unionpay, _i, "inputs", "data", data, sizeof data)};
    run_mac(TOK_MAC_UNIONPAY, key.handle, key_len, &input, mac);
    memcpy(ascii, mac, 8);
    vectors_expect_text(&unionpay, _i, "mac_ascii", ascii);
    vectors_expect_hex(&unionpay, _i, "field64", mac, 8);
    fold(data, input.len, sum, sum_text);
    vectors_expect_hex(&unionpay, _i, "xor", sum, sizeof sum);
    vectors_expect_hex(&unionpay, _i, "xor_hex", (const uint8_t *)sum_text, 16);

    /* The text of the XOR by algorithm 1 is the whole of T. */
    input = (struct tok_mac_input){.data = (const uint8_t *)sum_text, .len = 16};
    run_mac(TOK_MAC_ALG1_PAD1, key.handle, key_len, &input, mac);
    vectors_expect_hex(&unionpay, _i, "mac_full", mac, 8);
}
END_TEST

/* Field 64 of whole messages: the MAC covers what stands between the envelope and it. */
START_TEST(mac_of_a_message_is_as_published)
{
    uint8_t raw[VECTORS_BYTES_MAX], mac[TOK_MAC_BYTES];
    char ascii[9] = "";
    const json_t *inputs = vectors_section(&messages, _i, "inputs");
    if (!vectors_expects(&messages, _i, "mac_ascii"))
        return;
    AUTO(tok_object) key = {0};
    const size_t key_len = key_of(&messages, _i, "mak", &key);
    const size_t len = vectors_hex(&messages, _i, "inputs", "raw", raw, sizeof raw);
    const size_t head = (json_is_true(json_object_get(inputs, "has_length")) ? 2U : 0U) +
                        (json_is_true(json_object_get(inputs, "has_tpdu_header")) ? 11U : 0U);
    ck_assert_uint_gt(len, head + 18);
    const struct tok_mac_input input = {.data = raw + head, .len = len - head - 8};
    run_mac(TOK_MAC_UNIONPAY, key.handle, key_len, &input, mac);
    memcpy(ascii, mac, 8);
    vectors_expect_text(&messages, _i, "mac_ascii", ascii);
}
END_TEST

START_TEST(mac_pboc_is_as_published)
{
    static const char *const known[] = {"mac", NULL};
    uint8_t data[VECTORS_BYTES_MAX], iv[8], mac[TOK_MAC_BYTES];
    vectors_expect_only(&pboc, _i, known);
    AUTO(tok_object) key = {0};
    const size_t key_len = key_of(&pboc, _i, "key", &key);
    ck_assert_uint_eq(vectors_hex(&pboc, _i, "inputs", "iv", iv, sizeof iv), 8);
    const struct tok_mac_input input = {
        .iv = iv, .data = data, .len = vectors_hex(&pboc, _i, "inputs", "data", data, sizeof data)};
    run_mac(TOK_MAC_ALG3_PAD2, key.handle, key_len, &input, mac);
    vectors_expect_left(&pboc, _i, "mac", mac, 8);
}
END_TEST

/* `out` takes header || cryptogram or data; returns its length. */
static size_t messaging_body(int index, CK_OBJECT_HANDLE key, uint8_t *out, size_t capacity)
{
    uint8_t plain[512];
    size_t len = vectors_hex(&messaging, index, "inputs", "header", out, capacity);
    const size_t plain_len = vectors_hex(&messaging, index, "inputs", "plain", plain, sizeof plain);
    ck_assert(plain_len > 0 || !vectors_expects(&messaging, index, "cipher"));
    if (plain_len > 0) {
        CK_MECHANISM mechanism = {CKM_DES3_ECB, NULL, 0};
        ck_assert_ok(tok_encrypt(pay_session, &mechanism, key, plain, plain_len, out + len, &pay_err),
                     pay_err);
        vectors_expect_hex(&messaging, index, "cipher", out + len, plain_len);
    }
    len += plain_len;
    return len + vectors_hex(&messaging, index, "inputs", "data", out + len, capacity - len);
}

START_TEST(secure_messaging_is_as_published)
{
    static const char *const known[] = {"cipher", "mac", "apdu", NULL};
    uint8_t apdu[VECTORS_BYTES_MAX], iv[8] = {0}, mac[TOK_MAC_BYTES];
    vectors_expect_only(&messaging, _i, known);
    AUTO(tok_object) key = {0};
    const size_t key_len = key_of(&messaging, _i, "key", &key);
    if (vectors_hex(&messaging, _i, "inputs", "iv", iv, sizeof iv) == 0)
        ck_assert_uint_gt(vectors_hex(&messaging, _i, "inputs", "challenge", iv, sizeof iv), 0);
    const size_t len = messaging_body(_i, key.handle, apdu, sizeof apdu - 8);
    const struct tok_mac_input input = {.iv = iv, .data = apdu, .len = len};
    run_mac(TOK_MAC_ALG3_PAD2, key.handle, key_len, &input, mac);
    vectors_expect_left(&messaging, _i, "mac", mac, 8);
    memcpy(apdu + len, mac, 4);
    vectors_expect_hex(&messaging, _i, "apdu", apdu, len + 4);
}
END_TEST

START_TEST(data_tdes_ecb_is_as_published)
{
    static const char *const known[] = {"cipher", NULL};
    uint8_t data[VECTORS_BYTES_MAX], got[VECTORS_BYTES_MAX];
    vectors_expect_only(&ecb, _i, known);
    AUTO(tok_object) key = {0};
    key_of(&ecb, _i, "key", &key);
    const size_t len = vectors_hex(&ecb, _i, "inputs", "data", data, sizeof data);
    CK_MECHANISM mechanism = {CKM_DES3_ECB, NULL, 0};
    ck_assert_ok(tok_encrypt(pay_session, &mechanism, key.handle, data, len, got, &pay_err), pay_err);
    vectors_expect_hex(&ecb, _i, "cipher", got, len);
    ck_assert_ok(tok_decrypt(pay_session, &mechanism, key.handle, got, len, got, &pay_err), pay_err);
    ck_assert_mem_eq(got, data, len);
}
END_TEST

/* A process key of a PBOC card is the encipherment of its data under the card's key. */
START_TEST(session_key_is_as_published)
{
    static const char *const known[] = {"session_key", NULL};
    uint8_t data[64], got[64];
    vectors_expect_only(&session_key, _i, known);
    AUTO(tok_object) key = {0};
    key_of(&session_key, _i, "key", &key);
    const size_t len = vectors_hex(&session_key, _i, "inputs", "data", data, sizeof data);
    CK_MECHANISM mechanism = {CKM_DES3_ECB, NULL, 0};
    ck_assert_ok(tok_encrypt(pay_session, &mechanism, key.handle, data, len, got, &pay_err), pay_err);
    vectors_expect_hex(&session_key, _i, "session_key", got, len);
}
END_TEST

/* Upper case, the separator as it is on the wire. */
static void track_of(const char *text, char out_track[ISO_TRACK2_DIGITS_MAX + 1])
{
    ck_assert(text != NULL && strlen(text) <= ISO_TRACK2_DIGITS_MAX);
    for (size_t i = 0; i <= strlen(text); i++)
        out_track[i] = (char)(text[i] == '=' ? 'D' : toupper((unsigned char)text[i]));
}

START_TEST(data_track2_is_as_published)
{
    static const char *const known[] = {"field35", NULL};
    uint8_t slice[ISO_TRACK2_CLEAR_MAX];
    char field[ISO_TRACK2_DIGITS_MAX + 1], clear[ISO_TRACK2_DIGITS_MAX + 1];
    size_t len = 0;
    vectors_expect_only(&track2, _i, known);
    AUTO(tok_object) key = {0};
    key_of(&track2, _i, "tdk", &key);
    track_of(vectors_text(&track2, _i, "expected", "field35"), field);
    track_of(vectors_text(&track2, _i, "inputs", "track2"), clear);
    ck_assert_ok(iso_track2_slice(ISO_TRACK2_TDES, field, slice, &len, &pay_err), pay_err);
    CK_MECHANISM mechanism = {CKM_DES3_ECB, NULL, 0};
    ck_assert_ok(tok_decrypt(pay_session, &mechanism, key.handle, slice, len, slice, &pay_err), pay_err);
    ck_assert_ok(iso_track2_put(ISO_TRACK2_TDES, field, slice, len, &pay_err), pay_err);
    ck_assert_str_eq(field, clear);
}
END_TEST

static void add_loop(TCase *tcase, struct vectors *v, const char *kind, const TTest *test)
{
    if (v->root != NULL || vectors_open(v, kind))
        tcase_add_loop_test(tcase, test, 0, (int)v->count);
}

static void add_all(TCase *tcase)
{
    add_loop(tcase, &aes_cmac, "aes_cmac", mac_cmac_is_as_published);
    add_loop(tcase, &x9_9, "x9_9", mac_x9_9_is_as_published);
    add_loop(tcase, &x9_19, "x9_19", mac_x9_19_is_as_published);
    add_loop(tcase, &alg1, "iso9797_alg1_tdes", mac_algorithm_1_is_as_published);
    add_loop(tcase, &unionpay, "unionpay_mac", mac_unionpay_is_as_published);
    add_loop(tcase, &messages, "iso8583", mac_of_a_message_is_as_published);
    add_loop(tcase, &pboc, "pboc_mac", mac_pboc_is_as_published);
    add_loop(tcase, &messaging, "secure_messaging", secure_messaging_is_as_published);
    add_loop(tcase, &ecb, "tdes_ecb", data_tdes_ecb_is_as_published);
    add_loop(tcase, &session_key, "session_key", session_key_is_as_published);
    add_loop(tcase, &track2, "track2_enc", data_track2_is_as_published);
}

int main(void)
{
    return vectors_exit(pay_main("p11 payment vectors", add_all));
}

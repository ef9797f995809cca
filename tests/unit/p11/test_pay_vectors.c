#include "base/hex.h"
#include "p11/pin_block.h"
#include "tests/support/vectors.h"
#include "tests/unit/p11/pay_fixture.h"

/* Published vectors through the code of the flows, on both tokens. A raw key comes in as a session object. */

static struct vectors aes_cmac, x9_9, x9_19, alg1, unionpay, pboc, pin_enc, fmt4, translate, messaging, ecb,
    track2, session_key;

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

static void expect_hex(const struct vectors *v, int index, const char *name, const uint8_t *got,
                       size_t got_len)
{
    uint8_t right[512];
    const size_t len = vectors_hex(v, index, "expected", name, right, sizeof right);
    ck_assert_msg(len > 0 && len <= got_len && secret_equal(got, right, len), "%s %s: %s differs", v->kind,
                  vectors_id(v, index), name);
}

START_TEST(mac_cmac_is_as_published)
{
    static const char *const known[] = {"mac", NULL};
    uint8_t key[32], data[512] = {0}, mac[TOK_MAC_BYTES];
    vectors_expect_only(&aes_cmac, _i, known);
    AUTO(tok_object) object = {0};
    const size_t key_len = vectors_hex(&aes_cmac, _i, "inputs", "key", key, sizeof key);
    pay_aes_key(key, key_len, &object);
    const struct tok_mac_input input = {
        .data = data, .len = vectors_hex(&aes_cmac, _i, "inputs", "data", data, sizeof data)};
    run_mac(TOK_MAC_CMAC, object.handle, key_len, &input, mac);
    expect_hex(&aes_cmac, _i, "mac", mac, sizeof mac);
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
    uint8_t data[600] = {0}, mac[TOK_MAC_BYTES];
    vectors_expect_only(v, index, known);
    AUTO(tok_object) key = {0};
    const size_t key_len = key_of(v, index, "key", &key);
    size_t len = vectors_hex(v, index, "inputs", "data", data, 512);
    const long padding = vectors_int(v, index, "inputs", "padding", 1);
    ck_assert_msg(padding >= 1 && padding <= 3, "padding %ld", padding);
    if (padding == 3)
        len = with_length_block(data, len);
    const struct tok_mac_input input = {.data = data, .len = len};
    run_mac(padding == 2 ? pad2 : pad1, key.handle, key_len, &input, mac);
    expect_hex(v, index, "mac", mac, 8);
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

START_TEST(mac_unionpay_is_as_published)
{
    static const char *const known[] = {"mac_ascii", "field64", "mac_full", "xor", "xor_hex", NULL};
    uint8_t data[512], mac[TOK_MAC_BYTES];
    vectors_expect_only(&unionpay, _i, known);
    AUTO(tok_object) key = {0};
    const size_t key_len = key_of(&unionpay, _i, "mak", &key);
    struct tok_mac_input input = {.data = data,
                                  .len = vectors_hex(&unionpay, _i, "inputs", "data", data, sizeof data)};
    run_mac(TOK_MAC_UNIONPAY, key.handle, key_len, &input, mac);
    if (vectors_text(&unionpay, _i, "expected", "field64") != NULL)
        expect_hex(&unionpay, _i, "field64", mac, 8);
    const char *ascii = vectors_text(&unionpay, _i, "expected", "mac_ascii");
    ck_assert(ascii == NULL || secret_equal(mac, ascii, 8));

    /* The steps on the way: the XOR of the blocks has the same MAC, and its text by algorithm 1 is the whole
     * of T. */
    input.len = vectors_hex(&unionpay, _i, "expected", "xor", data, sizeof data);
    if (input.len > 0) {
        uint8_t again[TOK_MAC_BYTES];
        run_mac(TOK_MAC_UNIONPAY, key.handle, key_len, &input, again);
        ck_assert(secret_equal(mac, again, 8));
    }
    input.len = vectors_hex(&unionpay, _i, "expected", "xor_hex", data, sizeof data);
    if (input.len > 0 && vectors_text(&unionpay, _i, "expected", "mac_full") != NULL) {
        run_mac(TOK_MAC_ALG1_PAD1, key.handle, key_len, &input, mac);
        expect_hex(&unionpay, _i, "mac_full", mac, 8);
    }
}
END_TEST

START_TEST(mac_pboc_is_as_published)
{
    static const char *const known[] = {"mac", NULL};
    uint8_t data[512], iv[8], mac[TOK_MAC_BYTES];
    vectors_expect_only(&pboc, _i, known);
    AUTO(tok_object) key = {0};
    const size_t key_len = key_of(&pboc, _i, "key", &key);
    ck_assert_uint_eq(vectors_hex(&pboc, _i, "inputs", "iv", iv, sizeof iv), 8);
    const struct tok_mac_input input = {
        .iv = iv, .data = data, .len = vectors_hex(&pboc, _i, "inputs", "data", data, sizeof data)};
    run_mac(TOK_MAC_ALG3_PAD2, key.handle, key_len, &input, mac);
    expect_hex(&pboc, _i, "mac", mac, 8);
}
END_TEST

START_TEST(secure_messaging_is_as_published)
{
    static const char *const known[] = {"cipher", "mac", "apdu", NULL};
    uint8_t plain[256], apdu[600], iv[8] = {0}, mac[TOK_MAC_BYTES];
    vectors_expect_only(&messaging, _i, known);
    AUTO(tok_object) key = {0};
    const size_t key_len = key_of(&messaging, _i, "key", &key);
    if (vectors_hex(&messaging, _i, "inputs", "iv", iv, sizeof iv) == 0)
        ck_assert_uint_gt(vectors_hex(&messaging, _i, "inputs", "challenge", iv, sizeof iv), 0);
    size_t len = vectors_hex(&messaging, _i, "inputs", "header", apdu, sizeof apdu);
    const size_t plain_len = vectors_hex(&messaging, _i, "inputs", "plain", plain, sizeof plain);
    if (plain_len > 0) {
        CK_MECHANISM mechanism = {CKM_DES3_ECB, NULL, 0};
        ck_assert_ok(tok_encrypt(pay_session, &mechanism, key.handle, plain, plain_len, apdu + len, &pay_err),
                     pay_err);
        expect_hex(&messaging, _i, "cipher", apdu + len, plain_len);
    }
    len += plain_len;
    len += vectors_hex(&messaging, _i, "inputs", "data", apdu + len, sizeof apdu - len);
    if (vectors_text(&messaging, _i, "expected", "mac") == NULL)
        return;
    const struct tok_mac_input input = {.iv = iv, .data = apdu, .len = len};
    run_mac(TOK_MAC_ALG3_PAD2, key.handle, key_len, &input, mac);
    expect_hex(&messaging, _i, "mac", mac, 8);
    memcpy(apdu + len, mac, 4);
    if (vectors_text(&messaging, _i, "expected", "apdu") != NULL)
        expect_hex(&messaging, _i, "apdu", apdu, len + 4);
}
END_TEST

START_TEST(data_tdes_ecb_is_as_published)
{
    static const char *const known[] = {"cipher", NULL};
    uint8_t data[512], got[512];
    vectors_expect_only(&ecb, _i, known);
    AUTO(tok_object) key = {0};
    key_of(&ecb, _i, "key", &key);
    const size_t len = vectors_hex(&ecb, _i, "inputs", "data", data, sizeof data);
    CK_MECHANISM mechanism = {CKM_DES3_ECB, NULL, 0};
    ck_assert_ok(tok_encrypt(pay_session, &mechanism, key.handle, data, len, got, &pay_err), pay_err);
    expect_hex(&ecb, _i, "cipher", got, len);
    ck_assert_ok(tok_decrypt(pay_session, &mechanism, key.handle, got, len, got, &pay_err), pay_err);
    ck_assert_mem_eq(got, data, len);
}
END_TEST

/* A process key of a PBOC card is the encipherment of its data under the card's key. */
START_TEST(session_key_is_as_published)
{
    static const char *const known[] = {"session_key", NULL};
    uint8_t data[16], got[16];
    vectors_expect_only(&session_key, _i, known);
    AUTO(tok_object) key = {0};
    key_of(&session_key, _i, "key", &key);
    const size_t len = vectors_hex(&session_key, _i, "inputs", "data", data, sizeof data);
    CK_MECHANISM mechanism = {CKM_DES3_ECB, NULL, 0};
    ck_assert_ok(tok_encrypt(pay_session, &mechanism, key.handle, data, len, got, &pay_err), pay_err);
    expect_hex(&session_key, _i, "session_key", got, len);
}
END_TEST

START_TEST(data_track2_slice_is_as_published)
{
    static const char *const known[] = {"field35", NULL};
    uint8_t slice[8];
    char text[17];
    vectors_expect_only(&track2, _i, known);
    AUTO(tok_object) key = {0};
    key_of(&track2, _i, "tdk", &key);
    const char *field = vectors_text(&track2, _i, "expected", "field35");
    const char *clear = vectors_text(&track2, _i, "inputs", "track2");
    const size_t start = strlen(field) - (strlen(field) % 2 == 1 ? 17 : 18);
    ck_assert_ok(hex_decode(field + start, 16, slice, &pay_err), pay_err);
    CK_MECHANISM mechanism = {CKM_DES3_ECB, NULL, 0};
    ck_assert_ok(tok_decrypt(pay_session, &mechanism, key.handle, slice, sizeof slice, slice, &pay_err),
                 pay_err);
    hex_encode(slice, sizeof slice, text);
    for (size_t i = 0; i < 16; i++)
        ck_assert_int_eq(text[i], clear[start + i] == '=' ? 'D' : clear[start + i]);
}
END_TEST

/* ---- PIN ---- */

static enum tok_pin_format format_of(long iso)
{
    static const enum tok_pin_format formats[] = {TOK_PIN_0, TOK_PIN_1, 0, TOK_PIN_3, TOK_PIN_4};
    ck_assert_msg(iso >= 0 && iso <= 4 && iso != 2, "PIN format %ld", iso);
    return formats[iso];
}

/* What PIN a block under `key` holds: translated to format 0 under a test key, deciphered and decoded. */
static void expect_pin(CK_OBJECT_HANDLE key, enum tok_pin_format format, const char *pan,
                       const uint8_t *block, const char *pin)
{
    static const uint8_t test_key[16] = "a test key here";
    uint8_t moved[16];
    AUTO(tok_object) destination = {0};
    AUTO(secret) clear = {0};
    AUTO(secret) digits = {0};
    pay_des_key(test_key, 16, &destination);
    const struct tok_pin_job job = {key, destination.handle, format, TOK_PIN_0, pan, block};
    ck_assert_ok(tok_pin_block(pay_session, &job, moved, &pay_err), pay_err);
    CK_MECHANISM mechanism = {CKM_DES3_ECB, NULL, 0};
    ck_assert_ok(tok_decrypt(pay_session, &mechanism, destination.handle, moved, 8, moved, &pay_err),
                 pay_err);
    ck_assert_ok(secret_init_copy(&clear, moved, 8, &pay_err), pay_err);
    ck_assert_ok(pin_block_decode(0, pan, &clear, &digits, &pay_err), pay_err);
    ck_assert_uint_eq(digits.len, strlen(pin));
    for (size_t i = 0; i < digits.len; i++)
        ck_assert_int_eq(digits.bytes[i] + '0', pin[i]);
}

START_TEST(pin_block_enc_is_as_published)
{
    static const char *const known[] = {"control", "pin", NULL};
    uint8_t block[16];
    vectors_expect_only(&pin_enc, _i, known);
    AUTO(tok_object) key = {0};
    key_of(&pin_enc, _i, "pik", &key);
    const long iso = vectors_int(&pin_enc, _i, "inputs", "format", -1);
    ck_assert_uint_eq(vectors_hex(&pin_enc, _i, "inputs", "block", block, sizeof block), 8);
    const char *control = vectors_text(&pin_enc, _i, "expected", "control");
    ck_assert(control == NULL || strtol(control, NULL, 16) == iso);
    expect_pin(key.handle, format_of(iso), vectors_text(&pin_enc, _i, "inputs", "pan"), block,
               vectors_text(&pin_enc, _i, "expected", "pin"));
}
END_TEST

START_TEST(pin_block_fmt4_is_as_published)
{
    static const char *const known[] = {"control", "pin", "pan_field", NULL};
    uint8_t value[32], block[16], field[PIN_BLOCK_LARGEST], pin_field[16];
    vectors_expect_only(&fmt4, _i, known);
    const char *pan = vectors_text(&fmt4, _i, "inputs", "pan");
    pin_pan_field(4, pan, field);
    if (vectors_text(&fmt4, _i, "expected", "pan_field") != NULL)
        expect_hex(&fmt4, _i, "pan_field", field, 16);
    const size_t key_len = vectors_hex(&fmt4, _i, "inputs", "key", value, sizeof value);
    if (key_len == 0)
        return;
    AUTO(tok_object) key = {0};
    pay_aes_key(value, key_len, &key);
    ck_assert_uint_eq(vectors_hex(&fmt4, _i, "inputs", "block", block, sizeof block), 16);
    expect_pin(key.handle, TOK_PIN_4, pan, block, vectors_text(&fmt4, _i, "expected", "pin"));
    if (vectors_hex(&fmt4, _i, "inputs", "pin_field", pin_field, sizeof pin_field) == 0)
        return;
    CK_MECHANISM mechanism = {CKM_AES_ECB, NULL, 0};
    ck_assert_ok(tok_encrypt(pay_session, &mechanism, key.handle, pin_field, 16, pin_field, &pay_err),
                 pay_err);
    for (size_t i = 0; i < 16; i++)
        pin_field[i] ^= field[i];
    ck_assert_ok(tok_encrypt(pay_session, &mechanism, key.handle, pin_field, 16, pin_field, &pay_err),
                 pay_err);
    ck_assert_mem_eq(pin_field, block, 16);
}
END_TEST

START_TEST(pin_translation_is_as_published)
{
    static const char *const known[] = {"block", NULL};
    uint8_t block[16], right[16], got[16];
    vectors_expect_only(&translate, _i, known);
    AUTO(tok_object) source = {0};
    AUTO(tok_object) destination = {0};
    key_of(&translate, _i, "src_key", &source);
    key_of(&translate, _i, "dst_key", &destination);
    const long both = vectors_int(&translate, _i, "inputs", "format", 0);
    const enum tok_pin_format from = format_of(vectors_int(&translate, _i, "inputs", "src_format", both));
    const enum tok_pin_format to = format_of(vectors_int(&translate, _i, "inputs", "dst_format", both));
    ck_assert_uint_eq(vectors_hex(&translate, _i, "inputs", "block", block, sizeof block), 8);
    const size_t len = vectors_hex(&translate, _i, "expected", "block", right, sizeof right);
    const struct tok_pin_job job = {
        source.handle, destination.handle, from, to, vectors_text(&translate, _i, "inputs", "pan"), block};
    ck_assert_msg(from == to || to == TOK_PIN_0, "a block of another format has random fill");
    ck_assert_ok(tok_pin_block(pay_session, &job, got, &pay_err), pay_err);
    ck_assert_mem_eq(got, right, len);
    if (pay_kind != TOKEN_NSS || from != to)
        return;
    memset(got, 0, sizeof got);
    ck_assert_ok(tok_pin_object_tdes(pay_session, &job, got, &pay_err), pay_err);
    ck_assert_mem_eq(got, right, len);
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
    add_loop(tcase, &pboc, "pboc_mac", mac_pboc_is_as_published);
    add_loop(tcase, &messaging, "secure_messaging", secure_messaging_is_as_published);
    add_loop(tcase, &ecb, "tdes_ecb", data_tdes_ecb_is_as_published);
    add_loop(tcase, &session_key, "session_key", session_key_is_as_published);
    add_loop(tcase, &track2, "track2_enc", data_track2_slice_is_as_published);
    add_loop(tcase, &pin_enc, "pin_block_enc", pin_block_enc_is_as_published);
    add_loop(tcase, &fmt4, "pin_block_fmt4", pin_block_fmt4_is_as_published);
    add_loop(tcase, &translate, "pin_translate", pin_translation_is_as_published);
}

int main(void)
{
    return pay_main("p11 payment vectors", add_all);
}

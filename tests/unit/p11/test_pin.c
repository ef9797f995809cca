#include "p11/flow/blob.h"
#include "p11/flow/blob_form.h"
#include "p11/flow/pay.h"
#include "p11/flow/pin_block.h"
#include "p11/object/template.h"
#include "tests/unit/p11/pay_fixture.h"

/* PIN translation by zone keys and blobs: what comes out, at which grade, and what is refused. */

static const char pan[] = "432198765432109870";

static unsigned iso_of(enum tok_pin_format format)
{
    static const unsigned iso[] = {[TOK_PIN_0] = 0, [TOK_PIN_1] = 1, [TOK_PIN_3] = 3, [TOK_PIN_4] = 4};
    return iso[format];
}

static enum tok_suite suite_of(enum tok_pin_format format)
{
    return format == TOK_PIN_4 ? TOK_AES_128 : TOK_TDES;
}

/* The zone key itself as a session object, to make and read blocks with. */
static void zone_key(bool bank_a, enum tok_pin_format format, struct tok_object *out_key)
{
    if (format == TOK_PIN_4)
        pay_aes_key(bank_a ? pay_a_aes : pay_b_aes, 16, out_key);
    else
        pay_des_key(bank_a ? pay_a_tdes : pay_b_tdes, 16, out_key);
}

static void add_field(uint8_t block[16])
{
    uint8_t field[PIN_BLOCK_LARGEST];
    pin_pan_field(4, pan, field);
    for (size_t i = 0; i < 16; i++)
        block[i] ^= field[i];
}

static void crypt(CK_OBJECT_HANDLE key, enum tok_pin_format format, bool encrypt, uint8_t block[16])
{
    CK_MECHANISM ecb = {format == TOK_PIN_4 ? CKM_AES_ECB : CKM_DES3_ECB, NULL, 0};
    const size_t len = pin_block_bytes(iso_of(format));
    for (int round = 0; round < (format == TOK_PIN_4 ? 2 : 1); round++) {
        if (round == 1)
            add_field(block);
        ck_assert_ok(encrypt ? tok_encrypt(pay_session, &ecb, key, block, len, block, &pay_err)
                             : tok_decrypt(pay_session, &ecb, key, block, len, block, &pay_err),
                     pay_err);
    }
}

/* A PIN block under a key that enciphers. */
static void make_block_under(CK_OBJECT_HANDLE key, enum tok_pin_format format, const char *pin,
                             uint8_t out_block[16])
{
    uint8_t fill[PIN_FILL_BYTES];
    AUTO(secret) digits = {0};
    AUTO(secret) clear = {0};
    ck_assert_ok(secret_init(&digits, &pay_err), pay_err);
    digits.len = strlen(pin);
    for (size_t i = 0; i < digits.len; i++)
        digits.bytes[i] = (uint8_t)(pin[i] - '0');
    random_bytes(fill, sizeof fill);
    ck_assert_ok(pin_block_encode(iso_of(format), pan, &digits, fill, &clear, &pay_err), pay_err);
    memcpy(out_block, clear.bytes, clear.len);
    crypt(key, format, true, out_block);
}

/* The same under bank-a's. */
static void make_block(enum tok_pin_format format, const char *pin, uint8_t out_block[16])
{
    AUTO(tok_object) key = {0};
    zone_key(true, format, &key);
    make_block_under(key.handle, format, pin, out_block);
}

/* What bank-b finds in a block. */
static void expect_pin(enum tok_pin_format format, const uint8_t *block, const char *pin)
{
    uint8_t clear[16];
    AUTO(secret) field = {0};
    AUTO(secret) digits = {0};
    AUTO(tok_object) key = {0};
    const size_t len = pin_block_bytes(iso_of(format));
    memcpy(clear, block, len);
    zone_key(false, format, &key);
    crypt(key.handle, format, false, clear);
    ck_assert_ok(secret_init_copy(&field, clear, len, &pay_err), pay_err);
    ck_assert_ok(pin_block_decode(iso_of(format), pan, &field, &digits, &pay_err), pay_err);
    ck_assert_uint_eq(digits.len, strlen(pin));
    for (size_t i = 0; i < digits.len; i++)
        ck_assert_int_eq(digits.bytes[i] + '0', pin[i]);
}

static struct tok_pin_request request_of(enum tok_pin_format from, enum tok_pin_format to,
                                         const uint8_t *block)
{
    return (struct tok_pin_request){.source = pay_zone("bank-a", suite_of(from)),
                                    .destination = pay_zone("bank-b", suite_of(to)),
                                    .source_format = from,
                                    .destination_format = to,
                                    .pan = pan,
                                    .block = block,
                                    .block_len = pin_block_bytes(iso_of(from))};
}

static enum tok_grade expected_grade(enum tok_pin_format from, enum tok_pin_format to)
{
    return pay_kind == TOKEN_NSS && from == to ? TOK_IN_TOKEN : TOK_PROCESS_MEMORY;
}

#define FORMATS 4
static const enum tok_pin_format formats[FORMATS] = {TOK_PIN_0, TOK_PIN_1, TOK_PIN_3, TOK_PIN_4};

static bool permitted(enum tok_pin_format from, enum tok_pin_format to)
{
    return to != TOK_PIN_1 || from == TOK_PIN_1;
}

START_TEST(pin_goes_from_every_format_to_every_permitted_one)
{
    const enum tok_pin_format from = formats[_i / FORMATS], to = formats[_i % FORMATS];
    static const char *const pins[] = {"1234", "908172", "123456789012"};
    const size_t before = pay_object_count();
    for (size_t p = 0; p < 3; p++) {
        uint8_t block[16], moved[16];
        size_t len = 0;
        enum tok_grade grade = 0;
        make_block(from, pins[p], block);
        const struct tok_pin_request request = request_of(from, to, block);
        const enum err_code code = tok_pin_translate(pay_session, &request, moved, &len, &grade, &pay_err);
        if (!permitted(from, to)) {
            ck_assert_int_eq(code, ERR_DENIED);
            continue;
        }
        ck_assert_msg(code == ERR_OK, "%u to %u: %s", from, to, pay_err.note);
        ck_assert_uint_eq(len, pin_block_bytes(iso_of(to)));
        ck_assert_int_eq(grade, expected_grade(from, to));
        expect_pin(to, moved, pins[p]);
    }
    ck_assert_uint_eq(pay_object_count(), before);
}
END_TEST

/* Where clear PINs have to stay in the token, NSS moves same formats and nothing else; SoftHSM moves nothing.
 */
START_TEST(pin_policy_in_token_leaves_the_object_way)
{
    const enum tok_pin_format from = formats[_i / FORMATS], to = formats[_i % FORMATS];
    uint8_t block[16], moved[16];
    size_t len;
    enum tok_grade grade = 0;
    pay_policy(TOK_EXPOSURE_IN_TOKEN);
    make_block(from, "1234", block);
    const struct tok_pin_request request = request_of(from, to, block);
    const enum err_code code = tok_pin_translate(pay_session, &request, moved, &len, &grade, &pay_err);
    if (pay_kind == TOKEN_NSS && from == to) {
        ck_assert_msg(code == ERR_OK, "%s", pay_err.note);
        ck_assert_int_eq(grade, TOK_IN_TOKEN);
        expect_pin(to, moved, "1234");
    } else {
        ck_assert_int_eq(code, ERR_DENIED);
    }
}
END_TEST

static enum err_code translate(const struct tok_pin_request *request)
{
    uint8_t moved[16];
    size_t len;
    enum tok_grade grade;
    return tok_pin_translate(pay_session, request, moved, &len, &grade, &pay_err);
}

START_TEST(pin_may_not_change_its_pan)
{
    uint8_t block[16];
    make_block(TOK_PIN_0, "1234", block);
    struct tok_pin_request request = request_of(TOK_PIN_0, TOK_PIN_0, block);
    request.new_pan = "432198765432109870";
    ck_assert_ok(translate(&request), pay_err);
    request.new_pan = "432198765432109871";
    ck_assert_int_eq(translate(&request), ERR_DENIED);
    ck_assert_ptr_null(strstr(pay_err.note, "4321"));
    request.new_pan = "43219876543";
    ck_assert_int_eq(translate(&request), ERR_INPUT);
}
END_TEST

START_TEST(pin_refuses_wrong_requests)
{
    uint8_t block[17];
    make_block(TOK_PIN_0, "1234", block);
    const struct tok_pin_request right = request_of(TOK_PIN_0, TOK_PIN_0, block);
    struct tok_pin_request request = right;
    for (size_t len = 0; len <= 17; len++) {
        request.block_len = len;
        ck_assert_int_eq(translate(&request), len == 8 ? ERR_OK : ERR_INPUT);
    }
    request = right;
    request.block = NULL;
    ck_assert_int_eq(translate(&request), ERR_INPUT);
    request = right;
    request.pan = NULL;
    ck_assert_int_eq(translate(&request), ERR_INPUT);
    request.pan = "12345678901";
    ck_assert_int_eq(translate(&request), ERR_INPUT);
    request = right;
    request.source_format = (enum tok_pin_format)0;
    ck_assert_int_eq(translate(&request), ERR_INPUT);
    request = right;
    request.destination_format = (enum tok_pin_format)(TOK_PIN_4 + 1);
    ck_assert_int_eq(translate(&request), ERR_INPUT);
    request = right;
    request.source = pay_zone("bank-a", TOK_AES_128);
    ck_assert_int_eq(translate(&request), ERR_INPUT);
    request = right;
    request.destination = pay_zone("bank-b", TOK_AES_128);
    ck_assert_int_eq(translate(&request), ERR_INPUT);
    request = right;
    request.destination = pay_zone("bank-x", TOK_TDES);
    ck_assert_int_eq(translate(&request), ERR_NOT_FOUND);
}
END_TEST

/* What bank-a's key makes of a block, and bank-b's: the PIN field. */
static void clear_of(bool bank_a, enum tok_pin_format format, const uint8_t *block, uint8_t out_clear[16])
{
    AUTO(tok_object) key = {0};
    memset(out_clear, 0, 16);
    memcpy(out_clear, block, pin_block_bytes(iso_of(format)));
    zone_key(bank_a, format, &key);
    crypt(key.handle, format, false, out_clear);
}

/* In and out of one format nothing is looked at, on any token: noise arrives as the same noise, with a PAN
 * that has nothing to do with it too. */
START_TEST(pin_block_of_the_same_format_passes_unread)
{
    static const char other_pan[] = "5555555551234567";
    const enum tok_pin_format format = formats[_i];
    const size_t before = pay_object_count();
    for (unsigned round = 0; round < 64; round++) {
        uint8_t block[16], moved[16], sent[16], came[16];
        size_t len = 0;
        enum tok_grade grade = 0;
        random_bytes(block, sizeof block);
        struct tok_pin_request request = request_of(format, format, block);
        if (format != TOK_PIN_4 && round % 2 == 1)
            request.pan = other_pan;
        ck_assert_ok(tok_pin_translate(pay_session, &request, moved, &len, &grade, &pay_err), pay_err);
        ck_assert_uint_eq(len, request.block_len);
        clear_of(true, format, block, sent);
        clear_of(false, format, moved, came);
        ck_assert(secret_equal(sent, came, sizeof sent));
    }
    ck_assert_uint_eq(pay_object_count(), before);
}
END_TEST

/* The block way by itself, on both tokens: a token with an object way never takes it for these. */
START_TEST(block_way_passes_the_same_format_unread)
{
    const enum tok_pin_format format = formats[_i];
    AUTO(tok_object) source = {0};
    AUTO(tok_object) destination = {0};
    zone_key(true, format, &source);
    zone_key(false, format, &destination);
    for (unsigned round = 0; round < 64; round++) {
        uint8_t block[16], moved[16], sent[16], came[16];
        random_bytes(block, sizeof block);
        const struct tok_pin_job job = {source.handle, destination.handle, format, format, pan, block};
        ck_assert_ok(tok_pin_block(pay_session, &job, moved, &pay_err), pay_err);
        clear_of(true, format, block, sent);
        clear_of(false, format, moved, came);
        ck_assert(secret_equal(sent, came, sizeof sent));
    }
}
END_TEST

/* A block under another key is noise. Where the format changes it has to be decoded, and the answer is one
 * sentence. */
START_TEST(pin_block_of_another_key_does_not_decode)
{
    uint8_t block[16];
    unsigned refused = 0;
    const enum tok_pin_format to[] = {TOK_PIN_3, TOK_PIN_4};
    for (size_t t = 0; t < 2; t++) {
        for (unsigned round = 0; round < 32; round++) {
            random_bytes(block, sizeof block);
            const struct tok_pin_request request = request_of(TOK_PIN_0, to[t], block);
            const enum err_code code = translate(&request);
            ck_assert(code == ERR_OK || code == ERR_CHECK);
            if (code == ERR_CHECK) {
                ck_assert_str_eq(pay_err.note, "the PIN block does not decode: another key, PAN or format");
                refused++;
            }
        }
    }
    /* noise decodes once in some 10,000 times */
    ck_assert_uint_ge(refused, 62);
}
END_TEST

static const struct {
    enum tok_suite suite;
    unsigned key_bytes;
    enum tok_pin_format format;
} terminal_keys[] = {{TOK_TDES, 8, TOK_PIN_0},
                     {TOK_TDES, 16, TOK_PIN_0},
                     {TOK_AES_128, 16, TOK_PIN_4},
                     {TOK_AES_256, 16, TOK_PIN_4}};
#define TERMINAL_KEYS ((int)(sizeof terminal_keys / sizeof terminal_keys[0]))

/* From a terminal's key to the zone's, by blobs of each suite and length. The card's side is the key of the
 * blob, opened to encipher: the product opens it to decipher and unwrap only. */
START_TEST(pin_moves_from_a_working_key)
{
    const enum tok_pin_format format = terminal_keys[_i].format;
    uint8_t block[16], moved[16];
    size_t len;
    enum tok_grade grade = 0;
    struct tok_working_key pik;
    pay_working(terminal_keys[_i].suite, TOK_PIK, terminal_keys[_i].key_bytes, &pik);
    const size_t before = pay_object_count();
    {
        struct tok_blob_view view;
        AUTO(tok_object) card = {0};
        ck_assert_ok(tok_blob_check(pay_session, pik.blob, pik.blob_len, &view, &pay_err), pay_err);
        ck_assert_ok(tok_blob_unwrap(pay_session, &view, 0, TOK_USES(CKA_ENCRYPT), &card, &pay_err), pay_err);
        make_block_under(card.handle, format, "1234", block);
    }
    struct tok_pin_request request = request_of(format, format, block);
    request.source = pay_blob(&pik);
    ck_assert_ok(tok_pin_translate(pay_session, &request, moved, &len, &grade, &pay_err), pay_err);
    ck_assert_int_eq(grade, expected_grade(format, format));
    expect_pin(format, moved, "1234");
    /* the opened blob may stay in the cache, and nothing else */
    ck_assert_uint_le(pay_object_count(), before + 1);
}
END_TEST

/* Whoever has a terminal's card reads what goes to its key: neither from a zone nor from a terminal, the own
 * one included, nor with a zone named beside it. */
START_TEST(pin_never_moves_to_a_working_key)
{
    const enum tok_pin_format format = terminal_keys[_i].format;
    uint8_t block[16], moved[16];
    size_t len;
    enum tok_grade grade = 0;
    struct tok_working_key pik;
    pay_working(terminal_keys[_i].suite, TOK_PIK, terminal_keys[_i].key_bytes, &pik);
    const size_t before = pay_object_count();
    make_block(format, "1234", block);
    for (int from = 0; from < 3; from++) {
        struct tok_pin_request request = request_of(format, format, block);
        const char *const zone = request.destination.zone;
        if (from == 1)
            request.source = pay_blob(&pik);
        request.destination = pay_blob(&pik);
        if (from == 2)
            request.destination.zone = zone;
        ck_assert_int_eq(tok_pin_translate(pay_session, &request, moved, &len, &grade, &pay_err), ERR_DENIED);
        ck_assert_ptr_nonnull(strstr(pay_err.note, "zone's key only"));
    }
    ck_assert_uint_eq(pay_object_count(), before);
}
END_TEST

static void add_all(TCase *tcase)
{
    tcase_add_loop_test(tcase, pin_goes_from_every_format_to_every_permitted_one, 0, FORMATS * FORMATS);
    tcase_add_loop_test(tcase, pin_policy_in_token_leaves_the_object_way, 0, FORMATS * FORMATS);
    tcase_add_test(tcase, pin_may_not_change_its_pan);
    tcase_add_test(tcase, pin_refuses_wrong_requests);
    tcase_add_test(tcase, pin_block_of_another_key_does_not_decode);
    tcase_add_loop_test(tcase, pin_block_of_the_same_format_passes_unread, 0, FORMATS);
    tcase_add_loop_test(tcase, block_way_passes_the_same_format_unread, 0, FORMATS);
    tcase_add_loop_test(tcase, pin_moves_from_a_working_key, 0, TERMINAL_KEYS);
    tcase_add_loop_test(tcase, pin_never_moves_to_a_working_key, 0, TERMINAL_KEYS);
}

int main(void)
{
    return pay_main("p11 pin", add_all);
}

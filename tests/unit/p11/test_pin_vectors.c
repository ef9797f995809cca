#include "p11/flow/pay.h"
#include "p11/flow/pin_block.h"
#include "tests/support/vectors.h"
#include "tests/unit/p11/pay_fixture.h"

/* Published enciphered PIN blocks and translations through the code of the flow, on both tokens. */

static struct vectors pin_enc, fmt4, translate;

#define ANY_PAN "000000000000000" /* for formats without one */

/* 0 for format 2, which no translation takes. */
static enum tok_pin_format format_of(long iso)
{
    static const enum tok_pin_format formats[] = {TOK_PIN_0, TOK_PIN_1, 0, TOK_PIN_3, TOK_PIN_4};
    ck_assert_msg(iso >= 0 && iso <= 4, "PIN format %ld", iso);
    return formats[iso];
}

static const char *pan_of(const struct vectors *v, int index, long iso)
{
    const char *pan = vectors_text(v, index, "inputs", "pan");
    return pan == NULL && (iso == 1 || iso == 2) ? ANY_PAN : pan;
}

/* A key that format `iso` goes under. */
static void pin_key(const struct vectors *v, int index, const char *name, long iso,
                    struct tok_object *out_key)
{
    uint8_t value[32];
    const size_t len = vectors_hex(v, index, "inputs", name, value, sizeof value);
    if (iso == 4)
        pay_aes_key(value, len, out_key);
    else
        pay_des_key(value, len, out_key);
}

static void decode(unsigned iso, const char *pan, const uint8_t *clear_block, char out_pin[PIN_LONGEST + 1])
{
    AUTO(secret) clear = {0};
    AUTO(secret) digits = {0};
    ck_assert_ok(secret_init_copy(&clear, clear_block, pin_block_bytes(iso), &pay_err), pay_err);
    ck_assert_ok(pin_block_decode(iso, pan, &clear, &digits, &pay_err), pay_err);
    memset(out_pin, 0, PIN_LONGEST + 1);
    for (size_t i = 0; i < digits.len; i++)
        out_pin[i] = (char)(digits.bytes[i] + '0');
}

/* What PIN a block under `key` holds: translated to format 0 under a test key, deciphered and decoded. Format
 * 2 may not be translated: deciphered as it is. */
static void pin_of(CK_OBJECT_HANDLE key, long iso, const char *pan, const uint8_t *block,
                   char out_pin[PIN_LONGEST + 1])
{
    static const uint8_t test_key[16] = "a test key here";
    uint8_t moved[16];
    CK_MECHANISM mechanism = {CKM_DES3_ECB, NULL, 0};
    ck_assert_msg(pan != NULL, "no PAN");
    if (iso == 2) {
        ck_assert_ok(tok_decrypt(pay_session, &mechanism, key, block, 8, moved, &pay_err), pay_err);
        decode(2, pan, moved, out_pin);
        return;
    }
    AUTO(tok_object) destination = {0};
    pay_des_key(test_key, 16, &destination);
    const struct tok_pin_job job = {key, destination.handle, format_of(iso), TOK_PIN_0, pan, block};
    ck_assert_ok(tok_pin_block(pay_session, &job, moved, &pay_err), pay_err);
    ck_assert_ok(tok_decrypt(pay_session, &mechanism, destination.handle, moved, 8, moved, &pay_err),
                 pay_err);
    decode(0, pan, moved, out_pin);
}

START_TEST(pin_block_enc_is_as_published)
{
    static const char *const known[] = {"control", "pin", NULL};
    uint8_t block[16];
    char pin[PIN_LONGEST + 1];
    vectors_expect_only(&pin_enc, _i, known);
    AUTO(tok_object) key = {0};
    const long iso = vectors_int(&pin_enc, _i, "inputs", "format", -1);
    format_of(iso);
    pin_key(&pin_enc, _i, "pik", iso, &key);
    ck_assert_uint_eq(vectors_hex(&pin_enc, _i, "inputs", "block", block, sizeof block),
                      pin_block_bytes((unsigned)iso));
    pin_of(key.handle, iso, pan_of(&pin_enc, _i, iso), block, pin);
    vectors_expect_text(&pin_enc, _i, "pin", pin);
    /* a block of another control nibble does not decode */
    ck_assert_int_eq(vectors_int(&pin_enc, _i, "expected", "control", iso), iso);
}
END_TEST

/* The block from the clear PIN field, as published: E(K, E(K, PIN field) xor PAN field). */
static void check_pin_field(int index, CK_OBJECT_HANDLE key, const uint8_t pan_field[16],
                            const uint8_t block[16], const char *section)
{
    uint8_t field[16];
    if (vectors_hex(&fmt4, index, section, "pin_field", field, sizeof field) == 0)
        return;
    CK_MECHANISM mechanism = {CKM_AES_ECB, NULL, 0};
    ck_assert_ok(tok_encrypt(pay_session, &mechanism, key, field, 16, field, &pay_err), pay_err);
    for (size_t i = 0; i < 16; i++)
        field[i] ^= pan_field[i];
    ck_assert_ok(tok_encrypt(pay_session, &mechanism, key, field, 16, field, &pay_err), pay_err);
    ck_assert_mem_eq(field, block, 16);
}

START_TEST(pin_block_fmt4_is_as_published)
{
    static const char *const known[] = {"control", "pin", "pin_field", "pan_field", NULL};
    uint8_t block[16], field[PIN_BLOCK_LARGEST], given[16];
    char pin[PIN_LONGEST + 1];
    vectors_expect_only(&fmt4, _i, known);
    const char *pan = vectors_text(&fmt4, _i, "inputs", "pan");
    ck_assert(pan != NULL);
    pin_pan_field(4, pan, field);
    vectors_expect_hex(&fmt4, _i, "pan_field", field, 16);
    if (vectors_hex(&fmt4, _i, "inputs", "pan_field", given, sizeof given) > 0)
        ck_assert_mem_eq(given, field, 16);
    if (vectors_text(&fmt4, _i, "inputs", "key") == NULL) {
        ck_assert(!vectors_expects(&fmt4, _i, "pin") && !vectors_expects(&fmt4, _i, "pin_field"));
        return;
    }
    AUTO(tok_object) key = {0};
    pin_key(&fmt4, _i, "key", 4, &key);
    ck_assert_uint_eq(vectors_hex(&fmt4, _i, "inputs", "block", block, sizeof block), 16);
    pin_of(key.handle, 4, pan, block, pin);
    vectors_expect_text(&fmt4, _i, "pin", pin);
    ck_assert_int_eq(vectors_int(&fmt4, _i, "expected", "control", 4), 4);
    check_pin_field(_i, key.handle, field, block, "inputs");
    check_pin_field(_i, key.handle, field, block, "expected");
}
END_TEST

/* The object way of the product, where the token has it. */
static void check_object_way(const struct tok_pin_job *job, size_t len, const uint8_t *same)
{
    uint8_t got[16] = {0};
    if (pay_kind != TOKEN_NSS || job->source_format != job->destination_format)
        return;
    if (job->source_format == TOK_PIN_4)
        ck_assert_ok(tok_pin_object_aes(pay_session, job, got, &pay_err), pay_err);
    else
        ck_assert_ok(tok_pin_object_tdes(pay_session, job, got, &pay_err), pay_err);
    ck_assert_mem_eq(got, same, len);
}

/* Formats with fill of their own choice need not come out the same: the PIN in them does. */
START_TEST(pin_translation_is_as_published)
{
    static const char *const known[] = {"block", NULL};
    uint8_t block[16], right[16], got[16];
    char right_pin[PIN_LONGEST + 1], got_pin[PIN_LONGEST + 1];
    vectors_expect_only(&translate, _i, known);
    AUTO(tok_object) source = {0};
    AUTO(tok_object) destination = {0};
    const long both = vectors_int(&translate, _i, "inputs", "format", 0);
    const long from = vectors_int(&translate, _i, "inputs", "src_format", both);
    const long to = vectors_int(&translate, _i, "inputs", "dst_format", both);
    struct tok_pin_job job = {.source_format = format_of(from),
                              .destination_format = format_of(to),
                              .pan = pan_of(&translate, _i, from),
                              .block = block};
    ck_assert_ok(pin_rule_check((unsigned)from, (unsigned)to, &pay_err), pay_err);
    pin_key(&translate, _i, "src_key", from, &source);
    pin_key(&translate, _i, "dst_key", to, &destination);
    job.source = source.handle;
    job.destination = destination.handle;
    ck_assert_uint_eq(vectors_hex(&translate, _i, "inputs", "block", block, sizeof block),
                      pin_block_bytes((unsigned)from));
    const size_t len = vectors_hex(&translate, _i, "expected", "block", right, sizeof right);
    ck_assert_uint_eq(len, pin_block_bytes((unsigned)to));
    ck_assert_ok(tok_pin_block(pay_session, &job, got, &pay_err), pay_err);
    check_object_way(&job, len, got);
    if (to == 0)
        vectors_expect_hex(&translate, _i, "block", got, len);
    pin_of(destination.handle, to, job.pan, right, right_pin);
    pin_of(destination.handle, to, job.pan, got, got_pin);
    ck_assert_str_eq(got_pin, right_pin);
}
END_TEST

static void add_loop(TCase *tcase, struct vectors *v, const char *kind, const TTest *test)
{
    if (v->root != NULL || vectors_open(v, kind))
        tcase_add_loop_test(tcase, test, 0, (int)v->count);
}

static void add_all(TCase *tcase)
{
    add_loop(tcase, &pin_enc, "pin_block_enc", pin_block_enc_is_as_published);
    add_loop(tcase, &fmt4, "pin_block_fmt4", pin_block_fmt4_is_as_published);
    add_loop(tcase, &translate, "pin_translate", pin_translation_is_as_published);
}

int main(void)
{
    return vectors_exit(pay_main("p11 PIN vectors", add_all));
}

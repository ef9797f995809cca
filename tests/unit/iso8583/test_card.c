/* The card in a request: each contradiction has its note; a clear and an enciphered track give the same
 * card. */
#include "iso8583/card.h"

#include "base/hex.h"
#include "p11/flow/pin_block.h"
#include "tests/support/suite.h"

#include <string.h>

#define PAN   "6225758326736419"
#define TRACK PAN "D30121010000012345671"

static const uint8_t block[16] = {1, 2, 3};

struct row {
    const char *what;
    bool aes;
    const char *f2, *f14, *f35, *f53;
    size_t f52, f57;  /* bytes; 0 absent */
    const char *note; /* part of the refusal; NULL: accepted */
};

static const struct row rows[] = {
    {"number only", false, PAN, "3012", NULL, NULL, 0, 0, NULL},
    {"track only", false, NULL, NULL, TRACK, NULL, 0, 0, NULL},
    {"enciphered track", false, NULL, NULL, TRACK, "2610000000000000", 8, 0, NULL},
    {"PIN, clear track", false, PAN, NULL, TRACK, "2600000000000000", 8, 0, NULL},
    {"single DES", false, PAN, NULL, NULL, "2000000000000000", 8, 0, NULL},
    {"AES", true, NULL, NULL, TRACK, "2410000000000000", 0, 16, NULL},
    {"empty track", false, NULL, NULL, "", NULL, 0, 0, "0 digits"},
    {"no card", false, NULL, NULL, NULL, NULL, 0, 0, "no card"},
    {"short number", false, "62257583267", NULL, NULL, NULL, 0, 0, "12 to 19"},
    {"PIN without 53", false, PAN, NULL, NULL, NULL, 8, 0, "disagree"},
    {"53 without PIN", false, PAN, NULL, NULL, "2600000000000000", 0, 0, "disagree"},
    {"unbound PIN", false, PAN, NULL, NULL, "1600000000000000", 8, 0, "bound"},
    {"SM4", false, PAN, NULL, NULL, "2300000000000000", 8, 0, "cipher"},
    {"AES cipher, TDES terminal", false, PAN, NULL, NULL, "2400000000000000", 8, 0, "cipher"},
    {"TDES cipher, AES terminal", true, PAN, NULL, NULL, "2600000000000000", 0, 16, "cipher"},
    {"F57 on TDES", false, PAN, NULL, NULL, "2600000000000000", 8, 16, "no meaning"},
    {"F52 on AES", true, PAN, NULL, NULL, "2400000000000000", 8, 16, "no meaning"},
    {"F57 of 8 bytes", true, PAN, NULL, NULL, "2400000000000000", 0, 8, "8 bytes"},
    {"53 of no track", false, PAN, NULL, NULL, "0610000000000000", 0, 0, "field 35 is missing"},
    {"track too short for TDES", false, PAN, NULL, "622575832673D30", "0610000000000000", 0, 0, "short"},
    {"track too short for AES", true, PAN, NULL, "6225758326736419D30121010000", "0410000000000000", 0, 0,
     "short"},
};

static struct err e;

static const struct iso_suite *suite_of(bool aes)
{
    return aes ? &iso_suite_aes : &iso_suite_tdes;
}

static void fill(struct iso_message *m, const struct row *r)
{
    iso_message_init(m, &iso_unionpay);
    ck_assert_ok(iso_set_mti(m, "0200", &e), e);
    const struct {
        unsigned field;
        const char *text;
    } texts[] = {{2, r->f2}, {14, r->f14}, {35, r->f35}, {53, r->f53}};
    for (size_t i = 0; i < 4; i++)
        if (texts[i].text != NULL)
            ck_assert_ok(iso_set_text(m, texts[i].field, texts[i].text, &e), e);
    if (r->f52 > 0)
        ck_assert_ok(iso_set_bytes(m, 52, block, r->f52, &e), e);
    if (r->f57 > 0)
        ck_assert_ok(iso_set_bytes(m, 57, block, r->f57, &e), e);
}

START_TEST(read_accepts_or_names_the_fault)
{
    const struct row *r = &rows[_i];
    struct iso_message m;
    struct iso_card card = {.pan = "untouched"};
    fill(&m, r);
    const enum err_code code = iso_card_read(&m, suite_of(r->aes), &card, &e);
    if (r->note == NULL) {
        ck_assert_msg(code == ERR_OK, "%s: %s", r->what, e.note);
        ck_assert_uint_eq(card.pin_len, r->aes ? r->f57 : r->f52);
    } else {
        ck_assert_msg(code == ERR_INPUT, "%s", r->what);
        ck_assert_msg(strstr(e.note, r->note) != NULL, "%s: %s", r->what, e.note);
        ck_assert_str_eq(card.pan, "untouched");
    }
    iso_card_drop(&card);
    iso_message_drop(&m);
}
END_TEST

static void complete(struct iso_card *card, const struct iso_suite *rules, const char *f2, const char *f14,
                     const char *f53)
{
    const struct row r = {.f2 = f2, .f14 = f14, .f35 = TRACK, .f53 = f53};
    struct iso_message m;
    fill(&m, &r);
    ck_assert_ok(iso_card_read(&m, rules, card, &e), e);
    iso_message_drop(&m);
}

START_TEST(response_holds_no_card)
{
    static const char *const refused[] = {"0210", "0230", "0810"};
    struct iso_message m;
    struct iso_card card = {.pan = "untouched"};
    fill(&m, &rows[0]);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        ck_assert_ok(iso_set_mti(&m, refused[i], &e), e);
        ck_assert_int_eq(iso_card_read(&m, &iso_suite_tdes, &card, &e), ERR_INPUT);
        ck_assert_ptr_nonnull(strstr(e.note, refused[i]));
    }
    ck_assert_ok(iso_set_mti(&m, "0220", &e), e);
    ck_assert_ok(iso_card_read(&m, &iso_suite_tdes, &card, &e), e);
}
END_TEST

START_TEST(number_behind_the_cipher_is_known_only_afterwards)
{
    struct iso_card card;
    complete(&card, &iso_suite_aes, NULL, NULL, "0410000000000000"); /* 32 digits from the fifth on */
    ck_assert_str_eq(card.pan, "");
    ck_assert_uint_eq(card.cipher_len, 16);
    uint8_t clear[16];
    memcpy(clear, card.cipher, sizeof clear); /* as if deciphered */
    ck_assert_ok(iso_card_complete(&card, &iso_suite_aes, clear, sizeof clear, &e), e);
    ck_assert_str_eq(card.pan, PAN);
    ck_assert_str_eq(card.expiry, "3012");
    ck_assert_str_eq(card.track, TRACK);
    complete(&card, &iso_suite_tdes, NULL, NULL, "0610000000000000"); /* 16 digits: the number stays clear */
    ck_assert_str_eq(card.pan, PAN);
}
END_TEST

START_TEST(track_must_agree_with_fields_2_and_14)
{
    struct iso_card card;
    complete(&card, &iso_suite_tdes, "6225758326736427", NULL, NULL);
    ck_assert_int_eq(iso_card_complete(&card, &iso_suite_tdes, NULL, 0, &e), ERR_INPUT);
    complete(&card, &iso_suite_tdes, PAN, "3011", NULL);
    ck_assert_int_eq(iso_card_complete(&card, &iso_suite_tdes, NULL, 0, &e), ERR_INPUT);
    complete(&card, &iso_suite_tdes, PAN, "3012", NULL);
    ck_assert_ok(iso_card_complete(&card, &iso_suite_tdes, NULL, 0, &e), e);
}
END_TEST

START_TEST(garbage_out_of_the_cipher_is_no_track)
{
    struct iso_card card;
    const uint8_t garbage[16] = {0xAA, 0xBB};
    complete(&card, &iso_suite_aes, NULL, NULL, "0410000000000000");
    ck_assert_int_eq(iso_card_complete(&card, &iso_suite_aes, garbage, sizeof garbage, &e), ERR_INPUT);
    complete(&card, &iso_suite_aes, NULL, NULL, "0410000000000000");
    ck_assert_int_ne(iso_card_complete(&card, &iso_suite_aes, garbage, 3, &e), ERR_OK);
}
END_TEST

static const struct {
    const char *pan, *account;
} accounts[] = {
    {"123456789012", "012345678901"}, /* 11 digits left of the check digit */
    {"1234567890123", "123456789012"},       {"6225758326736419", "575832673641"},
    {"6225758326736411", "575832673641"}, /* the check digit says nothing */
    {"1234567890123456789", "789012345678"},
};

START_TEST(account_is_the_12_digits_left_of_the_check_digit)
{
    char account[ISO_ACCOUNT_DIGITS + 1];
    iso_card_account(accounts[_i].pan, account);
    ck_assert_str_eq(account, accounts[_i].account);
}
END_TEST

/* Who counts by account must count what the token binds a PIN to. */
START_TEST(account_is_what_format_0_binds_a_pin_to)
{
    char account[ISO_ACCOUNT_DIGITS + 1], bound[2 * 8 + 1];
    uint8_t field[PIN_BLOCK_LARGEST];
    iso_card_account(accounts[_i].pan, account);
    pin_pan_field(0, accounts[_i].pan, field);
    hex_encode(field, 8, bound);
    ck_assert_str_eq(bound + 4, account);
}
END_TEST

START_TEST(dropped_card_holds_nothing)
{
    static const struct iso_card nothing;
    struct iso_card card;
    complete(&card, &iso_suite_aes, PAN, "3012", "0410000000000000");
    iso_card_drop(&card);
    ck_assert_mem_eq(&card, &nothing, sizeof card);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("iso8583 card");
    TCase *tc = tcase_create("card");
    tcase_add_loop_test(tc, read_accepts_or_names_the_fault, 0, (int)(sizeof rows / sizeof rows[0]));
    tcase_add_test(tc, response_holds_no_card);
    tcase_add_test(tc, number_behind_the_cipher_is_known_only_afterwards);
    tcase_add_test(tc, track_must_agree_with_fields_2_and_14);
    tcase_add_test(tc, garbage_out_of_the_cipher_is_no_track);
    tcase_add_loop_test(tc, account_is_the_12_digits_left_of_the_check_digit, 0,
                        (int)(sizeof accounts / sizeof accounts[0]));
    tcase_add_loop_test(tc, account_is_what_format_0_binds_a_pin_to, 0,
                        (int)(sizeof accounts / sizeof accounts[0]));
    tcase_add_test(tc, dropped_card_holds_nothing);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

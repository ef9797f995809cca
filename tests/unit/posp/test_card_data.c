/* Card data of a purchase: each contradiction has its note; a clear and an enciphered track give the same
 * card. */
#include "posp/card_data.h"

#include "tests/support/suite.h"

#include <string.h>

#define PAN   "6225758326736419"
#define TRACK PAN "D30121010000012345671"

static const uint8_t block[16] = {1, 2, 3};

struct row {
    const char *what;
    int suite;
    const char *f2, *f14, *f35, *f53;
    size_t f52, f57;  /* bytes; 0 absent */
    const char *note; /* part of the refusal; NULL: accepted */
};

static const struct row rows[] = {
    {"number only", 1, PAN, "3012", NULL, NULL, 0, 0, NULL},
    {"track only", 1, NULL, NULL, TRACK, NULL, 0, 0, NULL},
    {"enciphered track", 1, NULL, NULL, TRACK, "2610000000000000", 8, 0, NULL},
    {"PIN, clear track", 1, PAN, NULL, TRACK, "2600000000000000", 8, 0, NULL},
    {"single DES", 1, PAN, NULL, NULL, "2000000000000000", 8, 0, NULL},
    {"AES", 2, NULL, NULL, TRACK, "2410000000000000", 0, 16, NULL},
    {"empty track", 1, NULL, NULL, "", NULL, 0, 0, "0 digits"},
    {"no card", 1, NULL, NULL, NULL, NULL, 0, 0, "no card"},
    {"short number", 1, "62257583267", NULL, NULL, NULL, 0, 0, "12 to 19"},
    {"PIN without 53", 1, PAN, NULL, NULL, NULL, 8, 0, "disagree"},
    {"53 without PIN", 1, PAN, NULL, NULL, "2600000000000000", 0, 0, "disagree"},
    {"unbound PIN", 1, PAN, NULL, NULL, "1600000000000000", 8, 0, "bound"},
    {"SM4", 1, PAN, NULL, NULL, "2300000000000000", 8, 0, "cipher"},
    {"AES cipher, TDES terminal", 1, PAN, NULL, NULL, "2400000000000000", 8, 0, "cipher"},
    {"TDES cipher, AES terminal", 3, PAN, NULL, NULL, "2600000000000000", 0, 16, "cipher"},
    {"F57 on TDES", 1, PAN, NULL, NULL, "2600000000000000", 8, 16, "no meaning"},
    {"F52 on AES", 2, PAN, NULL, NULL, "2400000000000000", 8, 16, "no meaning"},
    {"F57 of 8 bytes", 2, PAN, NULL, NULL, "2400000000000000", 0, 8, "8 bytes"},
    {"53 of no track", 1, PAN, NULL, NULL, "0610000000000000", 0, 0, "field 35 is missing"},
    {"track too short for TDES", 1, PAN, NULL, "622575832673D30", "0610000000000000", 0, 0, "short"},
    {"track too short for AES", 2, PAN, NULL, "6225758326736419D30121010000", "0410000000000000", 0, 0,
     "short"},
};

static struct err e;

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
    struct card_data card = {.pan = "untouched"};
    fill(&m, r);
    const enum err_code code = card_data_read(&m, suite_rules(r->suite), &card, &e);
    if (r->note == NULL) {
        ck_assert_msg(code == ERR_OK, "%s: %s", r->what, e.note);
        ck_assert_uint_eq(card.pin_len, r->suite == 1 ? r->f52 : r->f57);
    } else {
        ck_assert_msg(code == ERR_INPUT, "%s", r->what);
        ck_assert_msg(strstr(e.note, r->note) != NULL, "%s: %s", r->what, e.note);
        ck_assert_str_eq(card.pan, "untouched");
    }
    card_data_drop(&card);
    iso_message_drop(&m);
}
END_TEST

static void complete(struct card_data *card, int suite, const char *f2, const char *f14, const char *f53)
{
    const struct row r = {.f2 = f2, .f14 = f14, .f35 = TRACK, .f53 = f53};
    struct iso_message m;
    fill(&m, &r);
    ck_assert_ok(card_data_read(&m, suite_rules(suite), card, &e), e);
    iso_message_drop(&m);
}

START_TEST(number_behind_the_cipher_is_known_only_afterwards)
{
    struct card_data card;
    complete(&card, 2, NULL, NULL, "0410000000000000"); /* 32 digits from the fifth on */
    ck_assert_str_eq(card.pan, "");
    ck_assert_uint_eq(card.cipher_len, 16);
    uint8_t clear[16];
    memcpy(clear, card.cipher, sizeof clear); /* as if deciphered */
    ck_assert_ok(card_data_complete(&card, suite_rules(2), clear, sizeof clear, &e), e);
    ck_assert_str_eq(card.pan, PAN);
    ck_assert_str_eq(card.expiry, "3012");
    ck_assert_str_eq(card.track, TRACK);
    complete(&card, 1, NULL, NULL, "0610000000000000"); /* 16 digits: the number stays clear */
    ck_assert_str_eq(card.pan, PAN);
}
END_TEST

START_TEST(track_must_agree_with_fields_2_and_14)
{
    struct card_data card;
    complete(&card, 1, "6225758326736427", NULL, NULL);
    ck_assert_int_eq(card_data_complete(&card, suite_rules(1), NULL, 0, &e), ERR_INPUT);
    complete(&card, 1, PAN, "3011", NULL);
    ck_assert_int_eq(card_data_complete(&card, suite_rules(1), NULL, 0, &e), ERR_INPUT);
    complete(&card, 1, PAN, "3012", NULL);
    ck_assert_ok(card_data_complete(&card, suite_rules(1), NULL, 0, &e), e);
}
END_TEST

START_TEST(garbage_out_of_the_cipher_is_no_track)
{
    struct card_data card;
    const uint8_t garbage[16] = {0xAA, 0xBB};
    complete(&card, 2, NULL, NULL, "0410000000000000");
    ck_assert_int_eq(card_data_complete(&card, suite_rules(2), garbage, sizeof garbage, &e), ERR_INPUT);
    complete(&card, 2, NULL, NULL, "0410000000000000");
    ck_assert_int_ne(card_data_complete(&card, suite_rules(2), garbage, 3, &e), ERR_OK);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("posp card_data");
    TCase *tc = tcase_create("card_data");
    tcase_add_loop_test(tc, read_accepts_or_names_the_fault, 0, (int)(sizeof rows / sizeof rows[0]));
    tcase_add_test(tc, number_behind_the_cipher_is_known_only_afterwards);
    tcase_add_test(tc, track_must_agree_with_fields_2_and_14);
    tcase_add_test(tc, garbage_out_of_the_cipher_is_no_track);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

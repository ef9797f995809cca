/* What POSP asks of the HSM service for a purchase, and what it makes of the answers. */
#include "tests/support/suite.h"
#include "tests/unit/posp/peers.h"

#include <grpc/status.h>
#include <stdio.h>
#include <string.h>

#define PAN   "6225758326736419"
#define OTHER "6225758326736427"
#define TRACK                                                                                                \
    PAN "D30121010000012345671" /* 37 digits: the AES rule enciphers from the fifth, TDES from the 21st */

#define HELD 1 /* labels of sets: the terminal has it; newer, but the answer was lost */
#define LOST 2

static struct peers *peers;
static struct err e;

static void setup(void)
{
    peers = peers_start();
    peers_put_keys(PEERS_TDES, HELD);
    peers_put_keys(PEERS_AES, HELD);
}

struct row {
    const char *what, *f2, *f35, *f53;
    size_t f52, f57;   /* bytes; 0 absent */
    const char *asked; /* parts of each call: M MAC, T track, P PIN */
    const char *code;
};

static const struct row rows[] = {
    {"number only", PAN, NULL, NULL, 0, 0, "M", "00"},
    {"number and PIN", PAN, NULL, "2600000000000000", 8, 0, "MP", "00"},
    {"clear track and PIN", NULL, TRACK, "2600000000000000", 8, 0, "MP", "00"},
    {"track", NULL, TRACK, "0610000000000000", 0, 0, "MT", "00"},
    {"track and PIN, clear separator", NULL, TRACK, "2610000000000000", 8, 0, "MTP", "00"},
    {"number, track and PIN", PAN, TRACK, "2410000000000000", 0, 16, "MTP", "00"},
    {"track with the number", NULL, TRACK, "0410000000000000", 0, 0, "MT", "00"},
    {"track with the number, and PIN", NULL, TRACK, "2410000000000000", 0, 16, "MT MTP", "00"},
    /* contradictions: nobody is asked where everything is clear */
    {"F2 and F35 of two cards", OTHER, TRACK, "2600000000000000", 8, 0, "", "30"},
    {"the same, deciphered", OTHER, TRACK, "0610000000000000", 0, 0, "MT", "30"},
    {"the same with a PIN", OTHER, TRACK, "2610000000000000", 8, 0, "MTP", "30"},
    {"F53 without F52", PAN, NULL, "2600000000000000", 0, 0, "", "30"},
    {"F52 without F53", PAN, NULL, NULL, 8, 0, "", "30"},
    {"PIN without card", NULL, NULL, "2600000000000000", 8, 0, "", "30"},
    {"no route", "4111111111111111", NULL, "2600000000000000", 8, 0, "", "92"},
};
#define HIDDEN 7 /* the row whose number only the track has */
#define SIMPLE 1

/* By its cipher. */
static bool is_aes(const struct row *r)
{
    return r->f53 != NULL && r->f53[1] == '4';
}

static void fill(struct iso_message *m, const struct row *r)
{
    static const uint8_t block[16] = {1, 2, 3};
    const struct {
        unsigned field;
        const char *text;
    } texts[] = {
        {2, r->f2},           {3, "000000"}, {4, "000000000100"}, {11, "000007"},
        {22, "021"},          {25, "00"},    {35, r->f35},        {41, is_aes(r) ? PEERS_AES : PEERS_TDES},
        {42, PEERS_MERCHANT}, {49, "156"},   {53, r->f53},        {60, "22000001000"},
        {64, "ABCDEF01"}};
    iso_message_init(m, &iso_unionpay);
    ck_assert_ok(iso_set_mti(m, "0200", &e), e);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i].text != NULL)
            ck_assert_ok(iso_set_text(m, texts[i].field, texts[i].text, &e), e);
    if (r->f52 > 0)
        ck_assert_ok(iso_set_bytes(m, 52, block, r->f52, &e), e);
    if (r->f57 > 0)
        ck_assert_ok(iso_set_bytes(m, 57, block, r->f57, &e), e);
}

/* "MT MTP" */
static void parts_asked(char out[64])
{
    out[0] = '\0';
    for (size_t i = 0; i < peers->asked_count; i++) {
        const struct peers_asked *a = &peers->asked[i];
        if (i > 0)
            strcat(out, " ");
        strcat(out, a->mak ? "M" : "");
        strcat(out, a->tdk ? "T" : "");
        strcat(out, a->pik ? "P" : "");
    }
}

static void check_asked(const struct row *r, const struct iso_message *m)
{
    uint8_t bytes[512];
    size_t len = 0;
    ck_assert_ok(iso_pack(m, bytes, sizeof bytes, &len, &e), e);
    for (size_t i = 0; i < peers->asked_count; i++) {
        const struct peers_asked *a = &peers->asked[i];
        ck_assert_uint_eq(a->len, len);
        ck_assert_mem_eq(a->message, bytes, len);
        ck_assert_str_eq(a->dialect, "unionpay");
        ck_assert_str_eq(a->psam_number, is_aes(r) ? "62010000001234567892" : "62010000001234567891");
        if (a->pik == 0)
            continue;
        ck_assert_str_eq(a->zone, "bank");
        ck_assert_int_eq(a->destination_format, is_aes(r) ? POSWARD__HSM__V1__PIN_FORMAT__PIN_FORMAT_ISO_4
                                                          : POSWARD__HSM__V1__PIN_FORMAT__PIN_FORMAT_ISO_0);
    }
}

START_TEST(service_gets_the_message_and_the_parts_it_has)
{
    const struct row *r = &rows[_i];
    struct iso_message m;
    char asked[64];
    fill(&m, r);
    const char *code = peers_exchange(&m);
    parts_asked(asked);
    ck_assert_msg(strcmp(code, r->code) == 0, "%s: %s", r->what, code);
    ck_assert_msg(strcmp(asked, r->asked) == 0, "%s: asked %s", r->what, asked);
    check_asked(r, &m);
    ck_assert_uint_eq(peers->authorized, strcmp(r->code, "00") == 0);
    if (peers->authorized == 0)
        return;
    ck_assert_str_eq(peers->bank_pan, PAN);
    ck_assert_uint_eq(peers->bank_pin_len, r->f52 + r->f57);
}
END_TEST

START_TEST(blobs_of_one_call_are_of_one_sign_in)
{
    struct iso_message m;
    fill(&m, &rows[HIDDEN]);
    ck_assert_str_eq(peers_exchange(&m), "00"); /* the set is used: it stays */
    peers_put_keys(PEERS_AES, LOST);
    peers->asked_count = 0;
    ck_assert_ok(iso_set_text(&m, 11, "000008", &e), e);
    ck_assert_str_eq(peers_exchange(&m), "00");
    ck_assert_uint_eq(peers->asked_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct peers_asked *a = &peers->asked[i];
        ck_assert_uint_eq(a->mak, i == 0 ? LOST : HELD);
        ck_assert_uint_eq(a->tdk, a->mak);
        ck_assert_uint_eq(a->pik, i == 2 ? HELD : 0);
    }
}
END_TEST

START_TEST(mac_of_no_set_is_a0)
{
    struct iso_message m;
    fill(&m, &rows[SIMPLE]);
    peers->good_mak = 9;
    ck_assert_str_eq(peers_exchange(&m), "A0");
    ck_assert_uint_eq(peers->authorized, 0);
}
END_TEST

static const struct {
    int status;
    int64_t retry_ms;
    const char *code;
} refusals[] = {
    {GRPC_STATUS_DATA_LOSS, 0, "99"},
    {GRPC_STATUS_INVALID_ARGUMENT, 0, "30"},
    {GRPC_STATUS_PERMISSION_DENIED, 0, "99"}, /* blobs of before: the terminal signs in again */
    {GRPC_STATUS_NOT_FOUND, 0, "A7"},
    {GRPC_STATUS_UNIMPLEMENTED, 0, "A7"},
    {GRPC_STATUS_RESOURCE_EXHAUSTED, 60000, "75"},
    {GRPC_STATUS_RESOURCE_EXHAUSTED, 0, "96"},
    {GRPC_STATUS_UNAVAILABLE, 0, "96"},
};

START_TEST(refusal_of_the_service_has_its_code)
{
    struct iso_message m;
    fill(&m, &rows[SIMPLE]);
    peers->status = refusals[_i].status;
    peers->retry_ms = refusals[_i].retry_ms;
    ck_assert_str_eq(peers_exchange(&m), refusals[_i].code);
    ck_assert_uint_eq(peers->authorized, 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("posp purchase");
    TCase *tc = tcase_create("purchase");
    tcase_add_checked_fixture(tc, setup, peers_stop);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, service_gets_the_message_and_the_parts_it_has, 0,
                        (int)(sizeof rows / sizeof rows[0]));
    tcase_add_test(tc, blobs_of_one_call_are_of_one_sign_in);
    tcase_add_test(tc, mac_of_no_set_is_a0);
    tcase_add_loop_test(tc, refusal_of_the_service_has_its_code, 0,
                        (int)(sizeof refusals / sizeof refusals[0]));
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

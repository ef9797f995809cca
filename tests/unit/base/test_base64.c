#include "base/base64.h"
#include "tests/support/suite.h"

#include <string.h>

/* RFC 4648 section 10, and the two last characters of each alphabet. */
static const struct {
    const char *bytes, *text;
} cases[] = {{"", ""},
             {"f", "Zg=="},
             {"fo", "Zm8="},
             {"foo", "Zm9v"},
             {"foob", "Zm9vYg=="},
             {"fooba", "Zm9vYmE="},
             {"foobar", "Zm9vYmFy"},
             {"\xfb\xef\xbe\xff\xff\xff", "++++////"}};

START_TEST(base64_round_trips)
{
    char text[32];
    uint8_t bytes[32];
    size_t len = 99;
    struct err e = {0};
    const size_t n = strlen(cases[_i].bytes);
    base64_encode((const uint8_t *)cases[_i].bytes, n, text);
    ck_assert_str_eq(text, cases[_i].text);
    ck_assert_uint_eq(strlen(text) + 1, BASE64_TEXT_BYTES(n));
    ck_assert_ok(base64_decode(text, strlen(text), bytes, &len, &e), e);
    ck_assert_uint_eq(len, n);
    ck_assert_int_eq(memcmp(bytes, cases[_i].bytes, n), 0);
}
END_TEST

START_TEST(base64_reads_url_alphabet_and_missing_padding)
{
    uint8_t bytes[32];
    size_t len = 0;
    struct err e = {0};
    ck_assert_ok(base64_decode("--__Zg", 6, bytes, &len, &e), e);
    ck_assert_uint_eq(len, 4);
    ck_assert_mem_eq(bytes, "\xfb\xef\xff\x66", 4);
}
END_TEST

static const char *const refused[] = {
    "A", "AAAAA", "Zg=", "Z===", "Zh==", "Zm9=", "Z g=", "Zg==Zg==", "=", "===="};

START_TEST(base64_refuses)
{
    uint8_t bytes[32];
    size_t len = 99;
    struct err e = {0};
    ck_assert_int_eq(base64_decode(refused[_i], strlen(refused[_i]), bytes, &len, &e), ERR_INPUT);
    ck_assert_uint_eq(len, 99);
}
END_TEST

START_TEST(base64_takes_or_refuses_a_cut_at_every_byte)
{
    static const char text[] = "Zm9vYmFyZm9vYg==";
    for (size_t cut = 0; cut < sizeof text; cut++) {
        uint8_t *const bytes = malloc(BASE64_BYTES(cut) + 1);
        size_t len = 0;
        struct err e = {0};
        if (base64_decode(text, cut, bytes, &len, &e) == ERR_OK) {
            ck_assert_uint_le(len, 10);
            ck_assert_int_eq(memcmp(bytes, "foobarfoob", len), 0);
        }
        free(bytes);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("base64");
    TCase *tc = tcase_create("base64");
    tcase_add_loop_test(tc, base64_round_trips, 0, (int)(sizeof cases / sizeof cases[0]));
    tcase_add_test(tc, base64_reads_url_alphabet_and_missing_padding);
    tcase_add_loop_test(tc, base64_refuses, 0, (int)(sizeof refused / sizeof refused[0]));
    tcase_add_test(tc, base64_takes_or_refuses_a_cut_at_every_byte);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

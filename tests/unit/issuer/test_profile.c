#include "issuer/profile.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>

static const char good[] = "name: test\nwrite_key: aes\nchallenge_bytes: 8\nsuites: [tdes, aes-256]\n"
                           "verify:\n  command: 80CA0005\n  answer_bytes: 6\n  version_at: 1\n  kcv_at: 3\n"
                           "  kcv_bytes: 3\n";

START_TEST(shipped_profiles_load)
{
    struct card_profile p;
    struct err e = {0};
    ck_assert_ok(card_profile_load(NULL, "aes", &p, &e), e);
    ck_assert_uint_eq(p.challenge_bytes, 8);
    ck_assert_int_eq(p.write_key, POSWARD__HSM__V1__CARD_PROFILE__CARD_PROFILE_AES);
    ck_assert_ok(card_profile_check_suite(&p, POSWARD__TYPES__V1__SUITE__SUITE_AES_256, &e), e);
    ck_assert_ok(card_profile_load(NULL, "pboc", &p, &e), e);
    ck_assert_uint_eq(p.challenge_bytes, 4);
    ck_assert_int_eq(p.write_key, POSWARD__HSM__V1__CARD_PROFILE__CARD_PROFILE_PBOC);
    ck_assert_int_eq(card_profile_check_suite(&p, POSWARD__TYPES__V1__SUITE__SUITE_AES_128, &e), ERR_INPUT);
}
END_TEST

START_TEST(command_and_suites_are_read)
{
    struct card_profile p;
    struct err e = {0};
    ck_assert_ok(card_profile_parse("test.yaml", good, strlen(good), &p, &e), e);
    ck_assert_uint_eq(p.verify.cla, 0x80);
    ck_assert_uint_eq(p.verify.ins, 0xCA);
    ck_assert_uint_eq(p.verify.p2, 0x05);
    ck_assert(p.verify.has_le);
    ck_assert_int_eq(p.algorithm_at, -1); /* files of before do not say it */
    ck_assert_uint_eq(p.verify.le, 6);
    ck_assert_int_eq(card_profile_check_suite(&p, POSWARD__TYPES__V1__SUITE__SUITE_AES_128, &e), ERR_INPUT);
    ck_assert_ok(card_profile_check_suite(&p, POSWARD__TYPES__V1__SUITE__SUITE_TDES, &e), e);
}
END_TEST

START_TEST(bad_files_are_named)
{
    static const struct {
        const char *from, *to, *note;
    } rows[] = {
        {"write_key: aes", "write_key: rsa", "write_key must be aes or pboc, got 'rsa'"},
        {"challenge_bytes: 8", "challenge_bytes: 6", "challenge_bytes must be 4 or 8, got 6"},
        {"challenge_bytes: 8", "challenge_bytes: 9", "challenge_bytes"},
        {"challenge_bytes: 8\n", "", "challenge_bytes"},
        {"[tdes, aes-256]", "[]", "suites"},
        {"[tdes, aes-256]", "[sm4]", "suites must be tdes, aes-128 or aes-256, got 'sm4'"},
        {"80CA0005", "80CA00", "verify.command"},
        {"80CA0005", "80CA00XX", "verify.command"},
        {"kcv_at: 3", "kcv_at: 4", "lies outside the answer of 6 bytes"},
        {"version_at: 1", "version_at: 6", "lies outside the answer of 6 bytes"},
        {"version_at: 1", "version_at: 1\n  algorithm_at: 6",
         "algorithm_at lies outside the answer of 6 bytes"},
        {"version_at: 1", "version_at: 1\n  algorithm_at: -2", "algorithm_at"},
        {"name: test", "nmae: test", "nmae"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[512];
        struct card_profile p;
        struct err e = {0};
        const char *place = strstr(good, rows[i].from);
        ck_assert_ptr_nonnull(place);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(place - good), good, rows[i].to,
                 place + strlen(rows[i].from));
        ck_assert_msg(card_profile_parse("test.yaml", text, strlen(text), &p, &e) == ERR_INPUT, "row %zu: %s",
                      i, e.note);
        ck_assert_msg(strstr(e.note, rows[i].note) != NULL && strstr(e.note, "test.yaml") != NULL,
                      "row %zu: '%s' lacks '%s'", i, e.note, rows[i].note);
    }
}
END_TEST

START_TEST(file_cut_at_every_byte_does_no_harm)
{
    for (size_t len = 0; len < strlen(good) - 2; len++) {
        struct card_profile p;
        struct err e = {0};
        ck_assert_msg(card_profile_parse("cut", good, len, &p, &e) == ERR_INPUT, "cut at %zu", len);
    }
}
END_TEST

START_TEST(names_cannot_leave_the_folder)
{
    static const char *const names[] = {"",    "../aes", "a/b",
                                        "AES", "a.b",    "a234567890123456789012345678901234"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct card_profile p;
        struct err e = {0};
        ck_assert_int_eq(card_profile_load("/tmp", names[i], &p, &e), ERR_INPUT);
    }
    struct card_profile p;
    struct err e = {0};
    ck_assert_int_eq(card_profile_load(NULL, "unheard-of", &p, &e), ERR_NOT_FOUND);
    ck_assert_msg(strstr(e.note, "--profiles-dir") != NULL, "%s", e.note);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("profile");
    TCase *tc = tcase_create("profile");
    tcase_add_test(tc, shipped_profiles_load);
    tcase_add_test(tc, command_and_suites_are_read);
    tcase_add_test(tc, bad_files_are_named);
    tcase_add_test(tc, file_cut_at_every_byte_does_no_harm);
    tcase_add_test(tc, names_cannot_leave_the_folder);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

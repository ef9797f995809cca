#include "hsm-service/keeper/convert.h"

#include "tests/support/suite.h"

#include <string.h>

typedef Posward__Hsm__V1__KeyRef KeyRef;
typedef Posward__Hsm__V1__ZoneKey ZoneKey;

static uint8_t blob_bytes[TOK_BLOB_BYTES + 1];

static KeyRef blob_ref(size_t len)
{
    KeyRef ref = POSWARD__HSM__V1__KEY_REF__INIT;
    ref.key_case = POSWARD__HSM__V1__KEY_REF__KEY_BLOB;
    ref.blob = (ProtobufCBinaryData){.len = len, .data = blob_bytes};
    return ref;
}

START_TEST(key_ref_takes_a_blob)
{
    const KeyRef ref = blob_ref(TOK_BLOB_BYTES);
    struct tok_key_ref out;
    struct err e = {0};
    ck_assert_ok(convert_key_ref(&ref, "key", &out, &e), e);
    ck_assert_ptr_eq(out.blob, blob_bytes);
    ck_assert_uint_eq(out.blob_len, TOK_BLOB_BYTES);
    ck_assert_ptr_null(out.zone);
}
END_TEST

START_TEST(key_ref_takes_a_zone)
{
    char name[] = "bank-a";
    ZoneKey zone = POSWARD__HSM__V1__ZONE_KEY__INIT;
    KeyRef ref = POSWARD__HSM__V1__KEY_REF__INIT;
    zone.zone = name;
    zone.version = 255;
    zone.suite = POSWARD__TYPES__V1__SUITE__SUITE_AES_128;
    ref.key_case = POSWARD__HSM__V1__KEY_REF__KEY_ZONE;
    ref.zone = &zone;
    struct tok_key_ref out;
    struct err e = {0};
    ck_assert_ok(convert_key_ref(&ref, "key", &out, &e), e);
    ck_assert_ptr_null(out.blob);
    ck_assert_str_eq(out.zone, "bank-a");
    ck_assert_uint_eq(out.zone_version, 255);
    ck_assert_int_eq(out.zone_suite, TOK_AES_128);
}
END_TEST

START_TEST(key_ref_refuses_wrong_blobs)
{
    const KeyRef empty = blob_ref(0), large = blob_ref(TOK_BLOB_BYTES + 1);
    const KeyRef neither = POSWARD__HSM__V1__KEY_REF__INIT;
    struct tok_key_ref out;
    struct err e = {0};
    ck_assert_int_eq(convert_key_ref(&empty, "source", &out, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "source: blob is missing");
    ck_assert_int_eq(convert_key_ref(&large, "source", &out, &e), ERR_INPUT);
    ck_assert_int_eq(convert_key_ref(&neither, "source", &out, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "source names neither a blob nor a zone");
    ck_assert_int_eq(convert_key_ref(NULL, "source", &out, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "source is missing");
}
END_TEST

static const struct {
    const char *name;
    uint32_t version;
    int suite;
} wrong_zones[] = {
    {"", 0, 0},       {"Bank", 0, 0}, {"bank/a", 0, 0}, {"abcdefghijklmnopqrstuvwxyz012345", 0, 0},
    {"bank", 256, 0}, {"bank", 0, 3}, {"bank", 0, 4},   {"bank", 0, -1},
};

START_TEST(key_ref_refuses_wrong_zones)
{
    char name[64];
    ZoneKey zone = POSWARD__HSM__V1__ZONE_KEY__INIT;
    KeyRef ref = POSWARD__HSM__V1__KEY_REF__INIT;
    strcpy(name, wrong_zones[_i].name);
    zone.zone = name;
    zone.version = wrong_zones[_i].version;
    zone.suite = (Posward__Types__V1__Suite)wrong_zones[_i].suite;
    ref.key_case = POSWARD__HSM__V1__KEY_REF__KEY_ZONE;
    ref.zone = &zone;
    struct tok_key_ref out;
    struct err e = {0};
    ck_assert_int_eq(convert_key_ref(&ref, "key", &out, &e), ERR_INPUT);
    ck_assert_msg(strncmp(e.note, "key: zone.", 10) == 0, "'%s'", e.note);
}
END_TEST

START_TEST(enums_beyond_what_is_known_are_refused)
{
    const int values[] = {-1, 99, INT32_MAX, INT32_MIN};
    const int value = values[_i];
    struct err e = {0};
    enum tok_suite suite;
    enum tok_usage usage;
    enum tok_mac mac;
    enum tok_pin_format format;
    enum tok_cipher cipher;
    enum tok_card_profile profile;
    size_t bytes;
    ck_assert_int_eq(convert_suite((Posward__Types__V1__Suite)value, &suite, &e), ERR_INPUT);
    ck_assert_int_eq(convert_usage((Posward__Types__V1__KeyUsage)value, &usage, &e), ERR_INPUT);
    ck_assert_int_eq(convert_mac_algorithm((Posward__Hsm__V1__MacAlgorithm)value, &mac, &bytes, &e),
                     ERR_INPUT);
    ck_assert_int_eq(convert_pin_format((Posward__Hsm__V1__PinFormat)value, "source_format", &format, &e),
                     ERR_INPUT);
    ck_assert_int_eq(convert_cipher((Posward__Hsm__V1__CipherMode)value, &cipher, &e), ERR_INPUT);
    ck_assert_int_eq(convert_profile((Posward__Hsm__V1__CardProfile)value, &profile, &e), ERR_INPUT);
}
END_TEST

START_TEST(unspecified_enums_mean_what_the_proto_says)
{
    struct err e = {0};
    enum tok_suite suite;
    enum tok_cipher cipher = TOK_CBC;
    enum tok_card_profile profile = TOK_CARD_PBOC;
    ck_assert_int_eq(convert_suite(POSWARD__TYPES__V1__SUITE__SUITE_UNSPECIFIED, &suite, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "suite is missing");
    ck_assert_ok(convert_cipher(POSWARD__HSM__V1__CIPHER_MODE__CIPHER_MODE_UNSPECIFIED, &cipher, &e), e);
    ck_assert_int_eq(cipher, TOK_ECB);
    ck_assert_ok(convert_profile(POSWARD__HSM__V1__CARD_PROFILE__CARD_PROFILE_UNSPECIFIED, &profile, &e), e);
    ck_assert_int_eq(profile, TOK_CARD_AES);
}
END_TEST

START_TEST(wrap_version_is_1_or_2_and_fits_the_suite)
{
    static const struct {
        uint32_t version;
        enum tok_suite suite;
        unsigned means; /* 0: refused */
    } rows[] = {{0, TOK_TDES, 1},    {1, TOK_TDES, 1},    {2, TOK_TDES, 0},
                {0, TOK_AES_128, 1}, {2, TOK_AES_128, 2}, {1, TOK_AES_256, 1},
                {2, TOK_AES_256, 2}, {3, TOK_AES_256, 0}, {UINT32_MAX, TOK_AES_256, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err e = {0};
        unsigned version = 0;
        ck_assert_int_eq(convert_wrap_version(rows[i].version, rows[i].suite, &version, &e),
                         rows[i].means != 0 ? ERR_OK : ERR_INPUT);
        ck_assert_uint_eq(version, rows[i].means);
        ck_assert(rows[i].means != 0 || strncmp(e.note, "wrap_version is ", 16) == 0);
    }
}
END_TEST

START_TEST(every_mac_algorithm_has_its_length)
{
    struct err e = {0};
    for (int value = 1; value <= POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_AES_CMAC; value++) {
        enum tok_mac mac = 0;
        size_t bytes = 0;
        ck_assert_ok(convert_mac_algorithm((Posward__Hsm__V1__MacAlgorithm)value, &mac, &bytes, &e), e);
        ck_assert_int_ne(mac, 0);
        ck_assert_uint_eq(bytes, mac == TOK_MAC_CMAC ? 16 : 8);
    }
}
END_TEST

static const char *const wrong_pans[] = {"", "12345678901", "12345678901234567890", "6225 88000000000",
                                         "622588000000000x"};

START_TEST(pan_is_refused_without_being_repeated)
{
    struct err e = {0};
    ck_assert_int_eq(convert_pan(wrong_pans[_i], &e), ERR_INPUT);
    ck_assert_ptr_null(strstr(e.note, "6225"));
    ck_assert_ptr_null(strstr(e.note, "1234"));
}
END_TEST

START_TEST(psam_number_has_16_to_20_digits)
{
    struct err e = {0};
    ck_assert_ok(convert_psam_number("1234567890123456", &e), e);
    ck_assert_ok(convert_psam_number("12345678901234567890", &e), e);
    ck_assert_int_eq(convert_psam_number("123456789012345", &e), ERR_INPUT);
    ck_assert_int_eq(convert_psam_number("123456789012345678901", &e), ERR_INPUT);
    ck_assert_int_eq(convert_psam_number("12345678901234AF", &e), ERR_INPUT);
}
END_TEST

START_TEST(grades_and_usages_go_back)
{
    ck_assert_int_eq(convert_grade(TOK_IN_TOKEN), POSWARD__TYPES__V1__GRADE__GRADE_IN_TOKEN);
    ck_assert_int_eq(convert_grade(TOK_PROCESS_MEMORY), POSWARD__TYPES__V1__GRADE__GRADE_PROCESS_MEMORY);
    ck_assert_int_eq(convert_weaker(POSWARD__TYPES__V1__GRADE__GRADE_IN_TOKEN,
                                    POSWARD__TYPES__V1__GRADE__GRADE_PROCESS_MEMORY),
                     POSWARD__TYPES__V1__GRADE__GRADE_PROCESS_MEMORY);
    ck_assert_int_eq(convert_usage_back(TOK_TDK), POSWARD__TYPES__V1__KEY_USAGE__KEY_USAGE_TDK);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm convert");
    TCase *t = tcase_create("convert");
    tcase_add_test(t, key_ref_takes_a_blob);
    tcase_add_test(t, key_ref_takes_a_zone);
    tcase_add_test(t, key_ref_refuses_wrong_blobs);
    tcase_add_loop_test(t, key_ref_refuses_wrong_zones, 0, sizeof wrong_zones / sizeof wrong_zones[0]);
    tcase_add_loop_test(t, enums_beyond_what_is_known_are_refused, 0, 4);
    tcase_add_test(t, unspecified_enums_mean_what_the_proto_says);
    tcase_add_test(t, wrap_version_is_1_or_2_and_fits_the_suite);
    tcase_add_test(t, every_mac_algorithm_has_its_length);
    tcase_add_loop_test(t, pan_is_refused_without_being_repeated, 0,
                        sizeof wrong_pans / sizeof wrong_pans[0]);
    tcase_add_test(t, psam_number_has_16_to_20_digits);
    tcase_add_test(t, grades_and_usages_go_back);
    suite_add_tcase(s, t);
    return s;
}

SUITE_MAIN(suite())

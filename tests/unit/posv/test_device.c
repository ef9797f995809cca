#include "posv/device.h"
#include "tests/support/suite.h"

#include <string.h>

static const struct device_request good = {.action = DEVICE_REGISTER,
                                           .terminal_id = "A0000001",
                                           .merchant_id = "898100012345678",
                                           .psam_number = "62010000001234567890",
                                           .reason = "",
                                           .suite = 1,
                                           .master_version = 1};

static void expect_refusal(const struct device_request *request, const char *note)
{
    struct err e = {0};
    ck_assert_int_eq(device_check(request, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, note);
}

START_TEST(check_names_the_field_and_what_came)
{
    static const struct {
        struct device_request wrong; /* members that are set replace those of `good` */
        const char *note;
    } rows[] = {
        {{.terminal_id = ""}, "terminal_id is missing: it must be 8 characters A-Z a-z 0-9"},
        {{.terminal_id = "1234567"}, "terminal_id must be 8 characters A-Z a-z 0-9, got 7"},
        {{.terminal_id = "123456789"}, "terminal_id must be 8 characters A-Z a-z 0-9, got 9"},
        {{.terminal_id = "1234 678"},
         "terminal_id must be 8 characters A-Z a-z 0-9, but character 5 is 0x20"},
        {{.terminal_id = "1234567\xC3"},
         "terminal_id must be 8 characters A-Z a-z 0-9, but character 8 is 0xC3"},
        {{.merchant_id = ""}, "merchant_id is missing: it must be 15 printable ASCII characters"},
        {{.merchant_id = "89810001234567"}, "merchant_id must be 15 printable ASCII characters, got 14"},
        {{.merchant_id = "89810001234567\n"},
         "merchant_id must be 15 printable ASCII characters, but character 15 is 0x0A"},
        {{.psam_number = ""}, "psam_number is missing: it must be 16 to 20 decimal digits"},
        {{.psam_number = "123456789012345"}, "psam_number must be 16 to 20 decimal digits, got 15"},
        {{.psam_number = "123456789012345678901"}, "psam_number must be 16 to 20 decimal digits, got 21"},
        {{.psam_number = "123456789012345A"},
         "psam_number must be 16 to 20 decimal digits, but character 16 is 0x41"},
        {{.suite = -1}, "suite must be TDES, AES_128 or AES_256, got number -1"},
        {{.suite = 4}, "suite must be TDES, AES_128 or AES_256, got number 4"},
        {{.master_version = 256}, "master_version must be 1 to 255, got 256"},
        {{.master_version = 4294967295}, "master_version must be 1 to 255, got 4294967295"},
        {{.wrap_version = 2}, "wrap_version must be 1 with suite TDES, got 2"},
        {{.wrap_version = 3}, "wrap_version must be 1 or 2, got 3"},
        {{.wrap_version = 4294967295, .suite = 3}, "wrap_version must be 1 or 2, got 4294967295"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct device_request request = good;
        const struct device_request *wrong = &rows[i].wrong;
        request.terminal_id = wrong->terminal_id != NULL ? wrong->terminal_id : good.terminal_id;
        request.merchant_id = wrong->merchant_id != NULL ? wrong->merchant_id : good.merchant_id;
        request.psam_number = wrong->psam_number != NULL ? wrong->psam_number : good.psam_number;
        request.suite = wrong->suite != 0 ? wrong->suite : good.suite;
        request.wrap_version = wrong->wrap_version;
        request.master_version = wrong->master_version != 0 ? wrong->master_version : good.master_version;
        expect_refusal(&request, rows[i].note);
    }
}
END_TEST

START_TEST(check_asks_for_suite_and_version)
{
    struct device_request request = good;
    request.suite = 0;
    expect_refusal(&request, "suite is missing: it must be TDES, AES_128 or AES_256");
    request.suite = 3;
    request.master_version = 0;
    expect_refusal(&request, "master_version must be 1 to 255, got 0");
}
END_TEST

START_TEST(check_limits_the_reason)
{
    char reason[REASON_CHARS_MOST + 2];
    memset(reason, 'r', sizeof reason);
    reason[REASON_CHARS_MOST + 1] = '\0';
    struct device_request request = {.action = DEVICE_RETIRE,
                                     .terminal_id = "A0000001",
                                     .merchant_id = "",
                                     .psam_number = "",
                                     .reason = reason};
    expect_refusal(&request, "reason must be at most 100 printable ASCII characters, got 101");
    struct err e = {0};
    reason[REASON_CHARS_MOST] = '\0';
    ck_assert_ok(device_check(&request, &e), e);
}
END_TEST

START_TEST(check_accepts_the_limits)
{
    struct err e = {0};
    struct device_request request = good;
    request.psam_number = "1234567890123456";
    request.master_version = 255;
    request.suite = 3;
    ck_assert_ok(device_check(&request, &e), e);
    request.wrap_version = 2;
    ck_assert_ok(device_check(&request, &e), e);
}
END_TEST

START_TEST(wrap_version_is_1_where_it_is_not_said)
{
    struct err e = {0};
    struct device device, next;
    struct device_request request = good;
    ck_assert_ok(device_next(NULL, &request, &device, &e), e);
    ck_assert_int_eq(device.wrap_version, 1);
    request.action = DEVICE_REPLACE_CARD;
    ck_assert_int_eq(device_next(&device, &request, &next, &e), ERR_EXISTS);
    request.wrap_version = 1;
    ck_assert_int_eq(device_next(&device, &request, &next, &e), ERR_EXISTS);
    device.suite = 3;
    request.suite = 3;
    request.wrap_version = 2;
    ck_assert_ok(device_next(&device, &request, &next, &e), e);
    ck_assert_int_eq(next.wrap_version, 2);
}
END_TEST

START_TEST(card_key_is_the_number_without_regard_to_leading_zeros)
{
    char a[PSAM_DIGITS_MAX + 1], b[PSAM_DIGITS_MAX + 1];
    device_card_key("1234567890123456", a);
    device_card_key("00001234567890123456", b);
    ck_assert_str_eq(a, b);
    ck_assert_str_eq(a, "00001234567890123456");
    device_card_key("01234567890123456", b);
    ck_assert_str_eq(a, b);
}
END_TEST

START_TEST(next_follows_the_state_table)
{
    static const struct {
        enum device_state from;
        enum device_action action;
        enum err_code code;
        enum device_state to;
    } rows[] = {
        {DEVICE_ACTIVE, DEVICE_SUSPEND, ERR_OK, DEVICE_SUSPENDED},
        {DEVICE_ACTIVE, DEVICE_RESUME, ERR_STATE, 0},
        {DEVICE_ACTIVE, DEVICE_RETIRE, ERR_OK, DEVICE_RETIRED},
        {DEVICE_ACTIVE, DEVICE_REPLACE_CARD, ERR_OK, DEVICE_ACTIVE},
        {DEVICE_SUSPENDED, DEVICE_SUSPEND, ERR_STATE, 0},
        {DEVICE_SUSPENDED, DEVICE_RESUME, ERR_OK, DEVICE_ACTIVE},
        {DEVICE_SUSPENDED, DEVICE_RETIRE, ERR_OK, DEVICE_RETIRED},
        {DEVICE_SUSPENDED, DEVICE_REPLACE_CARD, ERR_OK, DEVICE_SUSPENDED},
        {DEVICE_RETIRED, DEVICE_SUSPEND, ERR_STATE, 0},
        {DEVICE_RETIRED, DEVICE_RESUME, ERR_STATE, 0},
        {DEVICE_RETIRED, DEVICE_RETIRE, ERR_STATE, 0},
        {DEVICE_RETIRED, DEVICE_REPLACE_CARD, ERR_STATE, 0},
        {DEVICE_ACTIVE, DEVICE_REGISTER, ERR_EXISTS, 0},
        {DEVICE_RETIRED, DEVICE_REGISTER, ERR_EXISTS, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err e = {0};
        struct device now = {.terminal_id = "A0000001", .psam_number = "62010000001234567906", .suite = 1};
        now.state = rows[i].from;
        struct device_request request = good;
        request.action = rows[i].action;
        struct device next = {0};
        ck_assert_msg(device_next(&now, &request, &next, &e) == rows[i].code, "row %zu: %s", i, e.note);
        ck_assert_msg(next.state == rows[i].to, "row %zu leads to %d", i, (int)next.state);
    }
}
END_TEST

START_TEST(next_needs_a_registered_terminal)
{
    for (enum device_action action = DEVICE_REPLACE_CARD; action <= DEVICE_RETIRE; action++) {
        struct err e = {0};
        struct device_request request = good;
        request.action = action;
        struct device next;
        ck_assert_int_eq(device_next(NULL, &request, &next, &e), ERR_NOT_FOUND);
        ck_assert_str_eq(e.note, "terminal A0000001 is not registered");
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("device");
    TCase *tc = tcase_create("device");
    tcase_add_test(tc, check_names_the_field_and_what_came);
    tcase_add_test(tc, check_asks_for_suite_and_version);
    tcase_add_test(tc, check_limits_the_reason);
    tcase_add_test(tc, check_accepts_the_limits);
    tcase_add_test(tc, wrap_version_is_1_where_it_is_not_said);
    tcase_add_test(tc, card_key_is_the_number_without_regard_to_leading_zeros);
    tcase_add_test(tc, next_follows_the_state_table);
    tcase_add_test(tc, next_needs_a_registered_terminal);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

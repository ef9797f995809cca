#include "hsm-service/keeper/options.h"

#include "tests/support/suite.h"

#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static char program[] = "posward-keeper", module[] = "--module=/m.so", label[] = "--label=a=b",
            pin[] = "--pin-file=/pin";

START_TEST(options_are_read)
{
    char init[] = "--init-string=configdir='sql:/d' x=y", sessions[] = "--sessions=30",
         exposure[] = "--exposure=any", missing[] = "--flows-missing=allow", level[] = "--log-level=debug",
         format[] = "--log-format=json", mak[] = "--tdes-mak-bytes-min=8",
         form1[] = "--blob-form1-until-ms=1806537600000";
    char *argv[] = {program,  module,  label, pin,    init, sessions,
                    exposure, missing, level, format, mak,  form1};
    struct keeper_options o;
    struct err e = {0};
    ck_assert_ok(keeper_options_read(COUNT(argv), argv, &o, &e), e);
    ck_assert_str_eq(o.token.module_path, "/m.so");
    ck_assert_str_eq(o.token.token_label, "a=b");
    ck_assert_str_eq(o.token.init_string, "configdir='sql:/d' x=y");
    ck_assert_ptr_null(o.token.token_serial);
    ck_assert_uint_eq(o.token.session_count, 30);
    ck_assert_int_eq(o.exposure, TOK_EXPOSURE_ANY);
    ck_assert(!o.policy.in_token_only);
    ck_assert_uint_eq(o.policy.tdes_mak_bytes_min, 8);
    ck_assert_int_eq(o.policy.blob_form1_until_ms, 1806537600000);
    ck_assert(o.missing_allowed);
    ck_assert_int_eq(o.log_level, LOG_DEBUG);
    ck_assert(o.log_json);
}
END_TEST

START_TEST(policy_is_strict_when_not_given)
{
    char *argv[] = {program, module, label, pin};
    struct keeper_options o;
    struct err e = {0};
    ck_assert_ok(keeper_options_read(COUNT(argv), argv, &o, &e), e);
    ck_assert_int_eq(o.exposure, TOK_EXPOSURE_IN_TOKEN);
    ck_assert(o.policy.in_token_only);
    ck_assert_uint_eq(o.policy.tdes_mak_bytes_min, 16);
    ck_assert_int_eq(o.policy.blob_form1_until_ms, 0);
    ck_assert(!o.missing_allowed);
}
END_TEST

static const char *const wrong[] = {"--sessions=0",
                                    "--sessions=257",
                                    "--sessions=2x",
                                    "--sessions=",
                                    "--exposure=all",
                                    "--flows-missing=some",
                                    "--tdes-mak-bytes-min=12",
                                    "--tdes-mak-bytes-min=",
                                    "--blob-form1-until-ms=",
                                    "--blob-form1-until-ms=-1",
                                    "--blob-form1-until-ms=2027-03-31",
                                    "--blob-form1-until-ms=99999999999999999999",
                                    "--log-level=loud",
                                    "--modules=/m",
                                    "module=/m",
                                    "--module",
                                    ""};

START_TEST(wrong_options_are_refused)
{
    char option[64];
    strcpy(option, wrong[_i]);
    char *argv[] = {program, module, label, pin, option};
    struct keeper_options o;
    struct err e = {0};
    ck_assert_int_eq(keeper_options_read(COUNT(argv), argv, &o, &e), ERR_INPUT);
    ck_assert_int_eq(keeper_options_read(3, argv, &o, &e), ERR_INPUT);
}
END_TEST

START_TEST(front_of_another_version_is_refused)
{
    char other[] = "--front-version=0.0.1", own[] = "--front-version=" POSWARD_VERSION;
    char *argv[] = {program, module, label, pin, own};
    struct keeper_options o;
    struct err e = {0};
    ck_assert_ok(keeper_options_read(COUNT(argv), argv, &o, &e), e);
    argv[4] = other;
    ck_assert_int_eq(keeper_options_read(COUNT(argv), argv, &o, &e), ERR_STATE);
    ck_assert_ptr_nonnull(strstr(e.note, "restart posward-hsm"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm keeper options");
    TCase *t = tcase_create("options");
    tcase_add_test(t, options_are_read);
    tcase_add_test(t, policy_is_strict_when_not_given);
    tcase_add_test(t, front_of_another_version_is_refused);
    tcase_add_loop_test(t, wrong_options_are_refused, 0, COUNT(wrong));
    suite_add_tcase(s, t);
    return s;
}

SUITE_MAIN(suite())

#include "hsm-service/config.h"

#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>

#define REPLICAS "  replicas:\n"
#define TOKEN    "token:\n  module: /m.so\n  label: posward\n  pin_file: /pin\n"

static enum err_code load(const char *text, struct hsm_config *config, struct err *e)
{
    memset(config, 0, sizeof *config);
    TRY(conf_parse("hsm.yaml", text, strlen(text), hsm_config_rows, config, e));
    const enum err_code code = hsm_config_check(config, e);
    if (code != ERR_OK)
        conf_drop(hsm_config_rows, config);
    return code;
}

START_TEST(defaults_are_those_documented)
{
    struct hsm_config c;
    struct err e = {0};
    ck_assert_ok(load(TOKEN, &c, &e), e);
    ck_assert_str_eq(c.service.listen, "127.0.0.1:7001");
    ck_assert_str_eq(c.control_listen, "127.0.0.1:7011");
    ck_assert_str_eq(c.keymgmt_path, "");
    ck_assert_int_eq(c.keymgmt_approvals, 2);
    ck_assert_int_eq(c.keeper_count, 2);
    ck_assert_int_eq(c.keeper_sessions, 2);
    ck_assert_int_eq(c.retire_after, 200000);
    ck_assert_int_eq(c.hang_ms, 10000);
    ck_assert_str_eq(c.audit_path, "");
    ck_assert_str_eq(c.audit_use, "sampled");
    ck_assert_ptr_null(c.token_serial);
    ck_assert(!hsm_config_in_token(&c));
    ck_assert_int_eq(c.tdes_mak_bytes_min, 8);
    ck_assert_str_eq(c.blob_form1_until, "");
    conf_drop(hsm_config_rows, &c);
}
END_TEST

START_TEST(the_sample_is_accepted)
{
    char path[512];
    struct hsm_config c = {0};
    struct err e = {0};
    snprintf(path, sizeof path, "%s/deploy/config/hsm.yaml", getenv("POSWARD_SOURCE"));
    ck_assert_ok(conf_load(path, hsm_config_rows, &c, &e), e);
    ck_assert_ok(hsm_config_check(&c, &e), e);
    conf_drop(hsm_config_rows, &c);
}
END_TEST

START_TEST(dual_control_is_read_by_the_name_of_before)
{
    struct hsm_config c;
    struct err e = {0};
    ck_assert_ok(load(TOKEN "control:\n  path: /c.db\n  approvals: 3\n  expire_seconds: 60\n", &c, &e), e);
    ck_assert_str_eq(c.keymgmt_path, "/c.db");
    ck_assert_int_eq(c.keymgmt_approvals, 3);
    ck_assert_int_eq(c.keymgmt_expire_seconds, 60);
    conf_drop(hsm_config_rows, &c);
}
END_TEST

static const struct {
    const char *text, *names;
} wrong[] = {
    {TOKEN "control:\n  path: /c.db\nkeymgmt:\n  approvals: 3\n", "keep 'keymgmt.approvals'"},
    {"token:\n  label: a\n  pin_file: /p\n", "token.module"},
    {"token:\n  module: /m.so\n  pin_file: /p\n", "token.label"},
    {"token:\n  module: /m.so\n  label: a\n", "token.pin_file"},
    {TOKEN "policy:\n  exposure: some\n", "policy.exposure"},
    {TOKEN "policy:\n  flows_missing: some\n", "policy.flows_missing"},
    {TOKEN "policy:\n  blob_form1_until: 2027-02-29\n", "policy.blob_form1_until"},
    {TOKEN "policy:\n  blob_form1_until: 2027-13-01\n", "policy.blob_form1_until"},
    {TOKEN "policy:\n  blob_form1_until: 2027-00-10\n", "policy.blob_form1_until"},
    {TOKEN "policy:\n  blob_form1_until: 2027-04-31\n", "policy.blob_form1_until"},
    {TOKEN "policy:\n  blob_form1_until: 2027-04-00\n", "policy.blob_form1_until"},
    {TOKEN "policy:\n  blob_form1_until: 27-04-01\n", "policy.blob_form1_until"},
    {TOKEN "policy:\n  blob_form1_until: 2027/04/01\n", "policy.blob_form1_until"},
    {TOKEN "policy:\n  blob_form1_until: 2027-4-1\n", "policy.blob_form1_until"},
    {TOKEN "policy:\n  blob_form1_until: 2027-04-01T00:00\n", "policy.blob_form1_until"},
    {TOKEN "policy:\n  blob_form1_until: soon\n", "policy.blob_form1_until"},
    {TOKEN "policy:\n  blob_form1_until: 0000-01-01\n", "policy.blob_form1_until"},
    {TOKEN "policy:\n  blob_form1_until: 1969-12-31\n", "policy.blob_form1_until"},
    {TOKEN "policy:\n  tdes_mak_bytes_min: 7\n", "policy.tdes_mak_bytes_min"},
    {TOKEN "policy:\n  tdes_mak_bytes_min: 12\n", "policy.tdes_mak_bytes_min is 12; it must be 8 or 16"},
    {TOKEN "policy:\n  tdes_mak_bytes_min: 24\n", "policy.tdes_mak_bytes_min"},
    {TOKEN "keepers:\n  count: 0\n", "keepers.count"},
    {TOKEN "keepers:\n  count: 33\n", "keepers.count"},
    {TOKEN "keepers:\n  sessions: 65\n", "keepers.sessions"},
    {TOKEN "keepers:\n  hang_ms: 5\n", "keepers.hang_ms"},
    {TOKEN "limits:\n  max_message_bytes: 200000\n", "limits.max_message_bytes"},
    {TOKEN "keepers:\n  counts: 2\n", "keepers.count"},
    {TOKEN "audit:\n  use: some\n", "audit.use"},
    {TOKEN "audit:\n  rotate_bytes: 5\n", "audit.rotate_bytes"},
    {TOKEN "audit:\n  checkpoint_records: 0\n", "audit.checkpoint_records"},
    {TOKEN REPLICAS "    - serial: a\n    - serial: a\n", "token.replicas[1] is the token"},
    {TOKEN REPLICAS "    - label: posward\n", "token.replicas[0] is the token"},
    {TOKEN REPLICAS "    - environment: [A=b]\n    - environment: [A=b]\n", "token.replicas[1] is the token"},
    {TOKEN REPLICAS "    - environment: [A]\n", "token.replicas[0].environment[0]"},
    {TOKEN REPLICAS "    - environment: [=a]\n", "token.replicas[0].environment[0]"},
    {TOKEN REPLICAS "    - label: b\n      name: posward\n", "token.replicas[0].name"},
    {TOKEN REPLICAS "    - label: b\n      name: \"\"\n", "token.replicas[0].name"},
    {TOKEN REPLICAS "    - label: \"\"\n", "token.replicas[0] has an empty"},
    {TOKEN REPLICAS "    - labels: b\n", "label"},
    {TOKEN "  lock_file: /l\n" REPLICAS "    - label: b\n", "token.replicas[0].lock_file is missing"},
    {TOKEN "  lock_file: /l\n" REPLICAS "    - label: b\n      lock_file: /l\n",
     "lock_file is that of posward"},
    {TOKEN "  backup_dir: /b\n" REPLICAS "    - label: b\n      backup_dir: /b\n",
     "backup_dir is that of posward"},
    {TOKEN REPLICAS "    - label: b\nkeepers:\n  count: 17\n", "keepers.count"},
    {TOKEN REPLICAS
     "    - label: b\n    - label: c\n    - label: d\n    - label: e\n    - label: f\n    - label: g\n"
     "    - label: h\n    - label: i\n",
     "token.replicas"},
};

START_TEST(wrong_values_are_named)
{
    struct hsm_config c;
    struct err e = {0};
    ck_assert_int_eq(load(wrong[_i].text, &c, &e), ERR_INPUT);
    ck_assert_msg(strstr(e.note, wrong[_i].names) != NULL, "'%s' does not name %s", e.note, wrong[_i].names);
}
END_TEST

/* Up to the end of the day, in UTC wherever this runs; leap days too. */
START_TEST(last_day_of_form_1_ends_at_midnight)
{
    static const struct {
        const char *date;
        int64_t ends_ms;
    } rows[] = {{"\"\"", 0},
                {"2027-03-31", 1806537600000},
                {"2028-02-29", 1835481600000},
                {"2099-12-31", 4102444800000}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hsm_config c;
        struct err e = {0};
        int64_t ends_ms = -1;
        char yaml[256];
        snprintf(yaml, sizeof yaml, TOKEN "policy:\n  blob_form1_until: %s\n", rows[i].date);
        ck_assert_ok(load(yaml, &c, &e), e);
        ck_assert_ok(hsm_config_form1_until(&c, &ends_ms, &e), e);
        ck_assert_int_eq(ends_ms, rows[i].ends_ms);
        conf_drop(hsm_config_rows, &c);
    }
}
END_TEST

START_TEST(in_token_is_understood)
{
    struct hsm_config c;
    struct err e = {0};
    ck_assert_ok(load(TOKEN "policy:\n  exposure: in_token\n", &c, &e), e);
    ck_assert(hsm_config_in_token(&c));
    conf_drop(hsm_config_rows, &c);
}
END_TEST

START_TEST(replicas_inherit_what_may_be_shared)
{
    struct hsm_config c;
    struct hsm_token t;
    struct err e = {0};
    ck_assert_ok(load(TOKEN "  serial: \"01\"\n  init_string: i\n  lock_file: /l\n  backup_dir: /b\n  "
                            "directory: /d\n" REPLICAS
                            "    - environment: [SOFTHSM2_CONF=/b, X=y=z]\n      lock_file: /l2\n"
                            "    - label: other\n      pin_file: /pin3\n      lock_file: /l3\n"
                            "    - module: /n.so\n      name: spare\n      lock_file: /l4\n",
                      &c, &e),
                 e);
    ck_assert_uint_eq(hsm_config_tokens(&c), 4);
    hsm_config_token(&c, 0, &t);
    ck_assert_str_eq(t.name, "posward");
    ck_assert_str_eq(t.backup_dir, "/b");
    ck_assert_ptr_null(t.environment);
    hsm_config_token(&c, 1, &t); /* a copy: by its place */
    ck_assert_str_eq(t.name, "posward-2");
    ck_assert_str_eq(t.label, "posward");
    ck_assert_str_eq(t.serial, "01");
    ck_assert_str_eq(t.init_string, "i");
    ck_assert_str_eq(t.lock_file, "/l2");
    ck_assert_ptr_null(t.backup_dir); /* another token's */
    ck_assert_ptr_null(t.directory);
    ck_assert_uint_eq(t.environment->count, 2);
    ck_assert_str_eq(((const struct hsm_variable *)t.environment->items)[1].text, "X=y=z");
    hsm_config_token(&c, 2, &t);
    ck_assert_str_eq(t.name, "other");
    ck_assert_ptr_null(t.serial); /* of another label */
    ck_assert_str_eq(t.pin_file, "/pin3");
    hsm_config_token(&c, 3, &t);
    ck_assert_str_eq(t.name, "spare");
    ck_assert_str_eq(t.module, "/n.so");
    ck_assert_ptr_null(t.init_string); /* of another module */
    ck_assert_str_eq(t.pin_file, "/pin");
    conf_drop(hsm_config_rows, &c);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm config");
    TCase *t = tcase_create("config");
    tcase_add_test(t, defaults_are_those_documented);
    tcase_add_test(t, the_sample_is_accepted);
    tcase_add_test(t, dual_control_is_read_by_the_name_of_before);
    tcase_add_loop_test(t, wrong_values_are_named, 0, sizeof wrong / sizeof wrong[0]);
    tcase_add_test(t, last_day_of_form_1_ends_at_midnight);
    tcase_add_test(t, in_token_is_understood);
    tcase_add_test(t, replicas_inherit_what_may_be_shared);
    suite_add_tcase(s, t);
    return s;
}

SUITE_MAIN(suite())

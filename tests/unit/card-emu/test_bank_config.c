/* What posward-bank says of a configuration before it starts anything. */
#include "card-emu/bank/bank.h"
#include "card-emu/bank/config.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STORE         "store.path: /nonexistent/bank.db\n"
#define KEY(more)     "{suite: tdes, components: [{file: /dev/null}]" more "}"
#define ACCOUNT(more) "accounts: [{pan: \"6225758326736419\", pin: \"123456\"" more "}]\n"

static const struct {
    const char *text, *wanted; /* part of the note; NULL: valid */
} cases[] = {
    {STORE "zone_keys: [" KEY("") ", " KEY(", version: 2") "]\n" ACCOUNT(""), NULL},
    {STORE "zone_keys: [" KEY("") ", " KEY("") "]\n", "zone_keys[1] has suite and version of zone_keys[0]"},
    {STORE "zone_keys: [{suite: des, components: [{file: /dev/null}]}]\n", "zone_keys[0].suite"},
    {STORE "zone_keys: [{suite: tdes, components: []}]\n", "zone_keys[0].components is empty"},
    {STORE "zone_keys: [{suite: tdes, components: [{file: /nonexistent/part}]}]\n",
     "zone_keys[0].components[0].file /nonexistent/part: No such file"},
    {STORE "accounts: [{pan: \"62\", pin: \"123456\"}]\n", "accounts[0].pan"},
    {STORE "accounts: [{pan: \"6225758326736419\", pin: \"12\"}]\n", "accounts[0].pin"},
    {STORE ACCOUNT(", expiry: \"12\""), "accounts[0].expiry"},
};

START_TEST(configuration_is_judged_before_start)
{
    char path[] = "/tmp/posward-bank-config-XXXXXX";
    const int fd = mkstemp(path);
    const size_t len = strlen(cases[_i].text);
    ck_assert(fd >= 0 && write(fd, cases[_i].text, len) == (ssize_t)len);
    close(fd);
    struct bank_config config = {.store_path = NULL};
    struct err e = {0};
    ck_assert_ok(conf_load(path, bank_service.rows, &config, &e), e);
    unlink(path);
    ck_assert_ptr_nonnull(bank_service.check);
    const enum err_code code = bank_service.check(&config, &e);
    conf_drop(bank_service.rows, &config);
    if (cases[_i].wanted == NULL) {
        ck_assert_ok(code, e);
        return;
    }
    ck_assert_int_ne(code, ERR_OK);
    ck_assert_msg(strstr(e.note, cases[_i].wanted) != NULL, "'%s' is not in '%s'", cases[_i].wanted, e.note);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("bank config");
    TCase *tc = tcase_create("config");
    tcase_add_loop_test(tc, configuration_is_judged_before_start, 0, (int)(sizeof cases / sizeof cases[0]));
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

/* What posward-posp says of a configuration before it starts anything: --check-config and start read the
 * same. */
#include "posp/config.h"
#include "posp/daemon.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PEERS                                                                                                \
    "store.path: /nonexistent/posp.db\n"                                                                     \
    "hsm: {tls: {insecure: true}}\n"                                                                         \
    "posv: {tls: {insecure: true}}\n"
#define BANK   "{name: bank, target: 127.0.0.1:7010, tls: {insecure: true}}"
#define UNITS  "units: [" BANK "]\n"
#define ROUTES "routes: [{prefix: \"62\", unit: bank}]\n"

static const struct {
    const char *text, *wanted; /* part of the note; NULL: valid */
} cases[] = {
    {PEERS UNITS ROUTES, NULL},
    {PEERS, NULL},
    {PEERS UNITS "routes: [{prefix: \"62\", unit: bank}, {prefix: \"622\", unit: bank}]\n", NULL},
    {PEERS UNITS "routes: [{prefix: \"62\", unit: nobody}]\n", "routes[0].unit 'nobody' is not in units"},
    {PEERS UNITS "routes: [{prefix: \"6x\", unit: bank}]\n", "routes[0].prefix"},
    {PEERS UNITS "routes: [{unit: bank, type: refund}]\n", "routes[0].type"},
    {PEERS UNITS "routes: [{unit: bank, pin_format: iso3}]\n", "routes[0].pin_format"},
    {PEERS UNITS "routes: [{unit: bank, zone_suite: tdes}]\n", "routes[0].zone_suite"},
    {PEERS UNITS "routes: [{unit: bank}, {unit: bank}]\n", "routes[1] is for the cards of routes[0]"},
    {PEERS "units: [" BANK ", " BANK "]\n", "units[1].name 'bank' is the name of units[0] already"},
    {PEERS "units: [{name: Bank, target: 127.0.0.1:1, tls: {insecure: true}}]\n", "units[0].name"},
    {PEERS "units: [{name: bank, target: 10.0.0.1:1, tls: {insecure: true}}]\n", "units[0]: "},
    {PEERS "units: [{name: bank, target: 127.0.0.1:1}]\n", "units[0]: "},
    {"store.path: x\nposv: {tls: {insecure: true}}\n", "hsm: "},
    {"store.path: x\nhsm: {tls: {insecure: true}}\n", "posv: "},
    {PEERS "terminals.listen: nowhere\n", "terminals.listen must be address:port"},
    {PEERS "terminals.listen: localhost:7800\n", "is not an IP address"},
    {PEERS "terminals.dialect: klingon\n", "terminals.dialect 'klingon' is not known"},
    {PEERS "acquirer.id: 12ab\n", "acquirer.id"},
};

START_TEST(configuration_is_judged_before_start)
{
    char path[] = "/tmp/posward-posp-config-XXXXXX";
    const int fd = mkstemp(path);
    const size_t len = strlen(cases[_i].text);
    ck_assert(fd >= 0 && write(fd, cases[_i].text, len) == (ssize_t)len);
    close(fd);
    struct posp_config config = {.store_path = NULL};
    struct err e = {0};
    ck_assert_ok(conf_load(path, posp_service.rows, &config, &e), e);
    unlink(path);
    ck_assert_ptr_nonnull(posp_service.check);
    const enum err_code code = posp_service.check(&config, &e);
    conf_drop(posp_service.rows, &config);
    if (cases[_i].wanted == NULL) {
        ck_assert_ok(code, e);
        return;
    }
    ck_assert_int_eq(code, ERR_INPUT);
    ck_assert_msg(strstr(e.note, cases[_i].wanted) != NULL, "'%s' is not in '%s'", cases[_i].wanted, e.note);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("posp config");
    TCase *tc = tcase_create("config");
    tcase_add_loop_test(tc, configuration_is_judged_before_start, 0, (int)(sizeof cases / sizeof cases[0]));
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

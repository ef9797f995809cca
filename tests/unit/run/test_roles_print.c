/* What --check-config prints of who may do what. */
#include "tests/support/suite.h"
#include "tests/unit/run/grants_yaml.h"

#include <stdlib.h>
#include <string.h>

static char *printed(struct roles *roles)
{
    char *text = NULL;
    size_t len = 0;
    FILE *const out = open_memstream(&text, &len);
    roles_print(roles, out);
    fclose(out);
    return text;
}

START_TEST(print_says_what_each_identity_may_do)
{
    static const char expected[] = "ada\n"
                                   "  roles      operator\n"
                                   "  may        none\n"
                                   "  zones      none\n"
                                   "  pin_pairs  none\n"
                                   "host\n"
                                   "  roles      posp\n"
                                   "  may        none\n"
                                   "  zones      acquirer, bank\n"
                                   "  pin_pairs  acquirer>bank, bank>acquirer\n"
                                   "posp\n"
                                   "  roles      posp, operator\n"
                                   "  may        paint, glue-hot (default)\n"
                                   "  zones      all\n"
                                   "  pin_pairs  none\n"
                                   "second\n"
                                   "  roles      posp\n"
                                   "  may        paint, sand\n"
                                   "  zones      none\n"
                                   "  pin_pairs  none\n";
    struct roles *roles = grants_make("roles:\n"
                                      "  - {identity: posp, roles: operator posp}\n"
                                      "  - {identity: second, roles: posp, may: [sand, paint], zones: []}\n"
                                      "  - {identity: ada, roles: operator}\n"
                                      "  - identity: host\n"
                                      "    roles: posp\n"
                                      "    may: []\n"
                                      "    zones: [bank, acquirer]\n"
                                      "    pin_pairs: [bank>acquirer, acquirer>bank]\n");
    char *text = printed(roles);
    ck_assert_str_eq(text, expected);
    free(text);
    roles_free(roles);
}
END_TEST

START_TEST(print_breaks_long_lists)
{
    struct roles *roles =
        grants_make("roles: [{identity: a, roles: posp, may: [], zones: [zone-number-one-of-the-estate,"
                    " zone-number-two-of-the-estate, zone-number-three-of-the-estate, zone-number-four]}]");
    char *text = printed(roles);
    ck_assert_ptr_nonnull(strstr(text, "  zones      zone-number-four, zone-number-one-of-the-estate, "
                                       "zone-number-three-of-the-estate,\n"
                                       "             zone-number-two-of-the-estate\n"
                                       "  pin_pairs"));
    free(text);
    roles_free(roles);
}
END_TEST

START_TEST(print_of_a_service_without_rights_has_roles_alone)
{
    struct roles *roles = NULL;
    struct err e = {0};
    ck_assert_ok(
        grants_try("roles: [{identity: spiffe://x/posp, roles: posp}, {identity: ada, roles: auditor "
                   "operator}]",
                   NULL, &roles, &e),
        e);
    char *text = printed(roles);
    ck_assert_str_eq(text, "ada              operator, auditor\nspiffe://x/posp  posp\n");
    free(text);
    roles_free(roles);
}
END_TEST

START_TEST(print_under_insecure_names_the_one_caller)
{
    const struct roles_options options = {
        .rows = grants_no_rows, .insecure = true, .insecure_role = "all", .rights = grants_rights};
    struct roles *roles = NULL;
    struct err e = {0};
    ck_assert_ok(roles_new(&options, &roles, &e), e);
    char *text = printed(roles);
    ck_assert_str_eq(text, "every caller (tls.insecure)\n"
                           "  roles      issuer, posp, posv, operator, auditor, monitor\n"
                           "  may        paint, sand, glue-hot\n"
                           "  zones      all\n"
                           "  pin_pairs  all\n");
    free(text);
    roles_free(roles);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("roles_print");
    TCase *tc = tcase_create("roles_print");
    tcase_add_test(tc, print_says_what_each_identity_may_do);
    tcase_add_test(tc, print_breaks_long_lists);
    tcase_add_test(tc, print_of_a_service_without_rights_has_roles_alone);
    tcase_add_test(tc, print_under_insecure_names_the_one_caller);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

/* What the configuration grants beyond roles: grants_rights, zones and pairs of zones, read as daemons read
 * them. */
#include "tests/support/suite.h"
#include "tests/unit/run/grants_yaml.h"

#include <pthread.h>
#include <string.h>

static unsigned rights_of(struct roles *roles, const char *identity)
{
    AUTO(roles_view) view = {0};
    roles_view_init(&view, roles, identity);
    return view.rights;
}

static bool has_zone(struct roles *roles, const char *identity, const char *zone, size_t len)
{
    AUTO(roles_view) view = {0};
    roles_view_init(&view, roles, identity);
    return roles_view_has_zone(&view, zone, len);
}

static bool has_pair(struct roles *roles, const char *identity, const char *from, size_t from_len,
                     const char *to, size_t to_len)
{
    AUTO(roles_view) view = {0};
    roles_view_init(&view, roles, identity);
    return roles_view_has_pin_pair(&view, from, from_len, to, to_len);
}

static const char estate[] = "roles:\n"
                             "  - {identity: posp, roles: posp}\n"
                             "  - {identity: both, roles: operator posp}\n"
                             "  - {identity: ada, roles: operator}\n"
                             "  - {identity: posv, roles: posv}\n"
                             "  - identity: second\n"
                             "    roles: posp\n"
                             "    zones:\n"
                             "      - acquirer2\n"
                             "      - bank-1\n"
                             "    may:\n"
                             "      - paint\n"
                             "      - sand\n"
                             "  - identity: host\n"
                             "    roles: posp\n"
                             "    zones: [bank, acquirer]\n"
                             "    may: []\n"
                             "    pin_pairs: [acquirer>bank, bank>bank]\n"
                             "  - {identity: none, roles: posp, zones: []}\n"
                             "  - {identity: every, roles: posp, pin_pairs: ['a>b']}\n";

START_TEST(rights_are_the_defaults_or_what_is_named)
{
    static const struct {
        const char *identity;
        unsigned bits;
    } cases[] = {
        {"posp", PAINT | GLUE},
        {"both", PAINT | GLUE},
        {"ada", 0},
        {"posv", 0}, /* may have one, has none by default */
        {"second", PAINT | SAND},
        {"host", 0},
        {"none", PAINT | GLUE},
        {"every", PAINT | GLUE},
        {"nobody", 0},
        {"pos", 0},
        {"", 0},
        {NULL, 0},
    };
    struct roles *roles = grants_make(estate);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_msg(rights_of(roles, cases[i].identity) == cases[i].bits, "case %zu", i);
    roles_free(roles);
}
END_TEST

START_TEST(zones_are_all_or_what_is_named)
{
    static const struct {
        const char *identity, *zone;
        size_t len; /* 0: of the text */
        bool has;
    } cases[] = {
        {"posp", "bank", 0, true},
        {"both", "bank", 0, true},
        {"posp", "", 0, false},
        {"ada", "bank", 0, false}, /* none of its roles has rights */
        {"second", "acquirer2", 0, true},
        {"second", "bank-1", 0, true},
        {"second", "acquirer", 0, false},
        {"second", "acquirer22", 0, false},
        {"second", "acquirer22", 9, true},
        {"second", "acquirer2", 8, false},
        {"second", "acquirer2\0", 10, false},
        {"second", "acquirer2\0bank", 14, false},
        {"second", "Acquirer2", 0, false},
        {"second", "", 0, false},
        {"second", "acquirer2acquirer2acquirer2acquirer2", 0, false},
        {"none", "bank", 0, false},
        {"none", "", 0, false},
        {"nobody", "bank", 0, false},
        {NULL, "bank", 0, false},
    };
    struct roles *roles = grants_make(estate);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t len = cases[i].len != 0 ? cases[i].len : strlen(cases[i].zone);
        ck_assert_msg(has_zone(roles, cases[i].identity, cases[i].zone, len) == cases[i].has, "case %zu", i);
    }
    roles_free(roles);
}
END_TEST

START_TEST(pin_pairs_are_those_that_are_named)
{
    static const struct {
        const char *identity, *from, *to;
        bool has;
    } cases[] = {
        {"host", "acquirer", "bank", true},
        {"host", "bank", "bank", true},
        {"host", "bank", "acquirer", false},
        {"host", "acquirer", "acquirer", false},
        {"host", "", "acquirer>bank", false},
        {"host", "acquirer>bank", "", false},
        {"host", "acquire", "bank", false},
        {"host", "acquirer", "bank2", false},
        {"host", "acquireracquireracquireracquireracquirer", "bank", false},
        {"host", "acquirer", "bankbankbankbankbankbankbankbankbank", false},
        {"every", "a", "b", true},
        {"posp", "acquirer", "bank", false},
        {"ada", "acquirer", "bank", false},
        {"nobody", "acquirer", "bank", false},
        {NULL, "acquirer", "bank", false},
    };
    struct roles *roles = grants_make(estate);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_msg(has_pair(roles, cases[i].identity, cases[i].from, strlen(cases[i].from), cases[i].to,
                               strlen(cases[i].to)) == cases[i].has,
                      "case %zu", i);
    ck_assert(!has_pair(roles, "host", "acquirer\0", 9, "bank", 4));
    ck_assert(!has_pair(roles, "host", "acquirer", 8, "bank\0", 5));
    roles_free(roles);
}
END_TEST

static const struct {
    const char *item; /* after the identity a */
    const char *note;
} refused[] = {
    {"roles: posp, may: [pant]", "roles[0]: may: 'pant' is no right; did you mean 'paint'?"},
    {"roles: posp, may: [glue-hto]", "roles[0]: may: 'glue-hto' is no right; did you mean 'glue-hot'?"},
    {"roles: posp, may: [weld]", "roles[0]: may: 'weld' is none of paint, sand, glue-hot"},
    {"roles: posp, may: [all]", "roles[0]: may: 'all' is none of paint, sand, glue-hot"},
    {"roles: posp, may: [paint, sand, paint]", "roles[0]: may: paint stands twice"},
    {"roles: posv, may: [sand, paint]", "roles[0]: may: paint is of no use to a, which lacks the role: posp"},
    {"roles: operator, may: [sand]", "roles[0]: a has may, zones or pin_pairs, but none of its roles can use "
                                     "a key; one that can: posp, posv"},
    {"roles: operator, may: []", "roles[0]: a has may, zones or pin_pairs, but none of its roles"},
    {"roles: monitor, zones: []", "roles[0]: a has may, zones or pin_pairs, but none of its roles"},
    {"roles: issuer, pin_pairs: ['a>b']", "roles[0]: a has may, zones or pin_pairs, but none of its roles"},
    {"roles: posp, zones: [bank, north, bank]", "roles[0]: zones: bank stands twice"},
    {"roles: posp, zones: [Bank]", "roles[0]: zones: 'Bank' is no zone: 1 to 31 characters a-z 0-9 -"},
    {"roles: posp, zones: [a b]", "roles[0]: zones: 'a b' is no zone"},
    {"roles: posp, zones: [a>b]", "roles[0]: zones: 'a>b' is no zone"},
    {"roles: posp, zones: [abcdefghijklmnopqrstuvwxyz012345]", "is no zone"},
    {"roles: posp, pin_pairs: [a]", "roles[0]: pin_pairs: 'a' is no pair: write from>to, two zones"},
    {"roles: posp, pin_pairs: ['>b']", "roles[0]: pin_pairs: '>b' is no pair"},
    {"roles: posp, pin_pairs: ['a>']", "roles[0]: pin_pairs: 'a>' is no pair"},
    {"roles: posp, pin_pairs: [a>b>c]", "roles[0]: pin_pairs: 'a>b>c' is no pair"},
    {"roles: posp, pin_pairs: [a > b]", "roles[0]: pin_pairs: 'a > b' is no pair"},
    {"roles: posp, pin_pairs: [a>abcdefghijklmnopqrstuvwxyz012345]", "is no pair"},
    {"roles: posp, pin_pairs: [a>b, a>b]", "roles[0]: pin_pairs: a>b stands twice"},
    {"roles: posp, zones: [a], pin_pairs: [a>b]",
     "roles[0]: pin_pairs: a>b needs the zone b in zones of this identity"},
    {"roles: posp, zones: [b], pin_pairs: [a>b]",
     "roles[0]: pin_pairs: a>b needs the zone a in zones of this identity"},
    {"roles: posp, zones: [], pin_pairs: [a>b]", "needs the zone a in zones of this identity"},
};

START_TEST(grants_that_are_wrong_are_refused)
{
    char yaml[400];
    snprintf(yaml, sizeof yaml, "roles: [{identity: a, %s}]\n", refused[_i].item);
    struct roles *roles = NULL;
    struct err e = {0};
    ck_assert_msg(grants_try(yaml, grants_rights, &roles, &e) == ERR_INPUT, "%s", yaml);
    ck_assert_msg(strstr(e.note, refused[_i].note) != NULL, "%s: %s", yaml, e.note);
    ck_assert_ptr_null(roles);
}
END_TEST

/* In a list of 31 characters nothing is cut. */
START_TEST(zone_of_31_characters_is_one)
{
    static const char zone[] = "abcdefghijklmnopqrstuvwxyz01234";
    struct roles *roles =
        grants_make("roles: [{identity: a, roles: posp, zones: [abcdefghijklmnopqrstuvwxyz01234],"
                    " pin_pairs: [abcdefghijklmnopqrstuvwxyz01234>abcdefghijklmnopqrstuvwxyz01234]}]");
    ck_assert(has_zone(roles, "a", zone, 31));
    ck_assert(has_pair(roles, "a", zone, 31, zone, 31));
    ck_assert(!has_zone(roles, "a", zone, 30));
    roles_free(roles);
}
END_TEST

START_TEST(service_without_rights_refuses_grants)
{
    static const char *const keys[] = {"may: []", "zones: []", "pin_pairs: []", "zones: [bank]"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char yaml[100];
        snprintf(yaml, sizeof yaml, "roles: [{identity: a, roles: posp, %s}]\n", keys[i]);
        struct roles *roles = NULL;
        struct err e = {0};
        ck_assert_int_eq(grants_try(yaml, NULL, &roles, &e), ERR_INPUT);
        ck_assert_str_eq(
            e.note, "roles[0]: may, zones and pin_pairs say what may be done with keys: they belong into "
                    "the HSM service's configuration; remove them here");
    }
    struct roles *roles = NULL;
    struct err e = {0};
    ck_assert_ok(grants_try("roles: [{identity: a, roles: posp}]\n", NULL, &roles, &e), e);
    ck_assert_uint_eq(rights_of(roles, "a"), 0);
    ck_assert(!has_zone(roles, "a", "bank", 4));
    roles_free(roles);
}
END_TEST

START_TEST(insecure_caller_has_what_its_role_has)
{
    static const struct {
        const char *role;
        unsigned bits;
        bool zone, pair;
    } cases[] = {
        {"all", PAINT | SAND | GLUE, true, true},
        {"posp", PAINT | GLUE, true, false},
        {"issuer, posp, posv, operator, auditor, monitor", PAINT | GLUE, true, false},
        {"operator", 0, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct roles_options options = {.rows = grants_no_rows,
                                              .insecure = true,
                                              .insecure_role = cases[i].role,
                                              .rights = grants_rights};
        struct roles *roles = NULL;
        struct err e = {0};
        ck_assert_ok(roles_new(&options, &roles, &e), e);
        AUTO(roles_view) view = {0};
        roles_view_init(&view, roles, NULL);
        ck_assert(view.insecure);
        ck_assert_uint_eq(view.rights, cases[i].bits);
        ck_assert(roles_view_has_zone(&view, "bank", 4) == cases[i].zone);
        ck_assert(roles_view_has_pin_pair(&view, "a", 1, "b", 1) == cases[i].pair);
        roles_free(roles);
    }
}
END_TEST

START_TEST(calls_follow_a_change_and_a_view_stays)
{
    struct roles *roles = grants_make(estate);
    struct err e = {0};
    AUTO(roles_view) view = {0};
    roles_view_init(&view, roles, "second");
    ck_assert_ok(grants_replace(
                     roles, "roles: [{identity: second, roles: posp, zones: [north], may: [glue-hot]}]", &e),
                 e);
    ck_assert_uint_eq(rights_of(roles, "second"), GLUE);
    ck_assert(has_zone(roles, "second", "north", 5));
    ck_assert(!has_zone(roles, "second", "acquirer2", 9));
    ck_assert_uint_eq(rights_of(roles, "posp"), 0);
    ck_assert_uint_eq(view.rights, PAINT | SAND);
    ck_assert(roles_view_has_zone(&view, "acquirer2", 9));
    ck_assert(!roles_view_has_zone(&view, "north", 5));
    ck_assert_int_eq(grants_replace(roles, "roles: [{identity: second, roles: posp, may: [weld]}]", &e),
                     ERR_INPUT);
    ck_assert_uint_eq(rights_of(roles, "second"), GLUE);
    roles_view_drop(&view);
    ck_assert(!roles_view_has_zone(&view, "acquirer2", 9));
    roles_free(roles);
}
END_TEST

#define ROUNDS 2000

static void *look(void *context)
{
    for (int i = 0; i < ROUNDS; i++) {
        AUTO(roles_view) view = {0};
        roles_view_init(&view, context, "a");
        /* Both of one configuration. */
        ck_assert(roles_view_has_zone(&view, "north", 5) == (view.rights == PAINT));
        ck_assert(roles_view_has_zone(&view, "south", 5) == (view.rights == GLUE));
    }
    return NULL;
}

START_TEST(views_are_whole_while_grants_change)
{
    static const char *const texts[] = {
        "roles: [{identity: a, roles: posp, zones: [north], may: [paint]}]",
        "roles: [{identity: a, roles: posp, zones: [south], may: [glue-hot]}]"};
    struct roles *roles = grants_make(texts[0]);
    struct err e = {0};
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, look, roles), 0);
    for (int i = 0; i < ROUNDS / 10; i++)
        ck_assert_ok(grants_replace(roles, texts[i % 2], &e), e);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    roles_free(roles);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("grants");
    TCase *tc = tcase_create("grants");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, rights_are_the_defaults_or_what_is_named);
    tcase_add_test(tc, zones_are_all_or_what_is_named);
    tcase_add_test(tc, pin_pairs_are_those_that_are_named);
    tcase_add_loop_test(tc, grants_that_are_wrong_are_refused, 0, (int)(sizeof refused / sizeof refused[0]));
    tcase_add_test(tc, zone_of_31_characters_is_one);
    tcase_add_test(tc, service_without_rights_refuses_grants);
    tcase_add_test(tc, insecure_caller_has_what_its_role_has);
    tcase_add_test(tc, calls_follow_a_change_and_a_view_stays);
    tcase_add_test(tc, views_are_whole_while_grants_change);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

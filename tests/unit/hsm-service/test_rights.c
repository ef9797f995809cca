/* What a caller may do with which keys: every operation with every right, and with keys of zones that are
 * granted and that are not. */
#include "hsm-service/gate/rights.h"

#include "hsm-service/front/front.h"
#include "tests/support/suite.h"

#include <string.h>

/* The keys of an operation, first to last; "-" is a blob. */
struct use_case {
    enum rights_operation operation;
    const char *keys[2];
    bool response_mti;
    const char *rights;  /* one of them is needed; "any": no right is, "none": no right does */
    const char *zones;   /* those that have to be granted */
    const char *missing; /* in the note without any right */
};

static const struct use_case cases[] = {
    {RIGHTS_DIVERSIFY_CARD_KEY, {0}, false, "card-key", "", "DiversifyCardKey needs the right card-key"},
    {RIGHTS_GENERATE_WORKING_KEYS, {0}, false, "working-keys", "", "needs the right working-keys"},
    {RIGHTS_RESEAL_BLOBS, {0}, false, "reseal", "", "ResealBlobs needs the right reseal"},
    {RIGHTS_REPORT_KEY_USE, {0}, false, "report-use", "", "ReportKeyUse needs the right report-use"},
    {RIGHTS_GENERATE_MAC,
     {"-"},
     true,
     "answer-mac any-mac",
     "",
     "GenerateMac of an answer under a terminal's key needs the right answer-mac"},
    {RIGHTS_GENERATE_MAC,
     {"-"},
     false,
     "any-mac",
     "",
     "GenerateMac under a terminal's key needs the right any-mac"},
    {RIGHTS_GENERATE_MAC,
     {"north"},
     false,
     "zone-mac",
     "north",
     "GenerateMac under a key of a zone needs the right zone-mac"},
    {RIGHTS_GENERATE_MAC, {"north"}, true, "zone-mac", "north", "needs the right zone-mac"},
    {RIGHTS_VERIFY_MAC, {"-"}, false, "verify-mac", "", "needs the right verify-mac"},
    {RIGHTS_VERIFY_MAC, {"-"}, true, "verify-mac", "", "needs the right verify-mac"},
    {RIGHTS_VERIFY_MAC, {"north"}, false, "zone-mac", "north", "needs the right zone-mac"},
    {RIGHTS_ENCRYPT_DATA, {"-"}, false, "encrypt-data", "", "needs the right encrypt-data"},
    {RIGHTS_ENCRYPT_DATA, {"north"}, false, "zone-data", "north", "needs the right zone-data"},
    {RIGHTS_DECRYPT_DATA, {"-"}, false, "decrypt-data", "", "needs the right decrypt-data"},
    {RIGHTS_DECRYPT_DATA, {"north"}, false, "zone-data", "north", "needs the right zone-data"},
    {RIGHTS_PROCESS_TRANSACTION, {0}, false, "transaction", "", "needs the right transaction"},
    {RIGHTS_PROCESS_TRANSACTION, {"north"}, false, "transaction", "north", "needs the right transaction"},
    {RIGHTS_PROCESS_TRANSACTION, {"-"}, false, "none", "", "to a terminal's key is refused to everyone"},
    {RIGHTS_TRANSLATE_PIN, {"-", "north"}, false, "translate-pin", "north", "needs the right translate-pin"},
    {RIGHTS_TRANSLATE_PIN, {"-", "-"}, false, "none", "", "to a terminal's key is refused to everyone"},
    {RIGHTS_TRANSLATE_PIN, {"north", "-"}, false, "none", "", "to a terminal's key is refused to everyone"},
    {RIGHTS_TRANSLATE_PIN, {"south", "north"}, false, "any", "north south", ""}, /* its pair is granted */
    {RIGHTS_TRANSLATE_PIN, {"north", "south"}, false, "none", "", "needs the pair north>south"},
    {RIGHTS_TRANSLATE_PIN, {"north", "north"}, false, "none", "", "needs the pair north>north"},
};
#define CASES (sizeof cases / sizeof cases[0])

static bool names_word(const char *words, const char *word)
{
    const size_t len = strlen(word);
    for (const char *at = words; (at = strstr(at, word)) != NULL; at += len)
        if ((at == words || at[-1] == ' ') && (at[len] == '\0' || strchr(" \n", at[len]) != NULL))
            return true;
    return false;
}

static struct rights_use use_of(const struct use_case *c)
{
    struct rights_use use = {.operation = c->operation, .response_mti = c->response_mti};
    for (; use.key_count < 2 && c->keys[use.key_count] != NULL; use.key_count++)
        if (strcmp(c->keys[use.key_count], "-") != 0) {
            use.keys[use.key_count].zone = c->keys[use.key_count];
            use.keys[use.key_count].zone_len = strlen(c->keys[use.key_count]);
        }
    return use;
}

/* `zones` NULL: all. */
static struct roles *make(const struct roles_name *may, size_t may_count, const struct roles_name *zones,
                          size_t zone_count)
{
    static struct roles_name pair[] = {{(char *)"south>north"}};
    const bool both = zones == NULL || zone_count == 2;
    const struct roles_grant grant = {
        .identity = (char *)"a",
        .roles = (char *)"posp",
        .may = {.items = (void *)(uintptr_t)may, .count = may_count, .given = true},
        .zones = {.items = (void *)(uintptr_t)zones, .count = zone_count, .given = zones != NULL},
        .pin_pairs = {.items = pair, .count = both, .given = both}};
    const struct roles_options options = {.rows = front_roles,
                                          .grants = &grant,
                                          .grant_count = 1,
                                          .insecure_role = "all",
                                          .rights = rights_table};
    struct roles *roles = NULL;
    struct err e = {0};
    ck_assert_ok(roles_new(&options, &roles, &e), e);
    return roles;
}

static enum err_code check_as(struct roles *roles, const struct use_case *c, struct err *e)
{
    const struct rights_use use = use_of(c);
    AUTO(roles_view) view = {0};
    roles_view_init(&view, roles, "a");
    const enum err_code code = rights_check(&view, &use, e);
    ck_assert(code == ERR_OK || code == ERR_DENIED);
    return code;
}

START_TEST(operation_passes_by_its_right_alone)
{
    for (const struct roles_right *right = rights_table; right->name != NULL; right++) {
        const struct roles_name may[] = {{(char *)(uintptr_t)right->name}};
        struct roles *roles = make(may, 1, NULL, 0);
        for (size_t i = 0; i < CASES; i++) {
            struct err e = {0};
            const bool passes =
                names_word(cases[i].rights, right->name) || strcmp(cases[i].rights, "any") == 0;
            ck_assert_msg((check_as(roles, &cases[i], &e) == ERR_OK) == passes, "%s, case %zu: %s",
                          right->name, i, e.note);
        }
        roles_free(roles);
    }
}
END_TEST

START_TEST(operation_without_rights_is_refused_by_name)
{
    struct roles *roles = make(NULL, 0, NULL, 0);
    for (size_t i = 0; i < CASES; i++) {
        struct err e = {0};
        const bool passes = strcmp(cases[i].rights, "any") == 0;
        ck_assert_msg((check_as(roles, &cases[i], &e) == ERR_OK) == passes, "case %zu: %s", i, e.note);
        ck_assert_msg(strstr(e.note, cases[i].missing) != NULL, "case %zu: %s", i, e.note);
        if (strstr(e.note, "needs the right") != NULL)
            ck_assert_msg(strstr(e.note, ": add it to may of this identity in roles") != NULL, "%s", e.note);
        if (strstr(e.note, "needs the pair") != NULL)
            ck_assert_msg(strstr(e.note, ": add it to pin_pairs of this identity in roles") != NULL, "%s",
                          e.note);
    }
    roles_free(roles);
}
END_TEST

static struct roles *make_with_every_right(const struct roles_name *zones, size_t zone_count)
{
    struct roles_name may[ROLES_MAY_MAX];
    size_t count = 0;
    for (const struct roles_right *right = rights_table; right->name != NULL; right++)
        may[count++].text = (char *)(uintptr_t)right->name;
    return make(may, count, zones, zone_count);
}

START_TEST(operation_needs_every_zone_that_it_names)
{
    static const struct roles_name sets[][2] = {
        {{NULL}, {NULL}},
        {{(char *)"north"}, {NULL}},
        {{(char *)"south"}, {NULL}},
        {{(char *)"north"}, {(char *)"south"}},
    };
    for (size_t s = 0; s < sizeof sets / sizeof sets[0]; s++) {
        const size_t count = (size_t)(sets[s][0].text != NULL) + (size_t)(sets[s][1].text != NULL);
        struct roles *roles = make_with_every_right(sets[s], count);
        for (size_t i = 0; i < CASES; i++) {
            struct err e = {0};
            bool passes = strcmp(cases[i].rights, "none") != 0;
            for (size_t zone = 0; zone < 2; zone++) {
                static const char *const names[] = {"north", "south"};
                const bool has = (count > 0 && strcmp(sets[s][0].text, names[zone]) == 0) ||
                                 (count > 1 && strcmp(sets[s][1].text, names[zone]) == 0);
                passes = passes && (has || !names_word(cases[i].zones, names[zone]));
            }
            ck_assert_msg((check_as(roles, &cases[i], &e) == ERR_OK) == passes, "zones %zu, case %zu: %s", s,
                          i, e.note);
        }
        roles_free(roles);
    }
}
END_TEST

START_TEST(zone_that_is_missing_is_named)
{
    static const struct roles_name zones[] = {{(char *)"north"}};
    static const struct {
        const char *zone;
        size_t len;
        const char *note;
    } names[] = {
        {"nort", 4, "VerifyMac with a key of zone nort: add it to zones of this identity in roles"},
        {"northern", 8, "key of zone northern:"},
        {"no\nth\0\xff", 7, "key of zone no?th??:"},
        {"", 0, "key of zone :"},
        {"aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd", 40, "zone aaaaaaaaaabbbbbbbbbbccccccccccd: add"},
    };
    struct roles *roles = make_with_every_right(zones, 1);
    AUTO(roles_view) view = {0};
    roles_view_init(&view, roles, "a");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct rights_use use = {.operation = RIGHTS_VERIFY_MAC,
                                       .keys = {{.zone = names[i].zone, .zone_len = names[i].len}},
                                       .key_count = 1};
        struct err e = {0};
        ck_assert_int_eq(rights_check(&view, &use, &e), ERR_DENIED);
        ck_assert_msg(strstr(e.note, names[i].note) != NULL, "%s", e.note);
    }
    roles_free(roles);
}
END_TEST

START_TEST(nobody_may_do_nothing)
{
    struct roles *roles = make_with_every_right(NULL, 0);
    static const char *const others[] = {"b", "", NULL};
    for (size_t who = 0; who < 3; who++)
        for (size_t i = 0; i < CASES; i++) {
            const struct rights_use use = use_of(&cases[i]);
            struct err e = {0};
            AUTO(roles_view) view = {0};
            roles_view_init(&view, roles, others[who]);
            ck_assert_int_eq(rights_check(&view, &use, &e), ERR_DENIED);
        }
    roles_free(roles);
}
END_TEST

/* Insecure "all" may do what anybody may be granted; the direction of a PIN is not granted. */
START_TEST(insecure_caller_is_told_of_its_role)
{
    static const char *const insecure_roles[] = {"all", "posp"};
    for (size_t r = 0; r < 2; r++) {
        const struct roles_options options = {.rows = front_roles,
                                              .insecure = true,
                                              .insecure_role = insecure_roles[r],
                                              .rights = rights_table};
        struct roles *roles = NULL;
        struct err e = {0};
        ck_assert_ok(roles_new(&options, &roles, &e), e);
        for (size_t i = 0; i < CASES; i++) {
            e = (struct err){0};
            const enum err_code code = check_as(roles, &cases[i], &e);
            const bool to_terminal = strstr(cases[i].missing, "refused to everyone") != NULL;
            if (r == 0)
                ck_assert_msg((code == ERR_DENIED) == to_terminal, "case %zu: %s", i, e.note);
            else if (code != ERR_OK && !to_terminal)
                ck_assert_msg(strstr(e.note, "insecure_role") != NULL, "case %zu: %s", i, e.note);
        }
        roles_free(roles);
    }
}
END_TEST

START_TEST(role_posp_has_by_default_what_a_front_end_needs)
{
    static const char defaults[] = "card-key working-keys transaction answer-mac reseal report-use";
    for (const struct roles_right *right = rights_table; right->name != NULL; right++)
        ck_assert_msg((right->defaults == ROLE_POSP) == names_word(defaults, right->name) &&
                          (right->defaults & ~(unsigned)ROLE_POSP) == 0,
                      "%s", right->name);
}
END_TEST

START_TEST(keys_that_an_operation_does_not_have_are_our_own_fault)
{
    struct roles *roles = make_with_every_right(NULL, 0);
    AUTO(roles_view) view = {0};
    roles_view_init(&view, roles, "a");
    for (int operation = 0; operation < RIGHTS_OPERATIONS; operation++) {
        bool known[3] = {false};
        for (size_t i = 0; i < CASES; i++)
            if (cases[i].operation == (enum rights_operation)operation)
                known[use_of(&cases[i]).key_count] = true;
        ck_assert_msg(known[0] || known[1] || known[2], "%s has no case",
                      rights_operation_name((enum rights_operation)operation));
        for (size_t count = 0; count < 3; count++) {
            const struct rights_use use = {.operation = (enum rights_operation)operation,
                                           .keys = {{"north", 5}, {"north", 5}},
                                           .key_count = count};
            struct err e = {0};
            if (!known[count])
                ck_assert_int_eq(rights_check(&view, &use, &e), ERR_INTERNAL);
        }
    }
    roles_free(roles);
}
END_TEST

/* A right that roles could not use, or an operation that no right is about, would be a slip in a table. */
START_TEST(rights_are_about_methods_that_their_roles_may_call)
{
    for (int operation = 0; operation < RIGHTS_OPERATIONS; operation++) {
        const char *const name = rights_operation_name((enum rights_operation)operation);
        const struct roles_row *row = front_roles;
        while (row->path != NULL && strcmp(strrchr(row->path, '/') + 1, name) != 0)
            row++;
        ck_assert_msg(row->path != NULL, "%s", name);
        size_t about = 0;
        for (const struct roles_right *right = rights_table; right->name != NULL; right++)
            if (strstr(right->help, name) != NULL) {
                ck_assert_msg((right->roles & ~row->allowed) == 0, "%s %s", right->name, name);
                ck_assert_msg((right->defaults & ~right->roles) == 0, "%s", right->name);
                about++;
            }
        ck_assert_msg(about > 0, "no right is about %s", name);
    }
}
END_TEST

/* Whoever writes a configuration or a client looks there. */
START_TEST(rights_stand_in_manual_and_sample)
{
    static const char *const files[] = {"proto/posward/hsm/v1/hsm.proto", "deploy/config/hsm.yaml"};
    for (size_t f = 0; f < 2; f++) {
        static char text[131072];
        char path[400];
        snprintf(path, sizeof path, "%s/%s", getenv("POSWARD_SOURCE"), files[f]);
        FILE *const file = fopen(path, "re");
        ck_assert_msg(file != NULL, "%s", path);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
        for (const struct roles_right *right = rights_table; right->name != NULL; right++)
            ck_assert_msg(names_word(text, right->name), "%s does not name %s", files[f], right->name);
    }
}
END_TEST

START_TEST(response_mti_is_told_from_a_request)
{
    static const struct {
        uint8_t data[3];
        size_t len;
        bool is;
    } datas[] = {
        {{0x02, 0x10, 0x70}, 3, true}, {{0x02, 0x10}, 2, true},  {{0x04, 0x10}, 2, true},
        {{0x08, 0x10}, 2, true},       {{0x03, 0x30}, 2, true},  {{0x04, 0x30}, 2, true},
        {{0x06, 0x50}, 2, true},       {{0x02, 0x11}, 2, true},  {{0x02, 0x00}, 2, false},
        {{0x03, 0x20}, 2, false},      {{0x04, 0x00}, 2, false}, {{0x08, 0x20}, 2, false},
        {{0x02, 0x40}, 2, false},      {{0x02, 0x70}, 2, false}, {{0x02, 0x90}, 2, false},
        {{0x02, 0xB0}, 2, false},      {{0x12, 0x10}, 2, false}, {{0x0A, 0x10}, 2, false},
        {{0x02, 0x1A}, 2, false},      {{0x02}, 1, false},       {{0}, 0, false},
        {{'0', '2', '1'}, 3, false}, /* ASCII is not how terminals write it */
    };
    for (size_t i = 0; i < sizeof datas / sizeof datas[0]; i++)
        ck_assert_msg(rights_is_response_mti(datas[i].data, datas[i].len) == datas[i].is, "case %zu", i);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("rights");
    TCase *tc = tcase_create("rights");
    tcase_add_test(tc, operation_passes_by_its_right_alone);
    tcase_add_test(tc, operation_without_rights_is_refused_by_name);
    tcase_add_test(tc, operation_needs_every_zone_that_it_names);
    tcase_add_test(tc, zone_that_is_missing_is_named);
    tcase_add_test(tc, nobody_may_do_nothing);
    tcase_add_test(tc, insecure_caller_is_told_of_its_role);
    tcase_add_test(tc, role_posp_has_by_default_what_a_front_end_needs);
    tcase_add_test(tc, keys_that_an_operation_does_not_have_are_our_own_fault);
    tcase_add_test(tc, rights_are_about_methods_that_their_roles_may_call);
    tcase_add_test(tc, rights_stand_in_manual_and_sample);
    tcase_add_test(tc, response_mti_is_told_from_a_request);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

/* The engine of roles: who passes, who is refused and how that is said, counted and logged. */
#include "run/roles.h"

#include "tests/support/suite.h"

#include <posward/business/v1/business.pb-c.h>
#include <string.h>
#include <unistd.h>

#define AUTHORIZE_NAME "posward.business.v1.Business/Authorize"
#define AUTHORIZE      "/" AUTHORIZE_NAME
#define REVERSE        "/posward.business.v1.Business/Reverse"
#define STATUS_NAME    "posward.business.v1.Business/GetStatus"
#define STATUS         "/" STATUS_NAME
#define REFLECT        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"

static const struct roles_row rows[] = {
    {AUTHORIZE, ROLE_POSP},
    {REVERSE, 0}, /* nobody */
    {STATUS, ROLE_OPERATOR | ROLE_MONITOR},
    {0},
};

static struct roles_grant grants[] = {
    {(char *)"spiffe://posward/posp", (char *)"posp"},
    {(char *)"spiffe://posward/both", (char *)" monitor,posp "},
    {(char *)"ada", (char *)"operator"},
    {(char *)"spiffe://posward/issuer", (char *)"issuer posv auditor"},
};

static struct roles_options options_of(void)
{
    return (struct roles_options){
        .rows = rows, .grants = grants, .grant_count = 4, .insecure_role = "all", .reflection = true};
}

static struct roles *make(const struct roles_options *options)
{
    struct roles *roles = NULL;
    struct err e = {0};
    ck_assert_ok(roles_new(options, &roles, &e), e);
    return roles;
}

static enum err_code ask(struct roles *roles, const char *identity, const char *path, struct err *e)
{
    const struct rpc_peer peer = {.address = "ipv4:127.0.0.1:1", .identity = identity};
    return roles_authorise(roles, &peer, path, e);
}

START_TEST(roles_pass_and_refuse_by_the_table)
{
    static const struct {
        const char *identity, *path;
        enum err_code code;
    } cases[] = {
        {"spiffe://posward/posp", AUTHORIZE, ERR_OK},
        {"spiffe://posward/posp", STATUS, ERR_DENIED},
        {"spiffe://posward/both", AUTHORIZE, ERR_OK},
        {"spiffe://posward/both", STATUS, ERR_OK},
        {"ada", STATUS, ERR_OK},
        {"ada", AUTHORIZE, ERR_DENIED},
        {"ada", REVERSE, ERR_DENIED},
        {"Ada", STATUS, ERR_DENIED},
        {"ad", STATUS, ERR_DENIED},
        {"ada ", STATUS, ERR_DENIED},
        {"", STATUS, ERR_DENIED},
        {"spiffe://posward/issuer", STATUS, ERR_DENIED},
        {"spiffe://posward/issuer", REFLECT, ERR_OK}, /* also an auditor */
        {"spiffe://posward/posp", REFLECT, ERR_DENIED},
        {"ada", "/posward.business.v1.Business/Unheard", ERR_DENIED},
        {NULL, STATUS, ERR_UNAUTHENTICATED},
        {NULL, REFLECT, ERR_UNAUTHENTICATED},
    };
    const struct roles_options options = options_of();
    struct roles *roles = make(&options);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err e = {0};
        const enum err_code code = ask(roles, cases[i].identity, cases[i].path, &e);
        ck_assert_msg(code == cases[i].code, "case %zu: %d %s", i, code, e.note);
    }
    roles_free(roles);
}
END_TEST

START_TEST(roles_are_replaced_all_or_none)
{
    const struct roles_options options = options_of();
    const struct roles_grant fresh[] = {{(char *)"ada", (char *)"posp"}, {(char *)"bob", (char *)"monitor"}};
    const struct roles_grant wrong[] = {{(char *)"eve", (char *)"posp"}, {(char *)"bob", (char *)"root"}};
    struct roles *roles = make(&options);
    struct err e = {0};
    ck_assert_ok(roles_replace(roles, fresh, 2, &e), e);
    for (int i = 0; i < 2; i++) {
        ck_assert_ok(ask(roles, "ada", AUTHORIZE, &e), e);
        ck_assert_ok(ask(roles, "bob", STATUS, &e), e);
        ck_assert_int_eq(ask(roles, "ada", STATUS, &e), ERR_DENIED);
        ck_assert_int_eq(ask(roles, "spiffe://posward/posp", AUTHORIZE, &e), ERR_DENIED);
        ck_assert_int_eq(ask(roles, "eve", AUTHORIZE, &e), ERR_DENIED);
        ck_assert_int_eq(roles_replace(roles, wrong, 2, &e), ERR_INPUT);
        ck_assert_ptr_nonnull(strstr(e.note, "roles[1]: 'root' is no role"));
        ck_assert_int_eq(roles_replace(roles, NULL, 0, &e), ERR_INPUT);
    }
    roles_free(roles);
}
END_TEST

START_TEST(roles_refusal_names_identity_method_and_roles)
{
    const struct roles_options options = options_of();
    struct roles *roles = make(&options);
    struct err e = {0};
    ck_assert_int_eq(ask(roles, "spiffe://posward/posp", STATUS, &e), ERR_DENIED);
    ck_assert_str_eq(e.note,
                     "spiffe://posward/posp may not call " STATUS "; roles that may: operator, monitor");
    ck_assert_int_eq(ask(roles, "ada", REVERSE, &e), ERR_DENIED);
    ck_assert_ptr_nonnull(strstr(e.note, "roles that may: none"));
    ck_assert_int_eq(ask(roles, NULL, STATUS, &e), ERR_UNAUTHENTICATED);
    ck_assert_ptr_nonnull(strstr(e.note, "certificate"));
    ck_assert_ptr_nonnull(strstr(e.note, "operator, monitor"));
    roles_free(roles);
}
END_TEST

START_TEST(roles_insecure_gives_the_configured_role)
{
    struct roles_options options = options_of();
    struct err e = {0};
    options.insecure = true;
    struct roles *all = make(&options);
    ck_assert_ok(ask(all, NULL, AUTHORIZE, &e), e);
    ck_assert_int_eq(ask(all, NULL, REVERSE, &e), ERR_DENIED);
    roles_free(all);
    options.insecure_role = "operator";
    struct roles *one = make(&options);
    ck_assert_ok(ask(one, NULL, STATUS, &e), e);
    ck_assert_int_eq(ask(one, NULL, AUTHORIZE, &e), ERR_DENIED);
    ck_assert_ptr_nonnull(strstr(e.note, "an insecure caller"));
    roles_free(one);
}
END_TEST

START_TEST(roles_without_reflection_refuse_it_to_all)
{
    struct roles_options options = options_of();
    options.reflection = false;
    struct roles *roles = make(&options);
    struct err e = {0};
    ck_assert_int_eq(ask(roles, "ada", REFLECT, &e), ERR_DENIED);
    roles_free(roles);
}
END_TEST

START_TEST(roles_new_refuses_a_configuration_that_is_wrong)
{
    static struct roles_grant unknown[] = {{(char *)"a", (char *)"posp, root"}};
    static struct roles_grant every[] = {{(char *)"a", (char *)"all"}};
    static struct roles_grant none[] = {{(char *)"a", (char *)" , "}};
    static struct roles_grant twice[] = {
        {(char *)"a", (char *)"posp"}, {(char *)"b", (char *)"posp"}, {(char *)"a", (char *)"posv"}};
    static const struct roles_row doubled[] = {{STATUS, ROLE_POSP}, {STATUS, ROLE_ALL}, {0}};
    const struct {
        const struct roles_row *rows;
        const struct roles_grant *grants;
        size_t count;
        const char *insecure_role;
        enum err_code code;
        const char *note;
    } cases[] = {
        {rows, unknown, 1, "all", ERR_INPUT, "roles[0]: 'root' is no role"},
        {rows, every, 1, "all", ERR_INPUT, "'all' is no role"},
        {rows, none, 1, "all", ERR_INPUT, "no role is named"},
        {rows, twice, 3, "all", ERR_INPUT, "identity a stands twice"},
        {rows, grants, 0, "all", ERR_INPUT, "roles is empty"},
        {rows, grants, 4, "posp every", ERR_INPUT, "insecure_role"},
        {rows, grants, 4, "", ERR_INPUT, "insecure_role"},
        {doubled, grants, 4, "all", ERR_INTERNAL, "GetStatus has two rows"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct roles_options options = options_of();
        options.rows = cases[i].rows;
        options.grants = cases[i].grants;
        options.grant_count = cases[i].count;
        options.insecure_role = cases[i].insecure_role;
        struct roles *roles = NULL;
        struct err e = {0};
        ck_assert_msg(roles_new(&options, &roles, &e) == cases[i].code, "case %zu: %s", i, e.note);
        ck_assert_msg(strstr(e.note, cases[i].note) != NULL, "case %zu: %s", i, e.note);
        ck_assert_ptr_null(roles);
    }
}
END_TEST

static Posward__Business__V1__Business_Service business = {.base =
                                                               POSWARD__BUSINESS__V1__BUSINESS__BASE_INIT};

START_TEST(roles_check_served_names_the_method)
{
    static const struct roles_row short_rows[] = {{AUTHORIZE, ROLE_POSP}, {STATUS, ROLE_POSP}, {0}};
    static const struct roles_row long_rows[] = {{AUTHORIZE, ROLE_POSP},
                                                 {REVERSE, ROLE_POSP},
                                                 {STATUS, ROLE_POSP},
                                                 {"/posward.business.v1.Business/Gone", ROLE_POSP},
                                                 {0}};
    static const struct roles_row other_rows[] = {
        {AUTHORIZE, ROLE_POSP}, {REVERSE, ROLE_POSP}, {STATUS, ROLE_POSP, 1}, {0}};
    static const struct roles_row far_rows[] = {{AUTHORIZE, ROLE_POSP},
                                                {REVERSE, ROLE_POSP},
                                                {STATUS, ROLE_POSP},
                                                {"/posward.business.v1.Business/Gone", ROLE_POSP, 1},
                                                {0}};
    static const struct {
        const struct roles_row *rows;
        const char *note; /* NULL: fits */
    } cases[] = {
        {rows, NULL},
        {short_rows, REVERSE " is served but has no row"},
        {other_rows, STATUS " is served on server 0; its row in the table of roles says 1"},
        {far_rows,
         "/posward.business.v1.Business/Gone has a row for server 1 in the table of roles; there are 1"},
        {long_rows, "/posward.business.v1.Business/Gone has a row in the table of roles but is not served"},
    };
    const struct rpc_server_options server_options = {.listen = "127.0.0.1:0", .tls.insecure = true};
    struct rpc_server *server = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_server_new(&server_options, &server, &e), e);
    ck_assert_ok(rpc_server_add(server, &business.base, &e), e);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct roles_options options = options_of();
        options.rows = cases[i].rows;
        struct roles *roles = make(&options);
        const enum err_code code = roles_check_served(roles, &server, 1, &e);
        ck_assert_int_eq(code, cases[i].note == NULL ? ERR_OK : ERR_INTERNAL);
        if (cases[i].note != NULL)
            ck_assert_msg(strstr(e.note, cases[i].note) != NULL, "case %zu: %s", i, e.note);
        roles_free(roles);
    }
    rpc_server_free(server);
}
END_TEST

static size_t lines_of(const char *log, const char *text)
{
    size_t lines = 0;
    for (const char *at = log; (at = strstr(at, text)) != NULL; at++)
        lines++;
    return lines;
}

START_TEST(roles_refusals_are_counted_and_logged_joined)
{
    char name[64], page[8192] = "", log[16384] = "";
    suite_scratch_name("roles", name, sizeof name);
    const int file = mkstemp(name), kept = dup(STDERR_FILENO);
    ck_assert_int_ge(file, 0);
    const struct roles_options options = options_of();
    struct roles *roles = make(&options);
    (void)dup2(file, STDERR_FILENO);
    struct err e = {0};
    for (int i = 0; i < 20000; i++)
        ck_assert_int_eq(ask(roles, "spiffe://posward/posp", STATUS, &e), ERR_DENIED);
    ck_assert_int_eq(ask(roles, NULL, STATUS, &e), ERR_UNAUTHENTICATED);
    for (int i = 0; i < 300; i++)
        roles_refuse_right(roles, "spiffe://posward/posp", STATUS, "add it to zones");
    roles_refuse_right(roles, "spiffe://posward/posp", "/no/Method", "it is logged, and counted nowhere");
    FILE *out = fmemopen(page, sizeof page, "w");
    roles_metrics(roles, &(struct prometheus){.out = out});
    fclose(out);
    roles_free(roles); /* logs the rest */
    (void)dup2(kept, STDERR_FILENO);
    close(kept);
    ck_assert_int_gt(pread(file, log, sizeof log - 1, 0), 0);
    close(file);
    ck_assert_uint_eq(lines_of(log, "call refused reason"), 4);
    ck_assert_uint_eq(lines_of(log, "call refused reason=right identity=spiffe://posward/posp"), 2);
    ck_assert_ptr_nonnull(strstr(log, "call refused again reason=right"));
    unsigned long count = 0;
    for (const char *at = log; (at = strstr(at, "count=")) != NULL; at++)
        count += strtoul(at + strlen("count="), NULL, 10);
    ck_assert_uint_eq(count, 19999 + 299);
    ck_assert_uint_le(lines_of(log, "call refused again"), 10); /* one, unless the machine is very slow */
    ck_assert_ptr_nonnull(strstr(log, "spiffe://posward/posp"));
    ck_assert_ptr_nonnull(
        strstr(page, "posward_refusals_total{method=\"" STATUS_NAME "\",reason=\"denied\"} 20000\n"));
    ck_assert_ptr_nonnull(
        strstr(page, "posward_refusals_total{method=\"" STATUS_NAME "\",reason=\"unauthenticated\"} 1\n"));
    ck_assert_ptr_nonnull(
        strstr(page, "posward_refusals_total{method=\"" STATUS_NAME "\",reason=\"right\"} 300\n"));
    ck_assert_ptr_nonnull(
        strstr(page, "posward_refusals_total{method=\"" AUTHORIZE_NAME "\",reason=\"denied\"} 0\n"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("roles");
    TCase *tc = tcase_create("roles");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, roles_pass_and_refuse_by_the_table);
    tcase_add_test(tc, roles_are_replaced_all_or_none);
    tcase_add_test(tc, roles_refusal_names_identity_method_and_roles);
    tcase_add_test(tc, roles_insecure_gives_the_configured_role);
    tcase_add_test(tc, roles_without_reflection_refuse_it_to_all);
    tcase_add_test(tc, roles_new_refuses_a_configuration_that_is_wrong);
    tcase_add_test(tc, roles_check_served_names_the_method);
    tcase_add_test(tc, roles_refusals_are_counted_and_logged_joined);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

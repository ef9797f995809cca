#include "base/conf.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct route {
    char *name;
    int64_t weight;
    struct conf_items bins;
};

struct bin {
    char *digits;
};

struct config {
    char *policy, *listen, *token, *store;
    int64_t store_seconds;
    int64_t count;
    bool strict;
    struct conf_items routes;
};

static const struct conf_list bin_list = {
    .rows =
        (const struct conf_row[]){{.key = "", .type = CONF_STRING, .offset = offsetof(struct bin, digits)},
                                  CONF_END},
    .item_bytes = sizeof(struct bin)};

static const struct conf_list route_list = {
    .rows =
        (const struct conf_row[]){
            {.key = "name", .type = CONF_STRING, .offset = offsetof(struct route, name), .required = true},
            {.key = "weight", .type = CONF_INT, .offset = offsetof(struct route, weight), .fallback = "1"},
            {.key = "bins",
             .type = CONF_LIST,
             .offset = offsetof(struct route, bins),
             .most = 3,
             .list = &bin_list},
            CONF_END},
    .item_bytes = sizeof(struct route)};

static const struct conf_row rows[] = {
    {.key = "policy",
     .type = CONF_STRING,
     .offset = offsetof(struct config, policy),
     .fallback = "deny",
     .help = "What is done without a rule."},
    {.key = "server.listen",
     .type = CONF_STRING,
     .offset = offsetof(struct config, listen),
     .required = true},
    {.key = "server.token", .type = CONF_STRING, .offset = offsetof(struct config, token)},
    {.key = "server.limits.count",
     .type = CONF_INT,
     .offset = offsetof(struct config, count),
     .fallback = "4",
     .least = 1,
     .most = 16},
    {.key = "strict", .type = CONF_BOOL, .offset = offsetof(struct config, strict), .fallback = "true"},
    {.key = "routes", .type = CONF_LIST, .offset = offsetof(struct config, routes), .list = &route_list},
    {.key = "store.path",
     .formerly = "base.path",
     .type = CONF_STRING,
     .offset = offsetof(struct config, store),
     .fallback = "none"},
    {.key = "store.seconds",
     .formerly = "base.seconds",
     .type = CONF_INT,
     .offset = offsetof(struct config, store_seconds),
     .fallback = "5"},
    CONF_END};

static enum err_code parse(const char *text, struct config *c, struct err *e)
{
    memset(c, 0, sizeof *c);
    return conf_parse("t.yaml", text, strlen(text), rows, c, e);
}

static const char whole[] = "# all of it\n"
                            "policy: allow\n"
                            "server:\n"
                            "  listen: 127.0.0.1:0\n"
                            "  token: \"a b\"\n"
                            "  limits: {count: 16}\n"
                            "strict: false\n"
                            "routes:\n"
                            "  - name: north\n"
                            "    bins: ['62', 0155]\n"
                            "  - {name: south, weight: -3}\n";

START_TEST(conf_reads_every_type)
{
    struct config c;
    struct err e = {0};
    ck_assert_ok(parse(whole, &c, &e), e);
    ck_assert_str_eq(c.policy, "allow");
    ck_assert_str_eq(c.listen, "127.0.0.1:0");
    ck_assert_str_eq(c.token, "a b");
    ck_assert_int_eq(c.count, 16);
    ck_assert(!c.strict);
    ck_assert_uint_eq(c.routes.count, 2);
    const struct route *const routes = c.routes.items;
    ck_assert_str_eq(routes[0].name, "north");
    ck_assert_int_eq(routes[0].weight, 1);
    ck_assert_uint_eq(routes[0].bins.count, 2);
    const struct bin *const bins = routes[0].bins.items;
    ck_assert_str_eq(bins[0].digits, "62");
    ck_assert_str_eq(bins[1].digits, "0155");
    ck_assert_int_eq(routes[1].weight, -3);
    conf_drop(rows, &c);
    ck_assert_ptr_null(c.policy);
    ck_assert_uint_eq(c.routes.count, 0);
}
END_TEST

/* An absent list and an empty one may mean different things to a daemon. */
START_TEST(conf_tells_an_empty_list_from_none)
{
    static const struct {
        const char *item;
        bool given;
        size_t count;
    } cases[] = {
        {"{name: a}", false, 0},
        {"{name: a, bins: []}", true, 0},
        {"{name: a, bins: [1]}", true, 1},
        {"\n    name: a\n    bins:\n      - 1\n      - 2\n", true, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[100];
        snprintf(text, sizeof text, "server.listen: x\nroutes:\n  - %s\n", cases[i].item);
        struct config c;
        struct err e = {0};
        ck_assert_ok(parse(text, &c, &e), e);
        const struct route *const route = c.routes.items;
        ck_assert(c.routes.given);
        ck_assert(route->bins.given == cases[i].given);
        ck_assert_uint_eq(route->bins.count, cases[i].count);
        conf_drop(rows, &c);
        ck_assert(!c.routes.given);
    }
}
END_TEST

START_TEST(conf_uses_fallbacks)
{
    struct config c;
    struct err e = {0};
    ck_assert_ok(parse("server.listen: x\nserver:\n", &c, &e), e);
    ck_assert_str_eq(c.policy, "deny");
    ck_assert_str_eq(c.listen, "x");
    ck_assert_ptr_null(c.token);
    ck_assert_int_eq(c.count, 4);
    ck_assert(c.strict);
    conf_drop(rows, &c);
}
END_TEST

static const struct {
    const char *text, *note;
} refused[] = {
    {"server: {listen: x}\npolciy: allow\n", "t.yaml:2: unknown key 'polciy'; did you mean 'policy'?"},
    {"server:\n  lisen: x\n", "t.yaml:2: unknown key 'server.lisen'; did you mean 'server.listen'?"},
    {"sever:\n  listen: x\n", "t.yaml:1: unknown key 'sever'; did you mean 'server'?"},
    {"server: {limits: {cuont: 1}}\n",
     "t.yaml:1: unknown key 'server.limits.cuont'; did you mean 'server.limits.count'?"},
    {"server: {listen: x}\nzzzzzz: 1\n", "t.yaml:2: unknown key 'zzzzzz'"},
    {"policy: allow\n", "t.yaml:1: 'server.listen' is missing: it has no fallback"},
    {"", "t.yaml:1: 'server.listen' is missing: it has no fallback"},
    {"server: {listen: ''}\n", "t.yaml:1: 'server.listen' must not be empty"},
    {"server: {listen: x, limits: {count: 17}}\n",
     "t.yaml:1: 'server.limits.count' is 17; it must be within 1 and 16"},
    {"server: {listen: x, limits: {count: 5s}}\n",
     "t.yaml:1: 'server.limits.count' is a whole number, not '5s'"},
    {"server: {listen: x, limits: {count: 99999999999999999999}}\n",
     "t.yaml:1: 'server.limits.count' is a whole number, not '99999999999999999999'"},
    {"strict: yes\n", "t.yaml:1: 'strict' is true or false, not 'yes'"},
    {"policy: a\npolicy: b\n", "t.yaml:2: 'policy' stands here a second time"},
    {"server.listen: a\nserver: {listen: b}\n", "t.yaml:2: 'server.listen' stands here a second time"},
    {"policy: &x a\n", "t.yaml:1: anchors and tags are not accepted"},
    {"policy: !!str a\n", "t.yaml:1: anchors and tags are not accepted"},
    {"policy: *x\n", "t.yaml:1: aliases are not accepted"},
    {"server: &x {listen: a}\n", "t.yaml:1: anchors and tags are not accepted"},
    {"policy: a\n---\npolicy: b\n", "t.yaml:2: a second document begins; a configuration is one"},
    {"- a\n", "t.yaml:1: a configuration is a mapping: lines of 'key: value'"},
    {"just text\n", "t.yaml:1: a configuration is a mapping: lines of 'key: value'"},
    {"policy: [a]\n", "t.yaml:1: 'policy' is one value, not a mapping or a list"},
    {"policy: {a: b}\n", "t.yaml:1: 'policy' is one value, not a mapping or a list"},
    {"policy: \"a\\0b\"\n", "t.yaml:1: a value holds a NUL character"},
    {"server: x\n", "t.yaml:1: 'server' holds keys of its own, not a value"},
    {"routes: x\n", "t.yaml:1: 'routes' is a list: each item on a line that begins with '-'"},
    {"routes:\n  - x\n", "t.yaml:2: an item of 'routes' holds keys of its own"},
    {"routes:\n  - name: a\n  - weight: 2\n", "t.yaml:3: 'name' is missing: it has no fallback"},
    {"routes: [{name: a, bins: [[1]]}]\n", "t.yaml:1: an item of 'bins' is a plain value"},
    {"routes: [{name: a, bins: {b: 1}}]\n", "t.yaml:1: 'bins' is one value, not a mapping or a list"},
    {"routes: [{name: a, bins: }]\n", "t.yaml:1: 'bins' is a list: each item on a line that begins with '-'"},
    {"routes: [{name: a, bins: [1], bins: [2]}]\n", "t.yaml:1: 'bins' stands here a second time"},
    {"routes: [{name: a, bins: [1, 2, 3, 4]}]\n", "t.yaml:1: 'bins' has more than 3 items"},
    {"routes: [{nam: a}]\n", "t.yaml:1: unknown key 'nam'; did you mean 'name'?"},
    {"[a]: b\n", "t.yaml:1: a key is a word, not a mapping or a list"},
    {"{[a]: b}\n", "t.yaml:1: a key is a word, not a mapping or a list"},
    {"policy: 'open\n", "t.yaml:2: found unexpected end of stream"},
    {"base: {path: a}\nstore: {path: b}\n",
     "t.yaml:2: 'base.path' and 'store.path' are old and new keys of one section; keep 'store.path'"},
    {"store: {path: a}\nbase: {seconds: 1}\n",
     "t.yaml:2: 'base.seconds' and 'store.path' are old and new keys of one section; keep 'store.path'"},
    {"base: {path: a, seconds: 1}\nstore: {seconds: 2}\n",
     "t.yaml:2: 'base.path' and 'store.seconds' are old and new keys of one section; keep 'store.seconds'"},
    {"base: {path: a}\nbase.path: b\n", "t.yaml:2: 'base.path' stands here a second time"},
    {"bas: {path: a}\n", "t.yaml:1: unknown key 'bas'"},
};

START_TEST(conf_refuses_and_says_where)
{
    struct config c;
    struct err e = {0};
    ck_assert_int_eq(parse(refused[_i].text, &c, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, refused[_i].note);
    ck_assert_ptr_null(c.policy);
    ck_assert_ptr_null(c.routes.items);
}
END_TEST

START_TEST(conf_reads_keys_by_their_old_names_and_warns)
{
    char name[64], log[2048] = "";
    suite_scratch_name("conf-log", name, sizeof name);
    const int file = mkstemp(name), kept = dup(STDERR_FILENO);
    struct config c;
    struct err e = {0};
    (void)dup2(file, STDERR_FILENO);
    const enum err_code code = parse("server.listen: x\nbase:\n  path: /s\n", &c, &e);
    (void)dup2(kept, STDERR_FILENO);
    close(kept);
    ck_assert_ok(code, e);
    ck_assert_str_eq(c.store, "/s");
    ck_assert_int_eq(c.store_seconds, 5);
    conf_drop(rows, &c);
    ck_assert_int_gt(pread(file, log, sizeof log - 1, 0), 0);
    ck_assert_ptr_nonnull(strstr(log, "a key of the configuration has a new name"));
    ck_assert_ptr_nonnull(strstr(log, "file=t.yaml line=3 old=base.path new=store.path"));
    close(file);
    unlink(name);
}
END_TEST

START_TEST(conf_refuses_depth_and_size)
{
    char text[200] = "routes: ";
    memset(text + 8, '[', 100);
    struct config c;
    struct err e = {0};
    ck_assert_int_eq(parse(text, &c, &e), ERR_INPUT);
    const size_t len = 1024 * 1024 + 1;
    char *const big = malloc(len);
    memset(big, '#', len);
    ck_assert_int_eq(conf_parse("big", big, len, rows, &c, &e), ERR_LIMIT);
    free(big);
}
END_TEST

/* Whatever a cut leaves must be refused or filled in whole, and never leak (asan). */
START_TEST(conf_survives_a_cut_at_every_byte)
{
    for (size_t len = 0; len < sizeof whole; len++) {
        struct config c = {0};
        struct err e = {0};
        if (conf_parse("cut", whole, len, rows, &c, &e) == ERR_OK)
            ck_assert_ptr_nonnull(c.listen);
        conf_drop(rows, &c);
    }
}
END_TEST

START_TEST(conf_load_names_a_missing_file_and_reads_one)
{
    struct config c = {0};
    struct err e = {0};
    ck_assert_int_eq(conf_load("/nowhere/x.yaml", rows, &c, &e), ERR_IO);
    ck_assert_str_eq(e.note, "/nowhere/x.yaml: No such file or directory");
    char path[64];
    suite_scratch_name("conf", path, sizeof path);
    const int fd = mkstemp(path);
    ck_assert_int_eq(write(fd, whole, sizeof whole - 1), sizeof whole - 1);
    close(fd);
    ck_assert_ok(conf_load(path, rows, &c, &e), e);
    ck_assert_str_eq(c.policy, "allow");
    conf_drop(rows, &c);
    unlink(path);
    ck_assert_int_eq(conf_load(NULL, rows, &c, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "no configuration file:1: 'server.listen' is missing: it has no fallback");
}
END_TEST

START_TEST(conf_help_names_key_type_and_fallback)
{
    char *text = NULL;
    size_t len = 0;
    FILE *const out = open_memstream(&text, &len);
    conf_print_help(rows, out);
    fclose(out);
    ck_assert_ptr_nonnull(strstr(text, "policy  (text, default deny)\n    What is done without a rule.\n"));
    ck_assert_ptr_nonnull(strstr(text, "server.limits.count  (number within 1 and 16, default 4)\n"));
    ck_assert_ptr_nonnull(strstr(text, "routes[].name  (text, required)\n"));
    free(text);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("conf");
    TCase *tc = tcase_create("conf");
    tcase_add_test(tc, conf_reads_every_type);
    tcase_add_test(tc, conf_tells_an_empty_list_from_none);
    tcase_add_test(tc, conf_uses_fallbacks);
    tcase_add_loop_test(tc, conf_refuses_and_says_where, 0, (int)(sizeof refused / sizeof refused[0]));
    tcase_add_test(tc, conf_reads_keys_by_their_old_names_and_warns);
    tcase_add_test(tc, conf_refuses_depth_and_size);
    tcase_add_test(tc, conf_survives_a_cut_at_every_byte);
    tcase_add_test(tc, conf_load_names_a_missing_file_and_reads_one);
    tcase_add_test(tc, conf_help_names_key_type_and_fallback);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

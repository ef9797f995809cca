/* What a terminal remembers without power: only its own line is taken for it. */
#include "card-emu/terminal/state.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char path[64];
static struct err e;

static void setup(void)
{
    suite_scratch_name("state", path, sizeof path);
    ck_assert_int_ge(close(mkstemp(path)), 0);
}

static void teardown(void)
{
    unlink(path);
}

static void write_text(const char *text, size_t len)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, len, file), len);
    fclose(file);
}

static const char line[] = "posward-terminal 1 batch 7 trace 999999 keys 12 tdk 1 end\n";

START_TEST(state_comes_back_as_it_was_saved)
{
    const struct terminal_state saved = {.batch = 7, .trace = 999999, .key_version = 12, .has_tdk = true};
    struct terminal_state s = {0};
    ck_assert_ok(state_save(path, &saved, &e), e);
    ck_assert_ok(state_load(path, &s, &e), e);
    ck_assert_uint_eq(s.batch, 7);
    ck_assert_uint_eq(s.trace, 999999);
    ck_assert_uint_eq(s.key_version, 12);
    ck_assert(s.has_tdk);
}
END_TEST

START_TEST(state_that_is_cut_is_refused)
{
    struct terminal_state s = {0};
    for (size_t len = 0; len < sizeof line - 1; len++) {
        write_text(line, len);
        ck_assert_int_eq(state_load(path, &s, &e), ERR_CHECK);
    }
    write_text(line, sizeof line - 1);
    ck_assert_ok(state_load(path, &s, &e), e);
}
END_TEST

static const char *const damaged[] = {
    "posward-terminal 1 batch -7 trace 1 keys 1 tdk 0 end\n",
    "posward-terminal 1 batch 0 trace 1 keys 1 tdk 0 end\n",
    "posward-terminal 1 batch 1000000 trace 1 keys 1 tdk 0 end\n",
    "posward-terminal 1 batch 1 trace 1000000 keys 1 tdk 0 end\n",
    "posward-terminal 1 batch 1 trace 99999999999999999999 keys 1 tdk 0 end\n",
    "posward-terminal 1 batch 1 trace 1 keys 1 tdk 2 end\n",
    "posward-terminal 1 batch 1 trace 1 keys 1 tdk 0 end\nmore",
    "posward-terminal 2 batch 1 trace 1 keys 1 tdk 0 end\n",
};

START_TEST(state_that_no_terminal_wrote_is_refused)
{
    struct terminal_state s = {.batch = 3};
    write_text(damaged[_i], strlen(damaged[_i]));
    ck_assert_int_eq(state_load(path, &s, &e), ERR_CHECK);
    ck_assert_uint_eq(s.batch, 3);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("terminal state");
    TCase *tc = tcase_create("state");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, state_comes_back_as_it_was_saved);
    tcase_add_test(tc, state_that_is_cut_is_refused);
    tcase_add_loop_test(tc, state_that_no_terminal_wrote_is_refused, 0, sizeof damaged / sizeof damaged[0]);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

#include "base/log.h"
#include "tests/support/suite.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Run one record through the real sink with standard error turned into a pipe. */
static int saved_stderr, pipe_end;

static void capture_begin(void)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    saved_stderr = dup(STDERR_FILENO);
    ck_assert_int_ne(dup2(fds[1], STDERR_FILENO), -1);
    close(fds[1]);
    pipe_end = fds[0];
}

static void capture_end(char *out, size_t capacity)
{
    ck_assert_int_ne(dup2(saved_stderr, STDERR_FILENO), -1);
    close(saved_stderr);
    const ssize_t n = read(pipe_end, out, capacity - 1);
    out[n > 0 ? n : 0] = '\0';
    close(pipe_end);
}

START_TEST(log_json_is_one_valid_object_a_line)
{
    char line[8192];
    log_setup("unit", LOG_INFO, true);
    capture_begin();
    log_event(LOG_WARN, "a \"quoted\" event", LOG_STR("peer", "a\nb\t\\\x01\xff\"end"), LOG_INT("count", -7),
              LOG_STR("none", NULL));
    capture_end(line, sizeof line);
    ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
    json_error_t why;
    json_t *const record = json_loads(line, JSON_REJECT_DUPLICATES, &why);
    ck_assert_msg(record != NULL, "%s: %s", why.text, line);
    ck_assert_str_eq(json_string_value(json_object_get(record, "event")), "a \"quoted\" event");
    ck_assert_str_eq(json_string_value(json_object_get(record, "level")), "warn");
    ck_assert_str_eq(json_string_value(json_object_get(record, "program")), "unit");
    ck_assert_str_eq(json_string_value(json_object_get(record, "peer")), "a\nb\t\\\x01\xc3\xbf\"end");
    ck_assert_int_eq(json_integer_value(json_object_get(record, "count")), -7);
    ck_assert_str_eq(json_string_value(json_object_get(record, "none")), "");
    json_decref(record);
}
END_TEST

START_TEST(log_json_stays_valid_when_it_is_cut)
{
    char line[8192], *const big = malloc(5000);
    for (int fill = 1900; fill < 2100; fill++) {
        memset(big, 'x', (size_t)fill);
        strcpy(big + fill, "\n\"\\");
        log_setup("unit", LOG_INFO, true);
        capture_begin();
        log_event(LOG_INFO, "long", LOG_STR("big", big), LOG_INT("after", 12345), LOG_STR("last", "y\n"));
        capture_end(line, sizeof line);
        json_error_t why;
        json_t *const record = json_loads(line, 0, &why);
        ck_assert_msg(record != NULL, "%d: %s: %s", fill, why.text, line);
        json_decref(record);
    }
    free(big);
}
END_TEST

START_TEST(log_text_escapes_what_could_forge_a_line)
{
    char line[4096];
    log_setup("unit", LOG_INFO, false);
    capture_begin();
    log_event(LOG_ERROR, "refused", LOG_STR("peer", "x\n2026 info forged: yes"), LOG_STR("esc", "\x1b[31m"));
    capture_end(line, sizeof line);
    ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
    ck_assert_ptr_null(strchr(line, '\x1b'));
    ck_assert_ptr_nonnull(strstr(line, " error unit: refused peer=\"x\\u000a2026 info forged: yes\" "));
}
END_TEST

START_TEST(log_leaves_out_what_is_below_the_level)
{
    char line[4096];
    log_setup("unit", LOG_WARN, false);
    capture_begin();
    log_event(LOG_INFO, "not this");
    log_event(LOG_WARN, "but this");
    capture_end(line, sizeof line);
    ck_assert_ptr_null(strstr(line, "not this"));
    ck_assert_ptr_nonnull(strstr(line, "but this"));
}
END_TEST

START_TEST(log_failure_shows_class_and_note)
{
    char line[4096];
    struct err e = {0};
    (void)err_native(&e, ERR_CHECK, 42, "the MAC does not match");
    log_setup("unit", LOG_INFO, false);
    capture_begin();
    log_failure(LOG_WARN, "refused", &e, LOG_STR("terminal", "T1"));
    capture_end(line, sizeof line);
    ck_assert_ptr_nonnull(strstr(line, "error=CHECK note=\"the MAC does not match\" native=42 where="));
    ck_assert_ptr_nonnull(strstr(line, "terminal=T1"));
}
END_TEST

START_TEST(log_level_is_parsed_or_refused)
{
    enum log_level level = LOG_DEBUG;
    struct err e = {0};
    ck_assert_ok(log_level_parse("error", &level, &e), e);
    ck_assert_int_eq(level, LOG_ERROR);
    ck_assert_int_eq(log_level_parse("loud", &level, &e), ERR_INPUT);
    ck_assert_int_eq(level, LOG_ERROR);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("log");
    TCase *tc = tcase_create("log");
    tcase_add_test(tc, log_json_is_one_valid_object_a_line);
    tcase_add_test(tc, log_json_stays_valid_when_it_is_cut);
    tcase_add_test(tc, log_text_escapes_what_could_forge_a_line);
    tcase_add_test(tc, log_leaves_out_what_is_below_the_level);
    tcase_add_test(tc, log_failure_shows_class_and_note);
    tcase_add_test(tc, log_level_is_parsed_or_refused);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

#include "base/trace.h"

#include "base/log.h"
#include "tests/support/suite.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
#define ID     "4bf92f3577b34da6a3ce929d0e0e4736"

START_TEST(trace_parses_version_00_only)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {PARENT, true},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", true},
        {"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
        {"00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
        {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01", false},
        {PARENT "-", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct trace trace = trace_parse(rows[i].text, strlen(rows[i].text));
        ck_assert_str_eq(trace.parent, rows[i].good ? rows[i].text : "");
    }
    for (size_t len = 0; len < sizeof PARENT - 1; len++) /* cut at every byte */
        ck_assert_str_eq(trace_parse(PARENT, len).parent, "");
    const char nul[sizeof PARENT - 1] = {0};
    ck_assert_str_eq(trace_parse(nul, sizeof nul).parent, "");
    ck_assert_str_eq(trace_parse(NULL, 0).parent, "");
}
END_TEST

START_TEST(trace_new_is_valid_and_its_child_keeps_the_id)
{
    const struct trace first = trace_new(), second = trace_new(), child = trace_child(&first);
    ck_assert_str_eq(trace_parse(first.parent, strlen(first.parent)).parent, first.parent);
    ck_assert_str_eq(trace_parse(child.parent, strlen(child.parent)).parent, child.parent);
    char id[TRACE_ID_BYTES], other[TRACE_ID_BYTES];
    trace_id(&first, id);
    trace_id(&second, other);
    ck_assert_str_ne(id, other);
    trace_id(&child, other);
    ck_assert_str_eq(id, other);
    ck_assert_str_ne(first.parent, child.parent);
    const struct trace none = {0};
    ck_assert_str_eq(trace_child(&none).parent, "");
    trace_id(&none, id);
    ck_assert_str_eq(id, "");
}
END_TEST

static void *trace_of_another_thread(void *out)
{
    *(struct trace *)out = trace_current();
    return NULL;
}

START_TEST(trace_belongs_to_its_thread)
{
    const struct trace trace = trace_new();
    const struct trace before = trace_enter(trace);
    ck_assert_str_eq(before.parent, "");
    struct trace seen = trace;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, trace_of_another_thread, &seen), 0);
    pthread_join(thread, NULL);
    ck_assert_str_eq(seen.parent, "");
    ck_assert_str_eq(trace_enter(before).parent, trace.parent);
    ck_assert_str_eq(trace_current().parent, "");
}
END_TEST

static void logged(bool json, char *out, size_t capacity)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    const int saved = dup(STDERR_FILENO);
    ck_assert_int_ne(dup2(fds[1], STDERR_FILENO), -1);
    close(fds[1]);
    log_setup("unit", LOG_INFO, json);
    log_event(LOG_INFO, "done", LOG_INT("count", 1));
    ck_assert_int_ne(dup2(saved, STDERR_FILENO), -1);
    close(saved);
    const ssize_t n = read(fds[0], out, capacity - 1);
    out[n > 0 ? n : 0] = '\0';
    close(fds[0]);
}

START_TEST(log_records_carry_the_trace)
{
    char line[512];
    const struct trace before = trace_enter(trace_parse(PARENT, strlen(PARENT)));
    logged(false, line, sizeof line);
    ck_assert_ptr_nonnull(strstr(line, " info unit: done trace=" ID " count=1\n"));
    logged(true, line, sizeof line);
    ck_assert_ptr_nonnull(strstr(line, ",\"event\":\"done\",\"trace\":\"" ID "\",\"count\":1}\n"));
    (void)trace_enter(before);
    logged(false, line, sizeof line);
    ck_assert_ptr_nonnull(strstr(line, " info unit: done count=1\n"));
    logged(true, line, sizeof line);
    ck_assert_ptr_null(strstr(line, "trace"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("trace");
    TCase *tc = tcase_create("trace");
    tcase_add_test(tc, trace_parses_version_00_only);
    tcase_add_test(tc, trace_new_is_valid_and_its_child_keeps_the_id);
    tcase_add_test(tc, trace_belongs_to_its_thread);
    tcase_add_test(tc, log_records_carry_the_trace);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

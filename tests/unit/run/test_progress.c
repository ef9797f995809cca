#include "run/cli_progress.h"
#include "tests/support/suite.h"

#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct cli_progress half = {.what = "verifying",
                                         .unit = "MiB",
                                         .unit_size = 1048576,
                                         .all = 64 << 20,
                                         .done = 32 << 20,
                                         .start_ms = 1000};

START_TEST(line_says_how_far_how_fast_and_how_long)
{
    char line[CLI_PROGRESS_BYTES];
    cli_progress_line(&half, 5000, false, 75, line);
    ck_assert_str_eq(line, "verifying  [###########...........]   50 %  32 of 64 MiB, 8.0/s, 0:04 left");
    cli_progress_line(&half, 5000, true, 75, line);
    ck_assert_str_eq(line, "verifying  [#############..............]   50 %  32 of 64 MiB, 8.0/s, 0:04");
    const struct cli_progress unknown = {
        .what = "re-sealing", .unit = "blobs", .unit_size = 1, .done = 50000, .start_ms = 0};
    cli_progress_line(&unknown, 3725000, false, 80, line);
    ck_assert_str_eq(line, "re-sealing  50000 blobs, 13/s, 1:02:05");
}
END_TEST

START_TEST(line_fits_every_terminal)
{
    char line[CLI_PROGRESS_BYTES];
    for (size_t columns = 0; columns < 400; columns++) {
        cli_progress_line(&half, 900, false, columns, line); /* a clock before the start, too */
        ck_assert_uint_lt(strlen(line), columns > 0 ? columns : 1);
        cli_progress_line(&half, 100000000, false, columns, line);
        ck_assert_uint_lt(strlen(line), columns > 0 ? columns : 1);
    }
    struct cli_progress more = half;
    more.done = 2 * more.all; /* the work grew meanwhile */
    cli_progress_line(&more, 2000, false, 80, line);
    ck_assert_ptr_nonnull(strstr(line, "100 %"));
}
END_TEST

static void work(void)
{
    struct cli_progress p;
    cli_progress_start(&p, "counting", "things", 1, 1000);
    for (unsigned i = 1; i <= 1000; i++)
        cli_progress_step(&p, i);
    cli_progress_done(&p);
    cli_progress_done(&p);
}

/* `work` with a standard error that is `fd`. */
static void work_on(int fd)
{
    const int kept = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
    work();
    ck_assert_int_ge(dup2(kept, STDERR_FILENO), 0);
    close(kept);
}

/* What comes up to `end`; a terminal passes it on in pieces, in its own time. */
static void read_until(int fd, const char *end, char *out_text, size_t capacity)
{
    size_t len = 0;
    out_text[0] = '\0';
    while (strstr(out_text, end) == NULL && len < capacity - 1) {
        ck_assert_int_eq(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 20000), 1);
        const ssize_t n = read(fd, out_text + len, capacity - 1 - len);
        ck_assert_int_gt(n, 0);
        len += (size_t)n;
        out_text[len] = '\0';
    }
}

START_TEST(bar_stands_on_a_terminal_and_not_on_a_pipe)
{
    char text[4096];
    int ends[2], terminal, ours;
    ck_assert_int_eq(pipe(ends), 0);
    work_on(ends[1]);
    ck_assert_int_eq(poll(&(struct pollfd){.fd = ends[0], .events = POLLIN}, 1, 0), 0);
    ck_assert_int_eq(openpty(&terminal, &ours, NULL, NULL, &(struct winsize){.ws_row = 24, .ws_col = 100}),
                     0);
    work_on(ours);
    ck_assert_int_eq(write(ours, "more\n", 5), 5);
    read_until(terminal, "more\r\n", text, sizeof text); /* done was called twice, and ended one line */
    ck_assert_ptr_nonnull(strstr(text, "\rcounting  ["));
    ck_assert_ptr_nonnull(strstr(text, "100 %  1000 of 1000 things"));
    ck_assert_ptr_nonnull(strstr(text, "more\r\n"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("progress");
    TCase *t = tcase_create("progress");
    tcase_add_test(t, line_says_how_far_how_fast_and_how_long);
    tcase_add_test(t, line_fits_every_terminal);
    tcase_add_test(t, bar_stands_on_a_terminal_and_not_on_a_pipe);
    suite_add_tcase(s, t);
    return s;
}

SUITE_MAIN(suite())

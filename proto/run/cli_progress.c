#include "run/cli_progress.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_MS     100
#define COLUMNS       80 /* of a terminal that does not say */
#define BAR_LEAST     10
#define BAR_MOST      40
#define DURATION_TEXT 32

/* "0:07", "12:34", "1:02:03" */
static void duration(uint64_t seconds, char out_text[DURATION_TEXT])
{
    const uint64_t h = seconds / 3600, m = seconds / 60 % 60, s = seconds % 60;
    if (h > 0)
        snprintf(out_text, DURATION_TEXT, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, h, m, s);
    else
        snprintf(out_text, DURATION_TEXT, "%" PRIu64 ":%02" PRIu64, m, s);
}

/* "32 of 64 MiB, 8/s, 0:04 left" */
static void figures(const struct cli_progress *p, int64_t passed_ms, bool over, char *out_text,
                    size_t capacity)
{
    char time[DURATION_TEXT], of[32] = "", pace[48] = "";
    const double seconds = (double)passed_ms / 1000.0, rate = seconds > 0 ? (double)p->done / seconds : 0;
    if (p->all > 0)
        snprintf(of, sizeof of, " of %" PRIu64, p->all / p->unit_size);
    if (rate > 0) {
        const double shown = rate / (double)p->unit_size;
        snprintf(pace, sizeof pace, shown < 10 ? ", %.1f/s" : ", %.0f/s", shown);
    }
    const bool guess = !over && p->all > p->done && rate > 0;
    duration((uint64_t)(guess ? (double)(p->all - p->done) / rate + 0.5 : seconds + 0.5), time);
    snprintf(out_text, capacity, "%" PRIu64 "%s %s%s, %s%s", p->done / p->unit_size, of, p->unit, pace, time,
             guess ? " left" : "");
}

void cli_progress_line(const struct cli_progress *p, int64_t now_ms, bool over, size_t columns,
                       char out_line[CLI_PROGRESS_BYTES])
{
    char text[CLI_PROGRESS_BYTES], bar[BAR_MOST + 1] = "";
    const int64_t passed_ms = now_ms > p->start_ms ? now_ms - p->start_ms : 0;
    const size_t line = columns > CLI_PROGRESS_BYTES ? CLI_PROGRESS_BYTES : columns; /* with a NUL's place */
    figures(p, passed_ms, over, text, sizeof text);
    const size_t other = strlen(p->what) + strlen("  []  100 %  ") + strlen(text) + 1;
    if (p->all == 0 || other + BAR_LEAST > columns) {
        snprintf(out_line, line > 0 ? line : 1, "%s  %s", p->what, text);
        return;
    }
    const size_t room = columns - other, width = room < BAR_MOST ? room : BAR_MOST;
    const double share = p->done < p->all ? (double)p->done / (double)p->all : 1;
    memset(bar, '.', width);
    memset(bar, '#', (size_t)(share * (double)width));
    snprintf(out_line, line, "%s  [%s]  %3d %%  %s", p->what, bar, (int)(share * 100), text);
}

static void draw(struct cli_progress *p, int64_t now_ms, bool over)
{
    char line[CLI_PROGRESS_BYTES];
    struct winsize size;
    const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    cli_progress_line(p, now_ms, over, known ? size.ws_col : COLUMNS, line);
    const size_t width = strlen(line);
    const int pad = p->width > width ? (int)(p->width - width) : 0; /* what a longer line left behind */
    fprintf(stderr, "\r%s%*s%s", line, pad, "", over ? "\n" : "");
    fflush(stderr);
    p->width = width;
    p->drawn_ms = now_ms;
}

void cli_progress_start(struct cli_progress *p, const char *what, const char *unit, uint64_t unit_size,
                        uint64_t all)
{
    *p = (struct cli_progress){.what = what,
                               .unit = unit,
                               .unit_size = unit_size > 0 ? unit_size : 1,
                               .all = all,
                               .start_ms = clock_monotonic_ms(),
                               .shown = isatty(STDERR_FILENO) == 1};
    if (p->shown)
        draw(p, p->start_ms, false);
}

void cli_progress_step(struct cli_progress *p, uint64_t done)
{
    p->done = done;
    if (!p->shown)
        return;
    const int64_t now_ms = clock_monotonic_ms();
    if (now_ms - p->drawn_ms >= REDRAW_MS)
        draw(p, now_ms, false);
}

void cli_progress_done(struct cli_progress *p)
{
    if (p->shown)
        draw(p, clock_monotonic_ms(), true);
    p->shown = false;
}

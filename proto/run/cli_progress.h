/* A bar for work that takes a while: how far, how fast, how long still.
 *
 * verifying  [##########..........]  50 %  32 of 64 MiB, 8/s, 0:04 left
 * Only where standard error is a terminal, at most ten times a second; on a pipe or in a file nothing is
 * written. Nothing else may write to standard error between start and done. One thread. */
#ifndef POSWARD_RUN_CLI_PROGRESS_H
#define POSWARD_RUN_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_PROGRESS_BYTES 256 /* of one line with its NUL */

struct cli_progress {
    const char *what, *unit; /* "verifying", "MiB" */
    uint64_t unit_size;      /* what is counted for one of `unit`: 1048576 bytes for a MiB, else 1 */
    uint64_t all, done;      /* all 0: nobody knows */
    int64_t start_ms, drawn_ms;
    bool shown;   /* standard error is a terminal */
    size_t width; /* of the line that stands there */
};

/* `what` and `unit` are borrowed until cli_progress_done. */
void cli_progress_start(struct cli_progress *progress, const char *what, const char *unit, uint64_t unit_size,
                        uint64_t all);
/* `done` of it so far. Call as often as you like. */
void cli_progress_step(struct cli_progress *progress, uint64_t done);
/* The work is over, or broke off: the line says how far it came and stays. Accepts a zeroed one. */
void cli_progress_done(struct cli_progress *progress);

/* The line for a terminal of so many columns; it never fills the last one. */
void cli_progress_line(const struct cli_progress *progress, int64_t now_ms, bool over, size_t columns,
                       char out_line[CLI_PROGRESS_BYTES]);

#endif

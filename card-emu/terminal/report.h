/* What the terminal tells its operator: a line a step, for people or as JSON. */
#ifndef POSWARD_CARD_EMU_TERMINAL_REPORT_H
#define POSWARD_CARD_EMU_TERMINAL_REPORT_H

#include "base/log.h"

#include <stdbool.h>

/* "purchase: approved (trace 000012, F39 00)", or
 * {"step":"purchase","result":"approved","trace":"000012",...}. `fields` ends with a field without a name.
 * Flushed at once. */
void report_write(bool json, const char *step, const char *result, const struct log_field *fields);

#define report_step(json, step, result, ...)                                                                 \
    report_write((json), (step), (result), (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}})

/* What a response code asks of the people at the terminal. */
const char *report_code_text(const char *f39);

#endif

/* Time: a clock for spans and one for records. */
#ifndef POSWARD_BASE_CLOCK_H
#define POSWARD_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Milliseconds of a clock that never steps: deadlines, back-off. */
int64_t clock_monotonic_ms(void);
/* Microseconds of the same clock: latencies. */
int64_t clock_monotonic_us(void);
/* Milliseconds since 1970 UTC: records. */
int64_t clock_wall_ms(void);
/* "2026-11-23T21:45:00.123Z" and a NUL into out_text[CLOCK_TEXT_BYTES]. */
#define CLOCK_TEXT_BYTES 25
void clock_text(int64_t wall_ms, char out_text[CLOCK_TEXT_BYTES]);
void clock_sleep_ms(int64_t ms);

#endif

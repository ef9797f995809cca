/* Field 37, the reference number: last digit of the year, day of the year (3), a number of the store (8). */
#ifndef POSWARD_POSP_REFERENCE_H
#define POSWARD_POSP_REFERENCE_H

#include <stdint.h>

#define REFERENCE_BYTES 13

/* Unique while the store gives fewer than 10^8 numbers a day and for ten years. Local time. Any thread. */
void reference_number(int64_t number, int64_t wall_ms, char out_text[REFERENCE_BYTES]);

/* Fields 12 (hhmmss) and 13 (MMDD), local time. */
void local_time_fields(int64_t wall_ms, char out_time[7], char out_date[5]);

#endif

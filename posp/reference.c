#include "posp/reference.h"

#include <stdio.h>
#include <time.h>

static struct tm local_tm(int64_t wall_ms)
{
    const time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm = {0};
    localtime_r(&seconds, &tm);
    return tm;
}

void reference_number(int64_t number, int64_t wall_ms, char out_text[REFERENCE_BYTES])
{
    const struct tm tm = local_tm(wall_ms);
    snprintf(out_text, REFERENCE_BYTES, "%01u%03u%08u", (unsigned)(tm.tm_year % 10),
             (unsigned)(tm.tm_yday + 1) % 1000, (unsigned)((uint64_t)number % 100000000));
}

void local_time_fields(int64_t wall_ms, char out_time[7], char out_date[5])
{
    const struct tm tm = local_tm(wall_ms);
    snprintf(out_time, 7, "%02u%02u%02u", (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
             (unsigned)tm.tm_sec % 100);
    snprintf(out_date, 5, "%02u%02u", (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100);
}

/* One line a record, text or JSON, to standard error.
 *
 * log_event(LOG_INFO, "device registered", LOG_STR("terminal", id), LOG_INT("revision", rev));
 * The event is a fixed phrase; what varies goes into fields. Values are escaped. Never log a key, PIN, blob
 * or PIN block; mask a PAN first (iso8583/mask.h). A record of a thread that works for a trace (base/trace.h)
 * has its id as field "trace": no field may have that name. Any thread. */
#ifndef POSWARD_BASE_LOG_H
#define POSWARD_BASE_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *name;
    const char *text; /* NULL: `number` is meant */
    int64_t number;
};

/* A function, so that an array may be given without a warning that its address is never NULL. */
static inline const char *log_text(const char *value)
{
    return value != NULL ? value : "";
}

#define LOG_STR(field_name, value) ((struct log_field){.name = (field_name), .text = log_text(value)})
#define LOG_INT(field_name, value) ((struct log_field){.name = (field_name), .number = (int64_t)(value)})

#define log_event(level, event, ...)                                                                         \
    log_write((level), (event), (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}})
/* The event with class, native number, place and note of `e` as fields. */
#define log_failure(level, event, e, ...)                                                                    \
    log_write((level), (event),                                                                              \
              (const struct log_field[]){LOG_STR("error", err_name((e)->code)),                              \
                                         LOG_STR("note", (e)->note),                                         \
                                         LOG_INT("native", (e)->native),                                     \
                                         LOG_STR("where", (e)->where) __VA_OPT__(, ) __VA_ARGS__,            \
                                         {0}})

/* `fields` ends with a field without a name. */
void log_write(enum log_level level, const char *event, const struct log_field *fields);

/* Once, before threads start. `program` stands in each line and must live on. */
void log_setup(const char *program, enum log_level least, bool json);
/* "debug", "info", "warn", "error". ERR_INPUT otherwise. */
enum err_code log_level_parse(const char *text, enum log_level *out_level, struct err *e) MUST_CHECK;

#endif

#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const code_names[ERR_CODE_COUNT] = {
    [ERR_OK] = "OK",
    [ERR_INPUT] = "INPUT",
    [ERR_DENIED] = "DENIED",
    [ERR_UNAUTHENTICATED] = "UNAUTHENTICATED",
    [ERR_NOT_FOUND] = "NOT_FOUND",
    [ERR_EXISTS] = "EXISTS",
    [ERR_STATE] = "STATE",
    [ERR_CHECK] = "CHECK",
    [ERR_LIMIT] = "LIMIT",
    [ERR_TIMEOUT] = "TIMEOUT",
    [ERR_CANCELLED] = "CANCELLED",
    [ERR_UNAVAILABLE] = "UNAVAILABLE",
    [ERR_UNSUPPORTED] = "UNSUPPORTED",
    [ERR_IO] = "IO",
    [ERR_INTERNAL] = "INTERNAL",
};

const char *err_name(enum err_code code)
{
    return code >= 0 && code < ERR_CODE_COUNT ? code_names[code] : "UNKNOWN";
}

enum err_code err_fill(struct err *e, enum err_code code, long native, const char *where, const char *format,
                       ...)
{
    if (e == NULL)
        return code;
    e->code = code;
    e->native = native;
    e->retry_ms = 0;
    e->where = where;
    va_list args;
    va_start(args, format);
    vsnprintf(e->note, sizeof e->note, format, args);
    va_end(args);
    return code;
}

void err_prefix(struct err *e, const char *format, ...)
{
    if (e == NULL)
        return;
    char old[sizeof e->note];
    memcpy(old, e->note, sizeof old);
    va_list args;
    va_start(args, format);
    const int used = vsnprintf(e->note, sizeof e->note, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof e->note)
        snprintf(e->note + used, sizeof e->note - (size_t)used, ": %s", old);
}

void err_fill_errno(struct err *e, const char *format, ...)
{
    const int number = errno;
    if (e == NULL)
        return;
    e->code = ERR_IO;
    e->native = number;
    e->where = "errno";
    va_list args;
    va_start(args, format);
    const int used = vsnprintf(e->note, sizeof e->note, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof e->note)
        snprintf(e->note + used, sizeof e->note - (size_t)used, ": %s", strerror(number));
}

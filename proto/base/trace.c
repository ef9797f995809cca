#include "base/trace.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#define TRACE_BYTES 16
#define SPAN_BYTES  8
#define ID_AT       3
#define SPAN_AT     36
#define FORM        "00-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh"

static _Thread_local struct trace current;

static bool random_hex(size_t bytes, char *out_hex)
{
    uint8_t raw[TRACE_BYTES];
    if (getrandom(raw, bytes, 0) != (ssize_t)bytes)
        return false;
    raw[0] |= 1; /* all zeros are no id */
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes; i++) {
        out_hex[2 * i] = digits[raw[i] >> 4];
        out_hex[2 * i + 1] = digits[raw[i] & 15];
    }
    return true;
}

struct trace trace_new(void)
{
    struct trace trace = {.parent = "00-00000000000000000000000000000000-0000000000000000-01"};
    if (!random_hex(TRACE_BYTES, trace.parent + ID_AT) || !random_hex(SPAN_BYTES, trace.parent + SPAN_AT))
        return (struct trace){0};
    return trace;
}

static bool all_zero(const char *hex, size_t digits)
{
    return strspn(hex, "0") >= digits;
}

struct trace trace_parse(const void *text, size_t len)
{
    static const char form[] = FORM;
    const char *const from = text;
    struct trace trace = {0};
    if (len != sizeof form - 1)
        return trace;
    for (size_t i = 0; i < len; i++) {
        const bool fits = form[i] == 'h' ? from[i] != '\0' && strchr("0123456789abcdef", from[i]) != NULL
                                         : from[i] == form[i];
        if (!fits)
            return trace;
    }
    memcpy(trace.parent, from, len);
    if (all_zero(trace.parent + ID_AT, 2 * TRACE_BYTES) || all_zero(trace.parent + SPAN_AT, 2 * SPAN_BYTES))
        return (struct trace){0};
    return trace;
}

struct trace trace_child(const struct trace *trace)
{
    struct trace child = *trace;
    if (child.parent[0] != '\0' && !random_hex(SPAN_BYTES, child.parent + SPAN_AT))
        return *trace;
    return child;
}

void trace_id(const struct trace *trace, char out_id[TRACE_ID_BYTES])
{
    out_id[0] = '\0';
    if (trace->parent[0] == '\0')
        return;
    memcpy(out_id, trace->parent + ID_AT, TRACE_ID_BYTES - 1);
    out_id[TRACE_ID_BYTES - 1] = '\0';
}

struct trace trace_enter(struct trace trace)
{
    const struct trace before = current;
    current = trace;
    return before;
}

struct trace trace_current(void)
{
    return current;
}

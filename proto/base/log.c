#include "base/log.h"

#include "base/clock.h"
#include "base/trace.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};

static struct {
    const char *program;
    enum log_level least;
    bool json;
} sink = {.program = "posward", .least = LOG_INFO};

#define LINE_BYTES 2048 /* a longer record is cut: a peer must not be able to fill a disk with one line */

#define TAIL_BYTES 32 /* kept free by values, so that a cut record can still be closed as valid JSON */

struct line {
    char text[LINE_BYTES];
    size_t len;
    bool cut;
};

static bool has_room(const struct line *l, size_t bytes)
{
    return l->len + bytes + TAIL_BYTES <= sizeof l->text;
}

static void put(struct line *l, const char *text)
{
    const size_t room = sizeof l->text - 1 - l->len;
    const size_t n = strnlen(text, room);
    memcpy(l->text + l->len, text, n);
    l->len += n;
}

/* Values come from peers too: quotes, controls and bytes beyond ASCII never reach a terminal as they are. */
static void put_escaped(struct line *l, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        char piece[8];
        if (*c == '"' || *c == '\\')
            snprintf(piece, sizeof piece, "\\%c", *c);
        else if (*c < 0x20 || *c >= 0x7F)
            snprintf(piece, sizeof piece, "\\u%04x", *c);
        else
            snprintf(piece, sizeof piece, "%c", *c);
        if (!has_room(l, strlen(piece))) {
            l->cut = true;
            return;
        }
        put(l, piece);
    }
}

static void put_quoted(struct line *l, const char *text)
{
    put(l, "\"");
    put_escaped(l, text);
    put(l, "\"");
}

static void put_value(struct line *l, const struct log_field *f, bool json)
{
    if (f->text == NULL) {
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)f->number);
        put(l, number);
    } else if (json || f->text[0] == '\0' || strpbrk(f->text, " \"=\\\t\r\n") != NULL) {
        put_quoted(l, f->text);
    } else {
        put_escaped(l, f->text);
    }
}

/* First of the fields, so that no long one cuts it off. */
static void put_trace(struct line *l, bool json)
{
    const struct trace trace = trace_current();
    char id[TRACE_ID_BYTES];
    trace_id(&trace, id);
    if (id[0] == '\0')
        return;
    put(l, json ? ",\"trace\":\"" : " trace=");
    put(l, id);
    put(l, json ? "\"" : "");
}

static void put_json(struct line *l, enum log_level level, const char *event, const struct log_field *fields,
                     const char *time)
{
    put(l, "{\"time\":\"");
    put(l, time);
    put(l, "\",\"level\":\"");
    put(l, level_names[level]);
    put(l, "\",\"program\":");
    put_quoted(l, sink.program);
    put(l, ",\"event\":");
    put_quoted(l, event);
    put_trace(l, true);
    for (const struct log_field *f = fields; f->name != NULL && !l->cut; f++) {
        if (!has_room(l, strlen(f->name) + sizeof ",\"\":-9223372036854775808")) {
            l->cut = true;
            break;
        }
        put(l, ",");
        put_quoted(l, f->name);
        put(l, ":");
        put_value(l, f, true);
    }
    put(l, l->cut ? ",\"cut\":true}" : "}");
}

static void put_plain(struct line *l, enum log_level level, const char *event, const struct log_field *fields,
                      const char *time)
{
    put(l, time);
    put(l, " ");
    put(l, level_names[level]);
    put(l, " ");
    put(l, sink.program);
    put(l, ": ");
    put_escaped(l, event);
    put_trace(l, false);
    for (const struct log_field *f = fields; f->name != NULL; f++) {
        put(l, " ");
        put(l, f->name);
        put(l, "=");
        put_value(l, f, false);
    }
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    if (level < sink.least)
        return;
    char time[CLOCK_TEXT_BYTES];
    clock_text(clock_wall_ms(), time);
    struct line l = {.len = 0};
    (sink.json ? put_json : put_plain)(&l, level, event, fields, time);
    l.text[l.len] = '\n';
    /* One write a line keeps lines of several processes on one pipe whole. */
    const ssize_t written = write(STDERR_FILENO, l.text, l.len + 1);
    (void)written;
}

void log_setup(const char *program, enum log_level least, bool json)
{
    sink.program = program;
    sink.least = least;
    sink.json = json;
}

enum err_code log_level_parse(const char *text, enum log_level *out_level, struct err *e)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out_level = (enum log_level)i;
            return ERR_OK;
        }
    }
    return err_set(e, ERR_INPUT, "log level \"%.20s\" is none of debug, info, warn, error", text);
}

/* W3C trace context: which request the work of this thread belongs to.
 *
 * Part of the log sink's context, and like it the exception to "no globals": whoever takes a request in hand
 * (rpc's server, POSP for a terminal's message, a keeper, a command) enters its trace and leaves it again;
 * meanwhile each log record of the thread carries trace=ID, and each call that it makes through rpc carries
 * the trace on. Work that goes to another thread takes a copy along and enters it there. Any thread.
 * Source: W3C Trace Context, version 00. */
#ifndef POSWARD_BASE_TRACE_H
#define POSWARD_BASE_TRACE_H

#include <stddef.h>

#define TRACE_PARENT_BYTES 56 /* "00-" 32 hex "-" 16 hex "-" 2 hex, and a NUL */
#define TRACE_ID_BYTES     33 /* 32 hex, and a NUL */

struct trace {
    char parent[TRACE_PARENT_BYTES]; /* traceparent; "": none */
};

/* A trace of its own, sampled. None when the system has no random bytes: a trace is no reason to fail. */
struct trace trace_new(void);
/* None when `text` is not of version 00: nothing else is passed on, because it ends up in logs. */
struct trace trace_parse(const void *text, size_t len);
/* The same trace with a span of our own, for the next service; none for none. */
struct trace trace_child(const struct trace *trace);
/* "" for none. */
void trace_id(const struct trace *trace, char out_id[TRACE_ID_BYTES]);

/* This thread works for `trace` from now on. Returns the one before, to be entered again at the end. */
struct trace trace_enter(struct trace trace);
struct trace trace_current(void);

#endif

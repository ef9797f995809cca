/* Equal events joined, so that a flood of them does not fill a log: the first is for its caller to tell at
 * once; those that follow are counted, and once a period told together ("and 4,812 more").
 *
 * Equal: the same who, what, about and code. No event is lost from the counts: of more kinds than the table
 * holds, the rest are counted by code alone. Memory is fixed. Any thread.
 *
 * if (repeats_first(r, &event, clock_monotonic_ms())) tell it;    at each event
 * repeats_tell_due(r, clock_monotonic_ms());                      now and then, from one place
 * repeats_tell_all(r, clock_monotonic_ms());                      at the stop */
#ifndef POSWARD_BASE_REPEATS_H
#define POSWARD_BASE_REPEATS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPEATS_KINDS_MAX   256 /* kinds of event that are told apart at a time */
#define REPEATS_WHO_BYTES   256 /* longer texts are cut, and equal where what is left is */
#define REPEATS_WHAT_BYTES  128
#define REPEATS_ABOUT_BYTES 128
#define REPEATS_NOTE_BYTES  256

/* Borrowed for the call; NULL is "". */
struct repeats_event {
    const char *who;   /* identity of the caller */
    const char *what;  /* method */
    const char *about; /* what else tells kinds apart, such as a terminal; often NULL */
    const char *note;  /* of the first, told with the rest too; tells no kinds apart */
    enum err_code code;
};

/* What came after the first, together. */
struct repeats_sum {
    char who[REPEATS_WHO_BYTES],
        what[REPEATS_WHAT_BYTES]; /* REPEATS_OTHERS and "" for kinds that had no room */
    char about[REPEATS_ABOUT_BYTES], note[REPEATS_NOTE_BYTES];
    enum err_code code;
    uint64_t count;
    int64_t span_ms; /* in which they came */
};
#define REPEATS_OTHERS "others"

typedef void (*repeats_tell_fn)(void *context, const struct repeats_sum *sum);

struct repeats;

/* `tell` runs inside repeats_tell_due and _all, without a lock of this module. */
enum err_code repeats_new(int64_t period_ms, repeats_tell_fn tell, void *context,
                          struct repeats **out_repeats, struct err *e) MUST_CHECK;
/* What was not told is lost. Accepts NULL. */
void repeats_free(struct repeats *repeats);
/* True: tell this one now. False: it is counted. */
bool repeats_first(struct repeats *repeats, const struct repeats_event *event, int64_t now_ms);
/* The kinds whose period is over: those that came again are told and go on, the others are forgotten. */
void repeats_tell_due(struct repeats *repeats, int64_t now_ms);
/* All that is counted and not told. */
void repeats_tell_all(struct repeats *repeats, int64_t now_ms);
/* "and 4,812 more in 60 s". */
#define REPEATS_TEXT_BYTES 64
void repeats_text(const struct repeats_sum *sum, char out_text[REPEATS_TEXT_BYTES]);

#endif

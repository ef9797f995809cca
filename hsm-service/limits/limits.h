/* How often: PIN operations of a terminal and of an account, and operations of a caller.
 *
 * PIN operations are counted in windows that slide by the minute and by the hour: the count of this window,
 * and of the one before as far as it still overlaps, as if it had been even: a burst at its end can make one
 * minute or hour pass half as much again. Accounts and terminals stand in the table as HMAC-SHA-256 of their
 * numbers under a key of this process alone, never as numbers. Callers have token buckets. What was refused is
 * not counted, but what met its account's limit counts for the terminal. Any thread; every function takes a
 * NULL limits: nothing is limited then. */
#ifndef POSWARD_HSM_SERVICE_LIMITS_LIMITS_H
#define POSWARD_HSM_SERVICE_LIMITS_LIMITS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define LIMITS_ENTRIES     1048576 /* terminals and accounts that are remembered */
#define LIMITS_MOST        60000   /* of any count */
#define LIMITS_CALLERS     256     /* identities with a bucket of their own */
#define LIMITS_PAN_LEAST   12      /* digits of what is counted as an account */
#define LIMITS_DIGITS_MOST 20

/* 0: no limit. */
struct limits_policy {
    unsigned terminal_per_minute, terminal_per_hour, account_per_minute, account_per_hour;
};
/* The stricter of each. */
struct limits_policy limits_stricter(const struct limits_policy *a, const struct limits_policy *b);

/* Operations of an identity; "" for those that have no quota of their own. per_second 0: no limit. */
struct limits_quota {
    const char *identity;
    unsigned per_second, burst; /* burst 0: as per_second */
};

enum limits_kind { LIMITS_TERMINAL, LIMITS_ACCOUNT, LIMITS_CALLER, LIMITS_KIND_COUNT };
const char *limits_kind_name(enum limits_kind kind); /* "terminal", "account", "caller" */

struct limits_verdict {
    bool refused;
    enum limits_kind kind; /* of the limit that was met */
    int64_t retry_ms;      /* when it will let one pass, if none passes meanwhile */
};

struct limits;

/* Identities are copied. ERR_LIMIT: more than LIMITS_CALLERS quotas. */
enum err_code limits_new(const struct limits_policy *policy, const struct limits_quota *quotas,
                         size_t quota_count, struct limits **out_limits, struct err *e) MUST_CHECK;
void limits_free(struct limits *limits); /* accepts NULL */
/* From now on; counts stay. */
void limits_set(struct limits *limits, const struct limits_policy *policy);
struct limits_policy limits_get(struct limits *limits);

/* Digits where they lie; len 0: not known, and then not counted. */
struct limits_digits {
    const char *digits;
    size_t len;
};
/* One PIN operation at `now_ms` (clock_monotonic_ms). What is no number of up to LIMITS_DIGITS_MOST digits is
 * not counted: it fails later. */
struct limits_verdict limits_pin(struct limits *limits, struct limits_digits terminal,
                                 struct limits_digits account, int64_t now_ms);
/* It was none after all: its MAC was wrong, and nothing was done. */
void limits_pin_undone(struct limits *limits, struct limits_digits terminal, struct limits_digits account,
                       int64_t now_ms);
/* `operations` of this caller. */
struct limits_verdict limits_caller(struct limits *limits, const char *identity, unsigned operations,
                                    int64_t now_ms);
/* Eight hexadecimal digits that stand for an account in logs: other ones after each start. */
void limits_account_name(struct limits *limits, struct limits_digits account, char out_name[9]);

struct limits_counts {
    uint64_t refused[LIMITS_KIND_COUNT];
    uint64_t entries;   /* in use, those whose windows are over included */
    uint64_t forgotten; /* entries whose windows ran, and that made room for others */
};
struct limits_counts limits_counts(struct limits *limits);

#endif

/* How often: PIN operations by terminal, account, zone and caller, and operations of a caller.
 *
 * PIN operations are counted in windows that slide by the minute and by the hour: the count of this window,
 * and of the one before as far as it still overlaps, as if it had been even: a burst at its end can make one
 * minute or hour pass half as much again. Accounts, terminals, zones and callers stand in the table as
 * HMAC-SHA-256 of their names under a key of this process alone, never as they are. Callers also have token
 * buckets. What was refused is not counted, except for the limits that were looked at before the one that was
 * met (enum limits_kind is the order): an account's refusal counts for its terminal. Any thread; every
 * function takes a NULL limits: nothing is limited then. */
#ifndef POSWARD_HSM_SERVICE_LIMITS_LIMITS_H
#define POSWARD_HSM_SERVICE_LIMITS_LIMITS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define LIMITS_ENTRIES 1048576 /* terminals and accounts that are remembered */
#define LIMITS_MOST    60000   /* of any count */
#define LIMITS_CALLERS 256     /* identities with a bucket of their own */
#define LIMITS_ACCOUNT_DIGITS                                                                                \
    12 /* of a card number: those left of its check digit, which all PIN formats bind */
#define LIMITS_NAME_MAX 200

/* What is counted, and in which order it is looked at. The first rows are the windows of the policy. */
enum limits_kind {
    LIMITS_TERMINAL,          /* PIN operations whose source is a key of this terminal */
    LIMITS_ZONE,              /* ... a key of this zone */
    LIMITS_TERMINAL_ACCOUNTS, /* different accounts that a terminal showed */
    LIMITS_ACCOUNT,           /* PIN operations of an account, through whichever key */
    LIMITS_FAILURE_KEY,       /* PIN blocks that did not decode, by source: a terminal or a zone */
    LIMITS_FAILURE_ACCOUNT,   /* ... by account */
    LIMITS_FAILURE_CALLER,    /* ... by caller */
    LIMITS_WINDOW_COUNT,
    LIMITS_CALLER = LIMITS_WINDOW_COUNT, /* operations of a caller's quota */
    LIMITS_KIND_COUNT
};
const char *limits_kind_name(enum limits_kind kind); /* "terminal", "failure_key" */

/* How many pass; 0: no limit. */
struct limits_row {
    unsigned per_minute, per_hour;
};
struct limits_policy {
    struct limits_row rows[LIMITS_WINDOW_COUNT];
};
/* The stricter of each. */
struct limits_policy limits_stricter(const struct limits_policy *a, const struct limits_policy *b);

/* Operations of an identity; "" for those that have no quota of their own. per_second 0: no limit. */
struct limits_quota {
    const char *identity;
    unsigned per_second, burst; /* burst 0: as per_second */
};

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

/* Text where it lies; len 0: there is none, and its rows are not counted. */
struct limits_name {
    const char *text;
    size_t len;
};
/* One PIN operation that a keeper did. */
struct limits_pin_use {
    struct limits_name terminal; /* PSAM number of the source key; none for a zone's */
    struct limits_name zone;     /* name of the source zone; none for a terminal's */
    struct limits_name account;  /* LIMITS_ACCOUNT_DIGITS digits */
    struct limits_name caller;
    bool decoded; /* the block was looked into: the only operations that can tell something by failing */
    bool failed;  /* it did not decode */
};
/* Count it at `now_ms` (clock_monotonic_ms). Failures already counted refuse what is decoded, failed or not.
 */
struct limits_verdict limits_pin(struct limits *limits, const struct limits_pin_use *use, int64_t now_ms);
/* `operations` of this caller. */
struct limits_verdict limits_caller(struct limits *limits, const char *identity, unsigned operations,
                                    int64_t now_ms);
/* Eight hexadecimal digits that stand for an account in logs: other ones after each start. */
void limits_account_name(struct limits *limits, struct limits_name account, char out_name[9]);

struct limits_counts {
    uint64_t refused[LIMITS_KIND_COUNT];
    uint64_t entries;   /* in use, those whose windows are over included */
    uint64_t forgotten; /* entries whose windows ran, and that made room for others */
};
struct limits_counts limits_counts(struct limits *limits);

#endif

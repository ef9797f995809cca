#include "hsm-service/limits/buckets.h"

#include "hsm-service/limits/window.h"

#include <stdlib.h>
#include <string.h>

enum err_code buckets_add(struct buckets *b, const struct limits_quota *quota, struct err *e)
{
    if (b->count == LIMITS_CALLERS)
        return err_set(e, ERR_LIMIT, "limits.quotas has more than %d identities", LIMITS_CALLERS);
    char *const identity = strdup(quota->identity);
    if (identity == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the limits");
    const unsigned burst = quota->burst != 0 ? quota->burst : quota->per_second;
    b->items[b->count++] = (struct bucket){.identity = identity,
                                           .per_second = quota->per_second,
                                           .burst = burst,
                                           .level_milli = (int64_t)burst * 1000};
    return ERR_OK;
}

void buckets_drop(struct buckets *b)
{
    for (size_t i = 0; i < b->count; i++)
        free(b->items[i].identity);
    b->count = 0;
}

static struct bucket *bucket_of(struct buckets *b, const char *identity)
{
    struct bucket *others = NULL;
    for (size_t i = 0; i < b->count; i++) {
        if (strcmp(b->items[i].identity, identity) == 0)
            return &b->items[i];
        if (b->items[i].identity[0] == '\0')
            others = &b->items[i];
    }
    return others;
}

static void refill(struct bucket *b, int64_t now_ms)
{
    const int64_t most = (int64_t)b->burst * 1000;
    const int64_t passed_ms = now_ms - b->filled_ms;
    b->level_milli +=
        passed_ms * b->per_second; /* per_second a second is as many thousandths a millisecond */
    if (b->level_milli > most || passed_ms > WINDOW_HOUR_MS)
        b->level_milli = most;
    b->filled_ms = now_ms;
}

int64_t buckets_take(struct buckets *buckets, const char *identity, unsigned operations, int64_t now_ms)
{
    struct bucket *const b = bucket_of(buckets, identity);
    if (b == NULL || b->per_second == 0)
        return 0;
    refill(b, now_ms);
    /* One call that is larger than the bucket passes when the bucket is full. */
    const int64_t asked = (int64_t)(operations < b->burst ? operations : b->burst) * 1000;
    if (b->level_milli < asked)
        return (asked - b->level_milli + b->per_second - 1) / (int64_t)b->per_second;
    b->level_milli -= (int64_t)operations * 1000;
    return 0;
}

/* Inside limits/ only: token buckets, one a caller with a quota, and one for all the others together. The
 * owner of the buckets holds a lock. */
#ifndef POSWARD_HSM_SERVICE_LIMITS_BUCKETS_H
#define POSWARD_HSM_SERVICE_LIMITS_BUCKETS_H

#include "hsm-service/limits/limits.h"

struct bucket {
    char *identity; /* "" for everybody without one of their own */
    unsigned per_second, burst;
    int64_t level_milli; /* thousandths of an operation that may pass now */
    int64_t filled_ms;
};
struct buckets {
    struct bucket items[LIMITS_CALLERS];
    size_t count;
};

/* ERR_LIMIT: there are LIMITS_CALLERS already. */
enum err_code buckets_add(struct buckets *buckets, const struct limits_quota *quota,
                          struct err *e) MUST_CHECK;
void buckets_drop(struct buckets *buckets);
/* Take `operations` out of the caller's bucket; or the milliseconds until there are so many in it. */
int64_t buckets_take(struct buckets *buckets, const char *identity, unsigned operations, int64_t now_ms);

#endif

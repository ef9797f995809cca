#include "base/wait.h"

#include <errno.h>

void wait_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct timespec wait_end(int64_t ms)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (ms > 0) {
        end.tv_sec += ms / 1000;
        end.tv_nsec += (ms % 1000) * 1000000;
    }
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    return end;
}

bool wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *end)
{
    if (end == NULL)
        return pthread_cond_wait(cond, lock) == 0;
    return pthread_cond_timedwait(cond, lock, end) != ETIMEDOUT;
}

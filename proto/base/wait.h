/* Timed waits on a condition variable, by the clock that no administrator sets. */
#ifndef POSWARD_BASE_WAIT_H
#define POSWARD_BASE_WAIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* A condition whose timed waits are wait_until's. */
void wait_cond_init(pthread_cond_t *cond);
/* The end of a wait that begins now, for wait_until; 0 for a negative `ms`. */
struct timespec wait_end(int64_t ms);
/* False: `end` is reached; NULL: never. Wakes without a reason, as pthread_cond_wait does. */
bool wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *end);

#endif

/* Threads that work off jobs, first in first out. The caller bounds how many jobs wait. */
#ifndef POSWARD_POSP_POOL_H
#define POSWARD_POSP_POOL_H

#include "base/err.h"

struct pool;

struct pool_job {
    struct pool_job *next; /* the pool's */
};

/* `work` runs on a pool thread and may block. */
typedef void (*pool_fn)(void *context, struct pool_job *job);

enum err_code pool_new(unsigned threads, pool_fn work, void *context, struct pool **out_pool,
                       struct err *e) MUST_CHECK;
/* Any thread, before pool_free. */
void pool_add(struct pool *pool, struct pool_job *job);
/* Works off what waits, then joins. Accepts NULL. */
void pool_free(struct pool *pool);

#endif

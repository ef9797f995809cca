#include "run/descriptors.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

enum err_code descriptors_raise(const struct descriptors_need *need, struct err *e)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return err_errno(e, "read the limit of file descriptors");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return err_errno(e, "raise the limit of file descriptors to %ju", (uintmax_t)limit.rlim_max);
    const size_t all = need->connections + need->own + DESCRIPTORS_RESERVED;
    if (all <= limit.rlim_max)
        return ERR_OK;
    char own[96] = "";
    if (need->own > 0)
        snprintf(own, sizeof own, ", %zu for %s", need->own, need->own_key);
    return err_set(e, ERR_LIMIT,
                   "%zu file descriptors are needed (%zu for limits.max_connections%s, %d besides) and %ju "
                   "allowed: raise the hard limit (LimitNOFILE=, ulimit -Hn) or lower these keys",
                   all, need->connections, own, DESCRIPTORS_RESERVED, (uintmax_t)limit.rlim_max);
}

#include "hsm-service/harden.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* With a limit in place MCL_FUTURE would make later allocations fail, so it is all or nothing. */
static void lock_memory(void)
{
    const struct rlimit all = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    struct rlimit now = {0};
    (void)setrlimit(RLIMIT_MEMLOCK, &all);
    if (getrlimit(RLIMIT_MEMLOCK, &now) != 0)
        return;
    if (now.rlim_cur == RLIM_INFINITY) {
        (void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
        return;
    }
    now.rlim_cur = now.rlim_max;
    (void)setrlimit(RLIMIT_MEMLOCK, &now);
}

enum err_code harden_dumps(struct err *e)
{
    const struct rlimit none = {0};
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return err_errno(e, "cannot switch core dumps off");
    if (prctl(PR_SET_DUMPABLE, 0) != 0) /* a core handler behind a pipe heeds this, not the limit */
        return err_errno(e, "cannot make this process's memory unreadable");
    return ERR_OK;
}

enum err_code harden_process(struct err *e)
{
    TRY(harden_dumps(e));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_errno(e, "cannot refuse new privileges");
    lock_memory();
    return ERR_OK;
}

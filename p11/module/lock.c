#include "p11/module/lock.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_PATIENCE_MS 30000
#define LOCK_POLL_MS     20

void tok_lock_drop(struct tok_lock *lock)
{
    if (lock->fd_plus_1 != 0)
        close(lock->fd_plus_1 - 1);
    lock->fd_plus_1 = 0;
}

enum err_code tok_lock_take(const char *path, struct tok_lock *out_lock, struct err *e)
{
    if (path == NULL)
        return ERR_OK;
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(e, "cannot open the token's lock file %s", path);
    const int64_t deadline_ms = clock_monotonic_ms() + LOCK_PATIENCE_MS;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        const bool waits = errno == EWOULDBLOCK || errno == EINTR;
        if (waits && clock_monotonic_ms() < deadline_ms) {
            clock_sleep_ms(LOCK_POLL_MS);
            continue;
        }
        const enum err_code code =
            waits ? err_set(e, ERR_TIMEOUT, "another process has held %s for %d s; is its login hanging?",
                            path, LOCK_PATIENCE_MS / 1000)
                  : err_errno(e, "cannot lock %s", path);
        close(fd);
        return code;
    }
    out_lock->fd_plus_1 = fd + 1;
    return ERR_OK;
}

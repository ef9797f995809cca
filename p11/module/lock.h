/* The lock of a token: a file's flock, so that starts, logins, the making of keys and backups exclude each
 * other between processes. Held for a scope: `AUTO(tok_lock) lock = {0};` */
#ifndef POSWARD_P11_LOCK_H
#define POSWARD_P11_LOCK_H

#include "base/err.h"

/* fd + 1: a zeroed one holds none. */
struct tok_lock {
    int fd_plus_1;
};
void tok_lock_drop(struct tok_lock *lock);
/* `path` NULL: no lock. ERR_TIMEOUT after 30 s. */
enum err_code tok_lock_take(const char *path, struct tok_lock *out_lock, struct err *e) MUST_CHECK;

#endif

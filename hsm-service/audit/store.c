#include "hsm-service/audit/store.h"

#include "base/clock.h"
#include "hsm-service/audit/store_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_MS      10000
#define LOCK_STEP_MS 5

/* False, with errno, when it cannot be had. */
static bool wait_for_lock(int fd)
{
    for (int waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited_ms += LOCK_STEP_MS) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || waited_ms > LOCK_MS)
            return false;
        clock_sleep_ms(LOCK_STEP_MS);
    }
    return true;
}

static enum err_code take_lock(struct audit_store *s, struct err *e)
{
    return wait_for_lock(s->lock_fd) ? ERR_OK : err_errno(e, "cannot lock the audit log %s", s->dir);
}

/* A service that was killed keeps its lock until its last thread, and a keeper that it was just starting, are
 * gone: the next one waits for that. */
static enum err_code take_service_lock(struct audit_store *s, struct err *e)
{
    s->service_fd = openat(s->dir_fd, "service.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (s->service_fd < 0)
        return err_errno(e, "cannot open %s/service.lock", s->dir);
    if (!wait_for_lock(s->service_fd))
        return err_set(e, ERR_STATE,
                       "another service writes its audit log to %s; give each its own audit.path", s->dir);
    return ERR_OK;
}

static enum err_code open_locks(struct audit_store *s, bool service, struct err *e)
{
    if (mkdir(s->dir, 0750) != 0 && errno != EEXIST)
        return err_errno(e, "cannot make the audit folder %s", s->dir);
    s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0)
        return err_errno(e, "cannot open the audit folder %s", s->dir);
    s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (s->lock_fd < 0)
        return err_errno(e, "cannot open %s/lock", s->dir);
    return service ? take_service_lock(s, e) : ERR_OK;
}

static enum err_code open_store(struct audit_store *s, bool service, struct err *e)
{
    TRY(open_locks(s, service, e));
    TRY(take_lock(s, e));
    const enum err_code code = audit_store_open_newest(s, false, e);
    (void)flock(s->lock_fd, LOCK_UN);
    return code;
}

enum err_code audit_store_open(const struct audit_store_options *options, struct audit_store **out_store,
                               struct err *e)
{
    struct audit_store *const s = calloc(1, sizeof *s);
    char *const buffer = malloc((size_t)(AUDIT_BATCH_MOST + 3) * AUDIT_LINE_BYTES);
    if (s == NULL || buffer == NULL) {
        free(s);
        free(buffer);
        return err_set(e, ERR_LIMIT, "no memory for the audit log");
    }
    s->buffer = buffer;
    s->lock_fd = s->service_fd = s->dir_fd = s->fd = -1;
    s->rotate_bytes = options->rotate_bytes;
    enum err_code code = ERR_OK;
    if ((size_t)snprintf(s->dir, sizeof s->dir, "%s", options->dir) >= sizeof s->dir)
        code = err_set(e, ERR_INPUT, "audit.path is longer than %zu characters", sizeof s->dir - 1);
    if (code == ERR_OK)
        code = open_store(s, options->rotate_bytes > 0, e);
    if (code != ERR_OK)
        audit_store_close(s);
    else
        *out_store = s;
    return code;
}

void audit_store_close(struct audit_store *s)
{
    if (s == NULL)
        return;
    const int fds[] = {s->fd, s->lock_fd, s->service_fd, s->dir_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(s->buffer);
    free(s);
}

struct audit_head audit_store_head(const struct audit_store *s)
{
    return s->head;
}

uint64_t audit_store_files(const struct audit_store *s)
{
    return s->files;
}

const char *audit_store_dir(const struct audit_store *s)
{
    return s->dir;
}

/* ---- Appending ---- */

static struct audit_record own_record(enum audit_kind kind, const char *what)
{
    struct audit_record r = {.kind = kind, .time_ms = clock_wall_ms(), .who = "audit", .result = "OK"};
    snprintf(r.what, sizeof r.what, "%s", what);
    return r;
}

/* The buffer's bytes at the file's end, on the disk. */
static enum err_code write_out(struct audit_store *s, size_t len, struct err *e)
{
    for (size_t done = 0; done < len;) {
        const ssize_t n = write(s->fd, s->buffer + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_errno(e, "cannot write the audit log %s", s->dir);
        done += (size_t)n;
    }
    return fdatasync(s->fd) == 0 ? ERR_OK : err_errno(e, "cannot write the audit log %s", s->dir);
}

static size_t put(struct audit_store *s, size_t at, const struct audit_record *r, struct audit_head *head)
{
    size_t len = 0;
    audit_record_format(r, head, s->buffer + at, &len);
    return at + len;
}

/* Close a cut line, in the file where it stands. */
static size_t put_torn(struct audit_store *s, struct audit_head *head)
{
    if (s->fragment_len == 0 && !s->end_missing)
        return 0;
    s->buffer[0] = '\n';
    if (s->fragment_len == 0)
        return 1;
    struct audit_record torn = own_record(AUDIT_TORN, "a line was cut");
    audit_torn_note(s->fragment_len, s->fragment_hash, torn.note);
    return put(s, 1, &torn, head);
}

/* What others appended, and their files; a full file ends here. */
static enum err_code get_ready(struct audit_store *s, bool *out_rotated, char old_name[AUDIT_NAME_BYTES],
                               struct err *e)
{
    struct stat st;
    *out_rotated = false;
    if (s->rotate_bytes == 0)
        TRY(audit_store_open_newest(s, true, e));
    if (fstat(s->fd, &st) != 0)
        return err_errno(e, "cannot look at the audit log %s", s->dir);
    if (st.st_nlink == 0 || st.st_size < s->size)
        return err_set(e, ERR_CHECK, "%s/%s was cut or removed under the service", s->dir, s->name);
    if (st.st_size > s->size)
        TRY(audit_store_catch_up(s, s->head.seq > 0, e));
    else
        s->fragment_len = 0;
    if (s->rotate_bytes == 0 || s->size < s->rotate_bytes || s->fragment_len > 0 || s->end_missing)
        return ERR_OK;
    snprintf(old_name, AUDIT_NAME_BYTES, "%s", s->name);
    TRY(audit_store_new_file(s, e));
    *out_rotated = true;
    return ERR_OK;
}

static enum err_code append(struct audit_store *s, const struct audit_record *records, size_t count,
                            struct err *e)
{
    char old_name[AUDIT_NAME_BYTES] = "";
    bool rotated = false;
    TRY(get_ready(s, &rotated, old_name, e));
    struct audit_head head = s->head;
    const off_t fragment = (off_t)s->fragment_len;
    size_t len = put_torn(s, &head);
    if (s->size == 0 && head.seq > 0) {
        struct audit_record opened = own_record(AUDIT_SERVICE, "file opened");
        snprintf(opened.note, sizeof opened.note, "after %s", rotated ? old_name : "the one before");
        len = put(s, len, &opened, &head);
    }
    for (size_t i = 0; i < count; i++)
        len = put(s, len, &records[i], &head);
    if (write_out(s, len, e) != ERR_OK) {
        (void)!ftruncate(s->fd, s->size + fragment); /* an append-only file keeps it: closed off later */
        return e->code;
    }
    s->size += fragment + (off_t)len;
    s->end_missing = false;
    s->fragment_len = 0;
    s->head = head;
    return ERR_OK;
}

enum err_code audit_store_append(struct audit_store *s, const struct audit_record *records, size_t count,
                                 struct audit_head *out_head, struct err *e)
{
    if (count > AUDIT_BATCH_MOST)
        return err_set(e, ERR_INTERNAL, "%zu records at once", count);
    TRY(take_lock(s, e));
    const enum err_code code = append(s, records, count, e);
    (void)flock(s->lock_fd, LOCK_UN);
    TRY(code);
    *out_head = s->head;
    return ERR_OK;
}

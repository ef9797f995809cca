#include "hsm-service/audit/store.h"

#include "base/clock.h"
#include "hsm-service/audit/chain.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_FORMAT  "audit-%012" PRIu64 ".log"
#define NAME_LEN     22 /* of all names below record 10^12 */
#define LOCK_MS      10000
#define LOCK_STEP_MS 5

struct audit_store {
    char dir[512], name[AUDIT_NAME_BYTES];
    int lock_fd, service_fd, dir_fd, fd; /* -1: none */
    int64_t rotate_bytes;
    off_t size;          /* of the file's sound part: what is known of it */
    bool end_missing;    /* the last record is whole but for its line's end */
    size_t fragment_len; /* of a cut line after it */
    uint8_t fragment_hash[AUDIT_HASH_BYTES];
    struct audit_head head;
    uint64_t files;
    char *buffer;
};

static int is_log(const struct dirent *entry)
{
    uint64_t first;
    char again[AUDIT_NAME_BYTES];
    if (sscanf(entry->d_name, "audit-%" SCNu64 ".log", &first) != 1)
        return 0;
    snprintf(again, sizeof again, NAME_FORMAT, first);
    return strcmp(again, entry->d_name) == 0;
}

enum err_code audit_store_list(const char *dir, char ***out_names, size_t *out_count, struct err *e)
{
    struct dirent **entries = NULL;
    const int count = scandir(dir, &entries, is_log, alphasort);
    if (count < 0)
        return err_errno(e, "cannot list %s", dir);
    char **const names = calloc((size_t)count + 1, sizeof *names);
    bool whole = names != NULL;
    for (int i = 0; i < count; i++) {
        if (whole)
            whole = (names[i] = strdup(entries[i]->d_name)) != NULL;
        free(entries[i]);
    }
    free(entries);
    if (whole) {
        *out_names = names;
        *out_count = (size_t)count;
        return ERR_OK;
    }
    for (int i = 0; names != NULL && i < count; i++)
        free(names[i]);
    free(names);
    return err_set(e, ERR_LIMIT, "no memory to list %s", dir);
}

/* ---- Reading what is there ---- */

struct scan {
    struct audit_chain chain;
    off_t sound;
};

static enum err_code scan_line(struct audit_store *s, struct scan *scan, const char *line, size_t len,
                               struct err *e)
{
    struct audit_record record;
    bool is_record = false;
    if (audit_chain_take(&scan->chain, line, len, &record, &is_record, e) != ERR_OK)
        return err_context(e, "%s/%s: see posward audit verify", s->dir, s->name);
    scan->sound += (off_t)len + 1;
    return ERR_OK;
}

/* Cut just before its end, a line is the record that it says, and is taken as such. */
static bool is_whole(struct scan *scan, const char *line, size_t len)
{
    struct audit_chain chain = scan->chain;
    struct audit_record record;
    struct err ignored = {0};
    bool is_record = false;
    if (audit_chain_take(&chain, line, len, &record, &is_record, &ignored) != ERR_OK || !is_record)
        return false;
    scan->chain = chain;
    scan->sound += (off_t)len;
    return true;
}

/* From `s->size` to the end: whole lines, and perhaps a cut one. */
static enum err_code scan_rest(struct audit_store *s, FILE *file, struct scan *scan, struct err *e)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    enum err_code code = ERR_OK;
    s->fragment_len = 0;
    while (code == ERR_OK && (len = audit_read_line(&line, &capacity, file)) > 0) {
        if (line[len - 1] == '\n') {
            code = scan_line(s, scan, line, (size_t)len - 1, e);
        } else if (len == AUDIT_READ_BYTES) {
            code = err_set(e, ERR_CHECK, "%s/%s has a line longer than any record: see posward audit verify",
                           s->dir, s->name);
        } else if (is_whole(scan, line, (size_t)len)) {
            s->end_missing = true;
        } else {
            s->fragment_len = (size_t)len;
            audit_sha256(line, (size_t)len, s->fragment_hash);
        }
    }
    if (code == ERR_OK && ferror(file))
        code = err_errno(e, "cannot read %s/%s", s->dir, s->name);
    free(line);
    if (code == ERR_OK && audit_chain_end(&scan->chain, e) != ERR_OK)
        return err_context(e, "%s/%s: see posward audit verify", s->dir, s->name);
    return code;
}

static enum err_code catch_up(struct audit_store *s, bool started, struct err *e)
{
    struct scan scan = {.chain = {.head = s->head, .started = started}, .sound = s->size};
    const int fd = openat(s->dir_fd, s->name, O_RDONLY | O_CLOEXEC);
    FILE *const file = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (file == NULL || fseeko(file, s->size, SEEK_SET) != 0) {
        const enum err_code code = err_errno(e, "cannot read %s/%s", s->dir, s->name);
        if (file != NULL)
            fclose(file);
        else if (fd >= 0)
            close(fd);
        return code;
    }
    if (s->end_missing && fgetc(file) == '\n') { /* another process appended after it */
        s->end_missing = false;
        scan.sound++;
    }
    const enum err_code code = scan_rest(s, file, &scan, e);
    fclose(file);
    TRY(code);
    s->size = scan.sound;
    s->head = scan.chain.head;
    return ERR_OK;
}

/* ---- Files ---- */

static enum err_code open_file(struct audit_store *s, const char *name, int flags, struct err *e)
{
    const int fd = openat(s->dir_fd, name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0640);
    if (fd < 0)
        return err_errno(e, "cannot open %s/%s", s->dir, name);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = fd;
    snprintf(s->name, sizeof s->name, "%s", name);
    s->size = 0;
    s->end_missing = false;
    s->fragment_len = 0;
    s->files++;
    return ERR_OK;
}

static enum err_code new_file(struct audit_store *s, struct err *e)
{
    char name[AUDIT_NAME_BYTES];
    snprintf(name, sizeof name, NAME_FORMAT, s->head.seq + 1);
    /* One that was made and not written to before a kill is there already, and empty. */
    TRY(open_file(s, name, O_CREAT, e));
    if (fsync(s->dir_fd) != 0)
        return err_errno(e, "cannot write %s", s->dir);
    return ERR_OK;
}

/* An empty file's chain stands where the file before ends. */
static enum err_code open_names(struct audit_store *s, char *const *names, size_t count, struct err *e)
{
    s->head = (struct audit_head){0};
    if (count == 0)
        return new_file(s, e);
    struct stat st;
    TRY(open_file(s, names[count - 1], 0, e));
    if (fstat(s->fd, &st) == 0 && st.st_size > 0)
        return catch_up(s, false, e);
    if (count < 2)
        return ERR_OK;
    TRY(open_file(s, names[count - 2], 0, e));
    TRY(catch_up(s, false, e));
    return s->fragment_len > 0 || s->end_missing ? ERR_OK : open_file(s, names[count - 1], 0, e);
}

static enum err_code open_newest(struct audit_store *s, bool only_if_other, struct err *e)
{
    char **names = NULL;
    size_t count = 0;
    TRY(audit_store_list(s->dir, &names, &count, e));
    enum err_code code = ERR_OK;
    if (!only_if_other || count == 0 || strcmp(names[count - 1], s->name) != 0)
        code = open_names(s, names, count, e);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    return code;
}

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
    const enum err_code code = open_newest(s, false, e);
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
        TRY(open_newest(s, true, e));
    if (fstat(s->fd, &st) != 0)
        return err_errno(e, "cannot look at the audit log %s", s->dir);
    if (st.st_nlink == 0 || st.st_size < s->size)
        return err_set(e, ERR_CHECK, "%s/%s was cut or removed under the service", s->dir, s->name);
    if (st.st_size > s->size)
        TRY(catch_up(s, s->head.seq > 0, e));
    else
        s->fragment_len = 0;
    if (s->rotate_bytes == 0 || s->size < s->rotate_bytes || s->fragment_len > 0 || s->end_missing)
        return ERR_OK;
    snprintf(old_name, AUDIT_NAME_BYTES, "%s", s->name);
    TRY(new_file(s, e));
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

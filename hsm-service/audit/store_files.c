/* Which files there are, and what stands in them: up to the end of the newest. */
#include "hsm-service/audit/store_inside.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_FORMAT "audit-%012" PRIu64 ".log"

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

enum err_code audit_store_catch_up(struct audit_store *s, bool started, struct err *e)
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

enum err_code audit_store_new_file(struct audit_store *s, struct err *e)
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
        return audit_store_new_file(s, e);
    struct stat st;
    TRY(open_file(s, names[count - 1], 0, e));
    if (fstat(s->fd, &st) == 0 && st.st_size > 0)
        return audit_store_catch_up(s, false, e);
    if (count < 2)
        return ERR_OK;
    TRY(open_file(s, names[count - 2], 0, e));
    TRY(audit_store_catch_up(s, false, e));
    return s->fragment_len > 0 || s->end_missing ? ERR_OK : open_file(s, names[count - 1], 0, e);
}

enum err_code audit_store_open_newest(struct audit_store *s, bool only_if_other, struct err *e)
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

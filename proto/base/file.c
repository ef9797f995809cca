#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err_code size_of(int fd, const char *path, size_t most, size_t *out_size, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_errno(e, "cannot read %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "%s is no file", path);
    if ((uint64_t)st.st_size > most)
        return err_set(e, ERR_LIMIT, "%s has more than %zu bytes", path, most);
    *out_size = (size_t)st.st_size;
    return ERR_OK;
}

static enum err_code read_all(int fd, const char *path, uint8_t *out_bytes, size_t size, size_t *out_len,
                              struct err *e)
{
    size_t at = 0;
    while (at < size) {
        const ssize_t got = read(fd, out_bytes + at, size - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(e, "cannot read %s", path);
        if (got == 0)
            break;
        at += (size_t)got;
    }
    *out_len = at;
    return ERR_OK;
}

enum err_code file_read(const char *path, size_t most, uint8_t **out_bytes, size_t *out_len, struct err *e)
{
    size_t size = 0, len = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return err_native(e, ERR_NOT_FOUND, errno, "%s is not there", path);
    if (fd < 0)
        return err_errno(e, "cannot open %s", path);
    enum err_code code = size_of(fd, path, most, &size, e);
    uint8_t *const bytes = code == ERR_OK ? calloc(1, size + 1) : NULL;
    if (code == ERR_OK)
        code = bytes != NULL ? read_all(fd, path, bytes, size, &len, e)
                             : err_set(e, ERR_LIMIT, "no memory for %s", path);
    close(fd);
    if (code != ERR_OK) {
        free(bytes);
        return code;
    }
    *out_bytes = bytes;
    *out_len = len;
    return ERR_OK;
}

static bool write_all(int fd, const uint8_t *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        const ssize_t wrote = write(fd, bytes + at, len - at);
        if (wrote < 0 && errno != EINTR)
            return false;
        at += wrote > 0 ? (size_t)wrote : 0;
    }
    return fsync(fd) == 0;
}

enum err_code file_sync_folder(const char *path, struct err *e)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot open the folder %s", path);
    const enum err_code code = fsync(fd) == 0 ? ERR_OK : err_errno(e, "cannot write the folder %s", path);
    close(fd);
    return code;
}

static enum err_code sync_folder_of(const char *path, struct err *e)
{
    char folder[4096];
    const char *const slash = strrchr(path, '/');
    const size_t len = slash != NULL ? (size_t)(slash - path) : 0;
    if (len >= sizeof folder)
        return err_set(e, ERR_INPUT, "the path %.60s... is too long", path);
    memcpy(folder, path, len);
    folder[len] = '\0';
    return file_sync_folder(slash == NULL ? "." : len == 0 ? "/" : folder, e);
}

enum err_code file_replace(const char *path, const uint8_t *bytes, size_t len, mode_t mode, struct err *e)
{
    char beside[4096];
    if ((size_t)snprintf(beside, sizeof beside, "%s.new", path) >= sizeof beside)
        return err_set(e, ERR_INPUT, "the path %.60s... is too long", path);
    const int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_errno(e, "cannot write %s", beside);
    const bool wrote = write_all(fd, bytes, len);
    const int why = errno;
    if (close(fd) != 0 || !wrote || rename(beside, path) != 0) {
        errno = wrote ? errno : why;
        const enum err_code code = err_errno(e, "cannot write %s", path);
        (void)unlink(beside);
        return code;
    }
    return sync_folder_of(path, e);
}

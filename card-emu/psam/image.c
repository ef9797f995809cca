#include "card-emu/psam/image.h"

#include "base/secret.h"
#include "card-emu/crypto/openssl.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC        "PSWDPSAM"
#define MAGIC_BYTES  8
#define FILE_VERSION 1
#define DIGEST_BYTES 32

struct chip_file {
    char magic[MAGIC_BYTES];
    uint8_t version;
    uint8_t image_len[2];
    struct chip_image image;
    uint8_t digest[DIGEST_BYTES];
};
_Static_assert(_Alignof(struct chip_file) == 1, "the card file is written as it lies in memory");

void chip_image_drop(struct chip_image *image)
{
    secret_wipe(image, sizeof *image);
}

static void chip_file_drop(struct chip_file *file)
{
    secret_wipe(file, sizeof *file);
}

static enum err_code digest_of(const struct chip_file *file, uint8_t out_digest[DIGEST_BYTES], struct err *e)
{
    unsigned len = 0;
    if (EVP_Digest(file, offsetof(struct chip_file, digest), out_digest, &len, EVP_sha256(), NULL) != 1)
        return err_set(e, ERR_INTERNAL, "libcrypto refused SHA-256");
    return ERR_OK;
}

static enum err_code check(const char *path, const struct chip_file *file, size_t got, struct err *e)
{
    uint8_t digest[DIGEST_BYTES];
    if (got < MAGIC_BYTES + 1 || strncmp(file->magic, MAGIC, MAGIC_BYTES) != 0)
        return err_set(e, ERR_CHECK, "%s is not a card file", path);
    if (file->version != FILE_VERSION)
        return err_set(e, ERR_UNSUPPORTED, "%s has version %u; this program reads %d", path, file->version,
                       FILE_VERSION);
    if (got != sizeof *file)
        return err_set(e, ERR_CHECK, "%s is damaged: %zu bytes, needs %zu", path, got, sizeof *file);
    TRY(digest_of(file, digest, e));
    if (!secret_equal(digest, file->digest, DIGEST_BYTES))
        return err_set(e, ERR_CHECK, "%s is damaged: its checksum does not match", path);
    for (size_t i = 0; i < CHIP_KEY_COUNT; i++) {
        if (file->image.keys[i].len > EMU_KEY_BYTES_MAX)
            return err_set(e, ERR_CHECK, "%s is damaged: key %zu is too long", path, i);
    }
    return ERR_OK;
}

static enum err_code read_private(const char *path, void *bytes, size_t capacity, size_t *out_got,
                                  struct err *e)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot open card file %s", path);
    struct stat st;
    enum err_code code = ERR_OK;
    ssize_t got = 0;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        code = err_set(e, ERR_IO, "%s is not a regular file", path);
    else if (st.st_mode & (S_IRWXG | S_IRWXO))
        code = err_set(e, ERR_DENIED, "%s is open to others (mode %04o); chmod 0600 it", path,
                       (unsigned)(st.st_mode & 07777));
    else if ((got = read(fd, bytes, capacity)) < 0)
        code = err_errno(e, "reading %s", path);
    close(fd);
    if (code == ERR_OK)
        *out_got = (size_t)got;
    return code;
}

enum err_code chip_file_load(const char *path, struct chip_image *out_image, struct err *e)
{
    struct {
        struct chip_file file;
        uint8_t more; /* one byte longer than a card file shows as too long */
    } buffer = {0};
    size_t got = 0;
    enum err_code code = read_private(path, &buffer, sizeof buffer, &got, e);
    if (code == ERR_OK)
        code = check(path, &buffer.file, got, e);
    if (code == ERR_OK)
        *out_image = buffer.file.image;
    secret_wipe(&buffer, sizeof buffer);
    return code;
}

static enum err_code write_synced(const char *path, const struct chip_file *file, struct err *e)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(e, "cannot write %s", path);
    enum err_code code = ERR_OK;
    const ssize_t done = write(fd, file, sizeof *file);
    if (done != (ssize_t)sizeof *file || fchmod(fd, 0600) != 0 || fsync(fd) != 0)
        code = err_errno(e, "writing %s", path);
    if (close(fd) != 0 && code == ERR_OK)
        code = err_errno(e, "closing %s", path);
    return code;
}

static enum err_code sync_directory(const char *path, struct err *e)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot open the directory of %s", path);
    enum err_code code = fsync(fd) == 0 ? ERR_OK : err_errno(e, "syncing the directory of %s", path);
    close(fd);
    return code;
}

enum err_code chip_file_save(const char *path, const struct chip_image *image, bool fresh, struct err *e)
{
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside)
        return err_set(e, ERR_INPUT, "the path of the card file is too long");
    AUTO(chip_file)
    file = {.version = FILE_VERSION,
            .image_len = {sizeof(struct chip_image) >> 8, sizeof(struct chip_image) & 0xFF},
            .image = *image};
    memcpy(file.magic, MAGIC, MAGIC_BYTES);
    TRY(digest_of(&file, file.digest, e));
    TRY(write_synced(beside, &file, e));
    if (renameat2(AT_FDCWD, beside, AT_FDCWD, path, fresh ? RENAME_NOREPLACE : 0) != 0) {
        const bool exists = errno == EEXIST;
        (void)err_errno(e, "replacing %s", path);
        unlink(beside);
        return exists ? err_set(e, ERR_EXISTS, "%s exists; a card is made once", path) : ERR_IO;
    }
    return sync_directory(path, e);
}

enum err_code chip_file_lock(const char *path, struct err *e)
{
    char lock[PATH_MAX];
    if (snprintf(lock, sizeof lock, "%s.lock", path) >= (int)sizeof lock)
        return err_set(e, ERR_INPUT, "the path of the card file is too long");
    const int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(e, "cannot open %s", lock);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return ERR_OK; /* held until the process ends */
    close(fd);
    return err_set(e, ERR_STATE, "another process serves the card %s", path);
}

enum err_code chip_key_load(const struct chip_key *stored, struct emu_key *out_key, struct err *e)
{
    if (stored->len == 0)
        return err_set(e, ERR_NOT_FOUND, "the card has no such key");
    return emu_key_init(out_key, (enum emu_algorithm)(stored->algorithm & 0x03), stored->bytes, stored->len,
                        e);
}

void chip_key_store(struct chip_key *out_stored, uint8_t usage, uint8_t version, uint8_t algorithm,
                    const struct emu_key *key)
{
    *out_stored = (struct chip_key){
        .usage = usage, .version = version, .algorithm = algorithm, .len = (uint8_t)key->len};
    memcpy(out_stored->bytes, key->bytes, key->len);
}

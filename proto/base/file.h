/* Whole files: read, and replaced so that a crash leaves the old one or the new one. Not for secrets. */
#ifndef POSWARD_BASE_FILE_H
#define POSWARD_BASE_FILE_H

#include "base/err.h"

#include <stdint.h>
#include <sys/types.h>

/* Read a regular file of at most `most` bytes; *out_bytes is the caller's to free, with a NUL behind it.
 * ERR_NOT_FOUND; ERR_LIMIT it is larger; ERR_IO. */
enum err_code file_read(const char *path, size_t most, uint8_t **out_bytes, size_t *out_len,
                        struct err *e) MUST_CHECK;
/* Write `path` with these bytes: beside it, to the disk, then renamed. */
enum err_code file_replace(const char *path, const uint8_t *bytes, size_t len, mode_t mode,
                           struct err *e) MUST_CHECK;
/* Bring the names in a folder to the disk. */
enum err_code file_sync_folder(const char *path, struct err *e) MUST_CHECK;

#endif

/* Bytes that must not leak: a key, a PIN, a token PIN, a clear block.
 *
 * A secret lives in a locked page that is left out of core dumps and is wiped on drop. No function prints,
 * hexes or logs one. Copying a struct secret copies the reference, not the bytes: pass pointers. One owner,
 * one thread. */
#ifndef POSWARD_BASE_SECRET_H
#define POSWARD_BASE_SECRET_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define SECRET_CAPACITY                                                                                      \
    256 /* bytes: the largest secret held here, a component file's line or a long token PIN */

struct secret {
    uint8_t *bytes; /* SECRET_CAPACITY bytes once initialised, NULL before */
    size_t len;     /* bytes in use */
};

/* Take an empty slot of locked memory. ERR_LIMIT when the process may lock no more: raise RLIMIT_MEMLOCK. */
enum err_code secret_init(struct secret *s, struct err *e) MUST_CHECK;
/* Initialise and fill. `len` at most SECRET_CAPACITY, else ERR_INPUT. The caller wipes its own copy. */
enum err_code secret_init_copy(struct secret *s, const void *bytes, size_t len, struct err *e) MUST_CHECK;
/* Initialise and fill with the `len` bytes that `text` says: hexadecimal digits, with spaces between groups,
 * as key components are written. ERR_INPUT another length or another character. */
enum err_code secret_init_hex(struct secret *s, const struct secret *text, size_t len,
                              struct err *e) MUST_CHECK;
/* Read the first line of a file whose mode gives nothing to group or others (0400 or 0600), owned by us or
 * root. ERR_DENIED wrong mode or owner; ERR_INPUT empty or too long; ERR_IO unreadable. */
enum err_code secret_init_file(struct secret *s, const char *path, struct err *e) MUST_CHECK;
/* Wipe and give back. Accepts a zeroed one. */
void secret_drop(struct secret *s);

/* Overwrite memory in a way that no optimiser removes. */
void secret_wipe(void *bytes, size_t len);
/* Equality of `len` bytes in constant time: for MACs, KCVs, tags, PIN data. */
bool secret_equal(const void *a, const void *b, size_t len);
/* Fill from the kernel's generator; cannot fail on a system that has booted. For challenges and nonces, not
 * for keys of the estate: those come from the token. */
void random_bytes(void *out, size_t len);

#endif

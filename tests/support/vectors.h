/* Published test vectors: tests/vectors/KIND.json, or the directory in POSWARD_VECTORS, for Check's loop
 * tests.
 *
 *   static struct vectors aes;
 *   START_TEST(aes_cmac_matches) { ... vectors_hex(&aes, _i, "inputs", "key", key, sizeof key) ... } END_TEST
 *   if (vectors_open(&aes, "aes_cmac")) tcase_add_loop_test(tc, aes_cmac_matches, 0, (int)aes.count);
 *
 * A malformed vector fails the test that reads it. Files hold test keys only. */
#ifndef POSWARD_TESTS_SUPPORT_VECTORS_H
#define POSWARD_TESTS_SUPPORT_VECTORS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vectors {
    json_t *root;
    const char *kind;
    size_t count;
};

/* False, and a line on standard output that says so, when the directory has no file of this kind. Ends the
 * process when there is no such directory, or a file that cannot be read. */
bool vectors_open(struct vectors *out_vectors, const char *kind);
void vectors_close(struct vectors *v);

/* The status of a process whose tests all are vectors: CTest calls VECTORS_SKIPPED skipped, when there was no
 * file of any of its kinds. */
#define VECTORS_SKIPPED 77
int vectors_exit(int status);

const char *vectors_id(const struct vectors *v, int index);
/* `section` is "inputs" or "expected". NULL, 0 or `absent` when the vector has no such value. A number may
 * also stand as digits. Hex is taken in either case. */
const char *vectors_text(const struct vectors *v, int index, const char *section, const char *name);
size_t vectors_hex(const struct vectors *v, int index, const char *section, const char *name, uint8_t *out,
                   size_t capacity);
long vectors_int(const struct vectors *v, int index, const char *section, const char *name, long absent);
/* The object itself, for kinds with nested values. */
const json_t *vectors_section(const struct vectors *v, int index, const char *section);
/* Fail on a key of "expected" that is not in `known` (which ends with NULL), or when there is none at all: a
 * test must not pass over what it does not understand. */
void vectors_expect_only(const struct vectors *v, int index, const char *const *known);

#define VECTORS_CUT       "%.300s" /* a value in a message: Check takes no long ones */
#define VECTORS_BYTES_MAX 4096     /* of data, and of what comes out */
/* Fail when the vector expects `name` and it is something else than what we got: the leftmost bytes, as many
 * as it gives; all bytes; the text. */
void vectors_expect_left(const struct vectors *v, int index, const char *name, const uint8_t *got,
                         size_t got_len);
void vectors_expect_hex(const struct vectors *v, int index, const char *name, const uint8_t *got,
                        size_t got_len);
void vectors_expect_text(const struct vectors *v, int index, const char *name, const char *got);
bool vectors_expects(const struct vectors *v, int index, const char *name);

#endif

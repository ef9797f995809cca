/* Key components in files, as a custodian writes them. */
#ifndef POSWARD_CARD_EMU_CRYPTO_COMPONENT_H
#define POSWARD_CARD_EMU_CRYPTO_COMPONENT_H

#include "base/err.h"

#include <stdint.h>

/* XOR the component in the file at `path`, `len` bytes in hexadecimal digits, onto `key`, which stays as it
 * was on failure. Errors as of secret_init_file and secret_init_hex, with the path. */
enum err_code emu_component_add(const char *path, uint8_t *key, size_t len, struct err *e) MUST_CHECK;

#endif

/* Base64 (RFC 4648). Not for secrets: nothing here takes a struct secret. */
#ifndef POSWARD_BASE_BASE64_H
#define POSWARD_BASE_BASE64_H

#include "base/err.h"

#include <stdint.h>

/* Characters for `len` bytes, with padding and a NUL. */
#define BASE64_TEXT_BYTES(len) (((len) + 2) / 3 * 4 + 1)
/* Most bytes that `text_len` characters can stand for. */
#define BASE64_BYTES(text_len) (((text_len) + 3) / 4 * 3)

/* Standard alphabet with padding, and a NUL, into out_text[BASE64_TEXT_BYTES(len)]. */
void base64_encode(const uint8_t *bytes, size_t len, char *out_text);
/* Standard or URL alphabet, with or without padding, into out_bytes[BASE64_BYTES(text_len)]; *out_len are
 * used. ERR_INPUT a foreign character, a length that cannot be, bits left over; out_bytes is scratch then. */
enum err_code base64_decode(const char *text, size_t text_len, uint8_t *out_bytes, size_t *out_len,
                            struct err *e) MUST_CHECK;

#endif

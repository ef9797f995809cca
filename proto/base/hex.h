/* Hexadecimal and BCD text. Not for secrets: nothing here takes a struct secret. */
#ifndef POSWARD_BASE_HEX_H
#define POSWARD_BASE_HEX_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Write 2*len upper-case characters and a NUL into out_text[2*len+1]. */
void hex_encode(const uint8_t *bytes, size_t len, char *out_text);
/* Read exactly `text_len` characters (even, either case) into out_bytes[text_len/2]. ERR_INPUT otherwise. */
enum err_code hex_decode(const char *text, size_t text_len, uint8_t *out_bytes, struct err *e) MUST_CHECK;
/* Value of one hex digit, -1 when it is none. */
int hex_digit(char c);
/* True when all `len` characters are 0-9 (true for none). */
bool digits_only(const char *text, size_t len);
/* Pack an even number of decimal digits, two a byte. ERR_INPUT odd length or a character that is no digit. */
enum err_code bcd_encode(const char *digits, size_t digit_count, uint8_t *out_bytes,
                         struct err *e) MUST_CHECK;

#endif

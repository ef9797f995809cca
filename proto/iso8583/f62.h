/* Field 62 of sign-in: the terminal's serial number in the request, enciphered working keys in the response.
 *
 * A layout is a row: its length tells it. Cryptograms are opaque here; a key's check value (CV) is 4 bytes.
 * | bytes | slots | asked for by F60.3 |
 * | 24 | PIK 8, MAK 8 | 001 |   | 40 | PIK 16, MAK 8 + 8 zero bytes | 003 |
 * | 60 | PIK, MAK, TDK 16 | 004 |   | 84 | PIK, MAK, TDK 24 | 005 and the AES suites |
 * 56 (two 24-byte slots), 57 (the same and one byte more) and 104 (five 16-byte slots, the first three used,
 * and 4 bytes more) are read, not written. In a 24-byte slot a TDES key is right-padded with zeros, an AES
 * key is its whole RFC 3394 cryptogram. Any thread. Source: UnionPay POS sign-in; the AES slot is Posward's.
 */
#ifndef POSWARD_ISO8583_F62_H
#define POSWARD_ISO8583_F62_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define ISO_F62_BYTES_MAX  84 /* longest that is built */
#define ISO_F62_CV_BYTES   4
#define ISO_F62_CIPHER_MAX 24

enum iso_f62_slot { ISO_F62_PIK, ISO_F62_MAK, ISO_F62_TDK, ISO_F62_SLOT_COUNT };

/* What fills a 24-byte slot: a zero-padded 16-byte TDES cryptogram, or all of it. */
enum iso_f62_fill { ISO_F62_TDES, ISO_F62_AES };

struct iso_f62_key {
    uint8_t cipher[ISO_F62_CIPHER_MAX];
    size_t cipher_len; /* 8, 16 or 24; 0: the layout has no such key */
    uint8_t cv[ISO_F62_CV_BYTES];
};

struct iso_f62 {
    struct iso_f62_key keys[ISO_F62_SLOT_COUNT];
};

/* The length of field 62 that answers a management code: "001" 24, "003" 40, "004" 60, "005" 84. ERR_INPUT
 * another code. An AES suite takes 84 whatever the code. */
enum err_code iso_f62_len(const char *management_code, size_t *out_len, struct err *e) MUST_CHECK;
/* Bytes of a slot's cryptogram in the layout of `len` bytes: 8, 16, 24, or 0 for no such slot or layout. */
size_t iso_f62_slot_len(size_t len, enum iso_f62_slot slot);

/* ERR_INPUT a length without a layout, or padding that is not zero. */
enum err_code iso_f62_parse(const uint8_t *bytes, size_t len, enum iso_f62_fill fill, struct iso_f62 *out_f62,
                            struct err *e) MUST_CHECK;
/* `len` is 24, 40, 60 or 84. ERR_INPUT a cryptogram that does not fit its slot. */
enum err_code iso_f62_build(const struct iso_f62 *f62, size_t len, uint8_t out_bytes[ISO_F62_BYTES_MAX],
                            struct err *e) MUST_CHECK;

/* The serial number in a request: "Sequence No", its length as two digits, the number. The out_ parameters
 * borrow. ERR_INPUT another shape. */
enum err_code iso_f62_serial(const uint8_t *bytes, size_t len, const char **out_serial,
                             size_t *out_serial_len, struct err *e) MUST_CHECK;
#define ISO_F62_SERIAL_MAX 99
/* Build that request; out_text is NUL-terminated. ERR_INPUT a serial number of 0 or more than 99 characters.
 */
enum err_code iso_f62_serial_build(const char *serial, char out_text[16 + ISO_F62_SERIAL_MAX],
                                   struct err *e) MUST_CHECK;

#endif

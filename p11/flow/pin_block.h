/* Inside p11 only: how ISO 9564-1:2017 lays a PIN out, and which format may become which. No token here.
 *
 * Formats go by their ISO number, 0 to 4. A clear PIN or block is only ever in a struct secret. Decoding
 * takes the same steps whatever the digits are, and says only "does not decode": which digit or length was
 * wrong would be an oracle. */
#ifndef POSWARD_P11_PIN_BLOCK_H
#define POSWARD_P11_PIN_BLOCK_H

#include "base/secret.h"

#define PIN_FORMATS       5
#define PIN_SHORTEST      4
#define PIN_LONGEST       12
#define PIN_BLOCK_LARGEST 16
#define PIN_FILL_BYTES    14

/* 8 bytes, or 16 for format 4. `format` below PIN_FORMATS. */
size_t pin_block_bytes(unsigned format);
/* 12 to 19 decimal digits with the check digit. ERR_INPUT otherwise, without the digits. */
enum err_code pin_pan_check(const char *pan, struct err *e) MUST_CHECK;
/* ERR_DENIED with the reason when a PIN of one format may not be sent on in the other, the PAN unchanged.
 * Source: ISO 9564-1:2017 9.3 and 9.4; PCI PIN Security 3.1, requirement 3-3. */
enum err_code pin_rule_check(unsigned from, unsigned to, struct err *e) MUST_CHECK;

/* What is added to the PIN field: formats 0 and 3 the 12 rightmost digits but the check digit, format 4 the
 * whole PAN with its length; zeros for 1 and 2. 1 to 19 digits; a PAN of fewer than 12 gets zeros on its left
 * (ISO 9564-1:2017 9.4.2.3). */
void pin_pan_field(unsigned format, const char *pan, uint8_t out_field[PIN_BLOCK_LARGEST]);
/* A clear block (of format 4: the clear PIN field) to a PIN, one digit 0-9 a byte. ERR_CHECK: it is none. */
enum err_code pin_block_decode(unsigned format, const char *pan, const struct secret *block,
                               struct secret *out_pin, struct err *e) MUST_CHECK;
/* The other way. `fill`: random bytes for formats 1, 3 and 4, not secret after encipherment. ERR_INPUT: PIN
 * length. */
enum err_code pin_block_encode(unsigned format, const char *pan, const struct secret *pin,
                               const uint8_t fill[PIN_FILL_BYTES], struct secret *out_block,
                               struct err *e) MUST_CHECK;

#endif

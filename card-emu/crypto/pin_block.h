/* ISO 9564 PIN blocks in clear, and format 4's two steps around the cipher. The emulated PIN pad is the only
 * user: clear PINs never reach the host side. Any thread. Source: ISO 9564-1:2017 8.3-8.5 and 9.3. */
#ifndef POSWARD_CARD_EMU_CRYPTO_PIN_BLOCK_H
#define POSWARD_CARD_EMU_CRYPTO_PIN_BLOCK_H

#include "card-emu/crypto/key.h"

#define EMU_PIN_BLOCK_BYTES   8
#define EMU_PIN_FIELD_4_BYTES 16
#define EMU_PIN_DIGITS_MAX    12

/* Format 0, 1, 2 or 3. `pan` is not looked at in formats 1 and 2. ERR_INPUT a PIN that is not 4 to 12 digits,
 * a PAN that is not 12 to 19, another format. */
enum err_code emu_pin_block_build(int format, const char *pin, const char *pan,
                                  uint8_t out_block[EMU_PIN_BLOCK_BYTES], struct err *e) MUST_CHECK;
/* Format 0, 1, 2 or 3, told by `format`. ERR_CHECK when the block is not of that format (a wrong key, a wrong
 * PAN). */
enum err_code emu_pin_block_parse(int format, const uint8_t block[EMU_PIN_BLOCK_BYTES], const char *pan,
                                  char out_pin[EMU_PIN_DIGITS_MAX + 1], struct err *e) MUST_CHECK;

/* Format 4: the plain PIN field (with 8 random bytes) and the plain PAN field (PAN of 1 to 19 digits). The
 * block is E(K, E(K, PIN field) xor PAN field). */
enum err_code emu_pin_field_4(const char *pin, uint8_t out_field[EMU_PIN_FIELD_4_BYTES],
                              struct err *e) MUST_CHECK;
enum err_code emu_pan_field_4(const char *pan, uint8_t out_field[EMU_PIN_FIELD_4_BYTES],
                              struct err *e) MUST_CHECK;
enum err_code emu_pin_field_4_parse(const uint8_t field[EMU_PIN_FIELD_4_BYTES],
                                    char out_pin[EMU_PIN_DIGITS_MAX + 1], struct err *e) MUST_CHECK;
enum err_code emu_pin_block_4_encrypt(const struct emu_key *key, const char *pin, const char *pan,
                                      uint8_t out_block[EMU_PIN_FIELD_4_BYTES], struct err *e) MUST_CHECK;
enum err_code emu_pin_block_4_decrypt(const struct emu_key *key, const uint8_t block[EMU_PIN_FIELD_4_BYTES],
                                      const char *pan, uint8_t out_field[EMU_PIN_FIELD_4_BYTES],
                                      struct err *e) MUST_CHECK;

#endif

/* The emulators' own software crypto: DES and AES keys, block modes, check values, diversification.
 *
 * The emulated card is a chip of its own: it does not use the HSM, and nothing of the HSM uses this. Keys
 * live in struct emu_key, wiped on drop. A DES key of 8 bytes works as K||K||K, one of 16 as K1||K2||K1: no
 * legacy provider is needed. Errors: ERR_INPUT wrong lengths, ERR_CHECK wrapped data of another key,
 * ERR_INTERNAL libcrypto failed. Any thread. */
#ifndef POSWARD_CARD_EMU_CRYPTO_KEY_H
#define POSWARD_CARD_EMU_CRYPTO_KEY_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define EMU_KEY_BYTES_MAX 32
#define EMU_BLOCK_MAX     16
#define EMU_DES_BLOCK     8
#define EMU_KCV_BYTES_MAX 16

/* The first EMU_CARD_ALGORITHMS are the low nibble of a card's algorithm byte. */
enum emu_algorithm { EMU_TDES = 0, EMU_DES = 1, EMU_AES_128 = 2, EMU_AES_256 = 3, EMU_AES_192 = 4 };
#define EMU_CARD_ALGORITHMS 4
#define EMU_ALGORITHMS      5

struct emu_key {
    enum emu_algorithm algorithm;
    uint8_t bytes[EMU_KEY_BYTES_MAX];
    size_t len;
};

/* DES 8 bytes, TDES 16 or 24, AES-128 16, AES-192 24, AES-256 32. */
enum err_code emu_key_init(struct emu_key *key, enum emu_algorithm algorithm, const void *bytes, size_t len,
                           struct err *e) MUST_CHECK;
/* DES for 8 bytes, TDES for 16 and 24. */
enum err_code emu_key_init_des(struct emu_key *key, const void *bytes, size_t len, struct err *e) MUST_CHECK;
void emu_key_drop(struct emu_key *key);
/* Bytes of a key of this algorithm (TDES: 16), and of its block. */
size_t emu_key_len(enum emu_algorithm algorithm);
size_t emu_block_len(enum emu_algorithm algorithm);
bool emu_is_aes(enum emu_algorithm algorithm);

/* `len` bytes, whole blocks; `out` may be `in`. */
enum err_code emu_encrypt_ecb(const struct emu_key *key, const uint8_t *in, size_t len, uint8_t *out,
                              struct err *e) MUST_CHECK;
enum err_code emu_decrypt_ecb(const struct emu_key *key, const uint8_t *in, size_t len, uint8_t *out,
                              struct err *e) MUST_CHECK;
/* `iv` is one block; NULL: zeros. */
enum err_code emu_encrypt_cbc(const struct emu_key *key, const uint8_t *iv, const uint8_t *in, size_t len,
                              uint8_t *out, struct err *e) MUST_CHECK;

/* RFC 3394 with the default IV; out has len + 8 (wrap) or len - 8 (unwrap) bytes. Unwrap: ERR_CHECK wrong
 * key. */
enum err_code emu_wrap(const struct emu_key *kek, const uint8_t *key, size_t len, uint8_t *out,
                       struct err *e) MUST_CHECK;
enum err_code emu_unwrap(const struct emu_key *kek, const uint8_t *wrapped, size_t len, uint8_t *out,
                         struct err *e) MUST_CHECK;

/* Check value, leftmost `len` (at most a block) bytes: DES keys E(K, 0), AES keys CMAC(K, 16 zero bytes). */
enum err_code emu_kcv(const struct emu_key *key, uint8_t *out_kcv, size_t len, struct err *e) MUST_CHECK;

#endif

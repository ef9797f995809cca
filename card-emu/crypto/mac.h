/* MACs of the emulators, by libcrypto. Any thread. */
#ifndef POSWARD_CARD_EMU_CRYPTO_MAC_H
#define POSWARD_CARD_EMU_CRYPTO_MAC_H

#include "card-emu/crypto/key.h"

#define EMU_MAC_INPUT_MAX 16384

/* ISO 9797-1 padding: 1 zeros up to a block, 2 always 80 and zeros, 3 a block with the length in bits, then
 * zeros. */
enum emu_padding { EMU_PAD_ZERO = 1, EMU_PAD_80 = 2, EMU_PAD_LENGTH = 3 };

struct emu_mac_spec {
    bool retail; /* algorithm 3: DES-CBC under the left half, last block under both; else algorithm 1 */
    enum emu_padding padding;
    const uint8_t *iv; /* 8 bytes; NULL: zeros */
};

/* The whole last block. ERR_INPUT an AES key, algorithm 3 with a key of 24 bytes (8 works as K||K), or too
 * much data. Sources: ISO/IEC 9797-1; X9.9 is algorithm 1 and X9.19 algorithm 3, both with padding 1. */
enum err_code emu_mac(const struct emu_key *key, const struct emu_mac_spec *spec, const uint8_t *data,
                      size_t len, uint8_t out_mac[EMU_DES_BLOCK], struct err *e) MUST_CHECK;

/* PBOC: padding 2; DES-CBC for an 8-byte key, algorithm 3 for a 16-byte one. Callers take the left 4 bytes.
 */
enum err_code emu_mac_pboc(const struct emu_key *key, const uint8_t iv[EMU_DES_BLOCK], const uint8_t *data,
                           size_t len, uint8_t out_mac[EMU_DES_BLOCK], struct err *e) MUST_CHECK;

/* UnionPay's first step, without a key: zero-padded 8-byte blocks XORed, as 16 upper-case hex characters. */
void emu_unionpay_fold(const uint8_t *data, size_t len, uint8_t out_hex[16]);
/* UnionPay's ECB MAC, the whole last block; field 64 is the first 8 hex characters of it. */
enum err_code emu_mac_unionpay(const struct emu_key *key, const uint8_t *data, size_t len,
                               uint8_t out_mac[EMU_DES_BLOCK], struct err *e) MUST_CHECK;

/* AES-CMAC, NIST SP 800-38B. */
enum err_code emu_cmac(const struct emu_key *key, const uint8_t *data, size_t len,
                       uint8_t out_mac[EMU_BLOCK_MAX], struct err *e) MUST_CHECK;

#endif

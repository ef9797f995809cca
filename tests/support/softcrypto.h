/* libcrypto as a second opinion, apart from our headers: its types.h and base/err.h both define ERR_STATE. */
#ifndef POSWARD_TESTS_SUPPORT_SOFTCRYPTO_H
#define POSWARD_TESTS_SUPPORT_SOFTCRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum soft_cipher {
    SOFT_TDES_ECB, /* 16-byte key */
    SOFT_AES_128_ECB,
    SOFT_AES_256_ECB,
    SOFT_AES_128_WRAP, /* RFC 3394 */
    SOFT_AES_256_WRAP
};

/* At most 64 bytes, no padding; in place is allowed. Ends the process where libcrypto refuses. */
void soft_cipher(enum soft_cipher which, bool encrypt, const uint8_t *key, const uint8_t *in, size_t len,
                 uint8_t *out);
/* Whether RFC 3394's check holds under this key. */
bool soft_unwraps(enum soft_cipher which, const uint8_t *key, const uint8_t *in, size_t len);
/* AES-CMAC of 16 zero bytes; key of 16 or 32 bytes. */
void soft_aes_kcv(const uint8_t *key, size_t key_len, uint8_t out_mac[16]);

#endif

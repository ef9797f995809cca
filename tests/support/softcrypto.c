#include "tests/support/softcrypto.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES 64

static void must(bool right)
{
    if (right)
        return;
    fprintf(stderr, "libcrypto refuses\n");
    exit(EXIT_FAILURE);
}

static const EVP_CIPHER *cipher_of(enum soft_cipher which)
{
    switch (which) {
    case SOFT_TDES_ECB:
        return EVP_des_ede_ecb();
    case SOFT_AES_128_ECB:
        return EVP_aes_128_ecb();
    case SOFT_AES_256_ECB:
        return EVP_aes_256_ecb();
    case SOFT_AES_128_WRAP:
        return EVP_aes_128_wrap();
    case SOFT_AES_256_WRAP:
        return EVP_aes_256_wrap();
    }
    return NULL;
}

bool soft_unwraps(enum soft_cipher which, const uint8_t *key, const uint8_t *in, size_t len)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t buffer[MOST_BYTES];
    int done = 0;
    must(ctx != NULL && len <= MOST_BYTES);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    must(EVP_CipherInit_ex(ctx, cipher_of(which), NULL, key, NULL, 0) == 1);
    const bool right = EVP_CipherUpdate(ctx, buffer, &done, in, (int)len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return right;
}

void soft_cipher(enum soft_cipher which, bool encrypt, const uint8_t *key, const uint8_t *in, size_t len,
                 uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t buffer[MOST_BYTES + 16];
    int done = 0, rest = 0;
    must(ctx != NULL && len <= MOST_BYTES);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    must(EVP_CipherInit_ex(ctx, cipher_of(which), NULL, key, NULL, encrypt) == 1);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    must(EVP_CipherUpdate(ctx, buffer, &done, in, (int)len) == 1);
    must(EVP_CipherFinal_ex(ctx, buffer + done, &rest) == 1);
    memcpy(out, buffer, (size_t)(done + rest));
    EVP_CIPHER_CTX_free(ctx);
}

void soft_aes_kcv(const uint8_t *key, size_t key_len, uint8_t out_mac[16])
{
    static const uint8_t zeros[16];
    char cipher[] = "AES-128-CBC", long_cipher[] = "AES-256-CBC";
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "CMAC", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    size_t len = 0;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, key_len == 32 ? long_cipher : cipher, 0),
        OSSL_PARAM_construct_end()};
    must(EVP_MAC_init(ctx, key, key_len, params) == 1);
    must(EVP_MAC_update(ctx, zeros, sizeof zeros) == 1);
    must(EVP_MAC_final(ctx, out_mac, &len, 16) == 1);
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
}

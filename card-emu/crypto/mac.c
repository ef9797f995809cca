#include "card-emu/crypto/mac.h"

#include "base/hex.h"
#include "base/secret.h"
#include "card-emu/crypto/openssl.h"

#include <stdio.h>
#include <string.h>

static uint64_t bits_of(size_t bytes)
{
    return (uint64_t)bytes * 8;
}

static size_t pad(enum emu_padding padding, const uint8_t *data, size_t len, uint8_t *out)
{
    size_t at = 0;
    if (padding == EMU_PAD_LENGTH) {
        for (size_t i = 0; i < EMU_DES_BLOCK; i++)
            out[at++] = (uint8_t)(bits_of(len) >> (8 * (7 - i)));
    }
    if (len > 0)
        memcpy(out + at, data, len);
    at += len;
    if (padding == EMU_PAD_80)
        out[at++] = 0x80;
    while (at % EMU_DES_BLOCK != 0 || at == 0)
        out[at++] = 0;
    return at;
}

/* Algorithm 3's last step on algorithm 1's result under the left half: decrypt under the right, encrypt under
 * the left. */
static enum err_code finish_retail(const struct emu_key *left, const struct emu_key *key,
                                   uint8_t block[EMU_DES_BLOCK], struct err *e)
{
    AUTO(emu_key) right = {0};
    TRY(emu_key_init(&right, EMU_DES, key->bytes + EMU_DES_BLOCK, EMU_DES_BLOCK, e));
    TRY(emu_decrypt_ecb(&right, block, EMU_DES_BLOCK, block, e));
    return emu_encrypt_ecb(left, block, EMU_DES_BLOCK, block, e);
}

static enum err_code cbc_last(const struct emu_key *key, const uint8_t *iv, uint8_t *padded, size_t len,
                              uint8_t out_block[EMU_DES_BLOCK], struct err *e)
{
    TRY(emu_encrypt_cbc(key, iv, padded, len, padded, e));
    memcpy(out_block, padded + len - EMU_DES_BLOCK, EMU_DES_BLOCK);
    return ERR_OK;
}

enum err_code emu_mac(const struct emu_key *key, const struct emu_mac_spec *spec, const uint8_t *data,
                      size_t len, uint8_t out_mac[EMU_DES_BLOCK], struct err *e)
{
    if (emu_is_aes(key->algorithm))
        return err_set(e, ERR_INPUT, "a MAC of DES blocks needs a DES key");
    if (spec->retail && key->len != 16 && key->len != 8)
        return err_set(e, ERR_INPUT, "algorithm 3 needs a key of 8 or 16 bytes, not %zu", key->len);
    if (len > EMU_MAC_INPUT_MAX)
        return err_set(e, ERR_INPUT, "%zu bytes to MAC exceed %d", len, EMU_MAC_INPUT_MAX);
    uint8_t padded[EMU_MAC_INPUT_MAX + 3 * EMU_DES_BLOCK], block[EMU_DES_BLOCK];
    const size_t padded_len = pad(spec->padding, data, len, padded);
    if (!spec->retail || key->len == 8) { /* K||K: algorithm 3 is algorithm 1 */
        TRY(cbc_last(key, spec->iv, padded, padded_len, block, e));
    } else {
        AUTO(emu_key) left = {0};
        TRY(emu_key_init(&left, EMU_DES, key->bytes, EMU_DES_BLOCK, e));
        TRY(cbc_last(&left, spec->iv, padded, padded_len, block, e));
        TRY(finish_retail(&left, key, block, e));
    }
    memcpy(out_mac, block, EMU_DES_BLOCK);
    return ERR_OK;
}

enum err_code emu_mac_pboc(const struct emu_key *key, const uint8_t iv[EMU_DES_BLOCK], const uint8_t *data,
                           size_t len, uint8_t out_mac[EMU_DES_BLOCK], struct err *e)
{
    const struct emu_mac_spec spec = {.retail = key->len == 16, .padding = EMU_PAD_80, .iv = iv};
    return emu_mac(key, &spec, data, len, out_mac, e);
}

void emu_unionpay_fold(const uint8_t *data, size_t len, uint8_t out_hex[16])
{
    uint8_t folded[EMU_DES_BLOCK] = {0};
    for (size_t i = 0; i < len; i++)
        folded[i % EMU_DES_BLOCK] ^= data[i];
    char text[2 * EMU_DES_BLOCK + 1];
    hex_encode(folded, sizeof folded, text);
    memcpy(out_hex, text, sizeof text - 1);
}

enum err_code emu_mac_unionpay(const struct emu_key *key, const uint8_t *data, size_t len,
                               uint8_t out_mac[EMU_DES_BLOCK], struct err *e)
{
    uint8_t hex[2 * EMU_DES_BLOCK];
    emu_unionpay_fold(data, len, hex);
    return cbc_last(key, NULL, hex, sizeof hex, out_mac, e);
}

enum err_code emu_cmac(const struct emu_key *key, const uint8_t *data, size_t len,
                       uint8_t out_mac[EMU_BLOCK_MAX], struct err *e)
{
    if (!emu_is_aes(key->algorithm))
        return err_set(e, ERR_INPUT, "CMAC needs an AES key");
    char cipher[16];
    snprintf(cipher, sizeof cipher, "AES-%zu-CBC", 8 * key->len);
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "CMAC", NULL);
    EVP_MAC_CTX *ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    uint8_t block[EMU_BLOCK_MAX];
    size_t got = 0;
    const bool done = ctx != NULL && EVP_MAC_init(ctx, key->bytes, key->len, params) == 1 &&
                      EVP_MAC_update(ctx, data, len) == 1 &&
                      EVP_MAC_final(ctx, block, &got, sizeof block) == 1;
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    if (!done || got != EMU_BLOCK_MAX)
        return err_set(e, ERR_INTERNAL, "libcrypto refused the CMAC");
    memcpy(out_mac, block, EMU_BLOCK_MAX);
    return ERR_OK;
}

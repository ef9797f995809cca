#include "card-emu/crypto/key.h"

#include "base/secret.h"
#include "card-emu/crypto/mac.h"
#include "card-emu/crypto/openssl.h"

#include <string.h>

#define TDES_FULL_BYTES 24
#define WRAP_EXTRA      8

struct algorithm_row {
    size_t key_len, block_len;
    bool aes;
    const EVP_CIPHER *(*ecb)(void);
    const EVP_CIPHER *(*cbc)(void);
    const EVP_CIPHER *(*wrap)(void);
};

static const struct algorithm_row algorithms[EMU_ALGORITHMS] = {
    [EMU_TDES] = {16, 8, false, EVP_des_ede3_ecb, EVP_des_ede3_cbc, NULL},
    [EMU_DES] = {8, 8, false, EVP_des_ede3_ecb, EVP_des_ede3_cbc, NULL},
    [EMU_AES_128] = {16, 16, true, EVP_aes_128_ecb, EVP_aes_128_cbc, EVP_aes_128_wrap},
    [EMU_AES_192] = {24, 16, true, EVP_aes_192_ecb, EVP_aes_192_cbc, EVP_aes_192_wrap},
    [EMU_AES_256] = {32, 16, true, EVP_aes_256_ecb, EVP_aes_256_cbc, EVP_aes_256_wrap},
};

size_t emu_key_len(enum emu_algorithm algorithm)
{
    return algorithms[algorithm].key_len;
}

size_t emu_block_len(enum emu_algorithm algorithm)
{
    return algorithms[algorithm].block_len;
}

bool emu_is_aes(enum emu_algorithm algorithm)
{
    return algorithms[algorithm].aes;
}

enum err_code emu_key_init(struct emu_key *key, enum emu_algorithm algorithm, const void *bytes, size_t len,
                           struct err *e)
{
    const bool triple = algorithm == EMU_TDES && len == TDES_FULL_BYTES;
    if (len != algorithms[algorithm].key_len && !triple)
        return err_set(e, ERR_INPUT, "key of %zu bytes, needs %zu", len, algorithms[algorithm].key_len);
    *key = (struct emu_key){.algorithm = algorithm, .len = len};
    memcpy(key->bytes, bytes, len);
    return ERR_OK;
}

enum err_code emu_key_init_des(struct emu_key *key, const void *bytes, size_t len, struct err *e)
{
    return emu_key_init(key, len == 8 ? EMU_DES : EMU_TDES, bytes, len, e);
}

void emu_key_drop(struct emu_key *key)
{
    secret_wipe(key, sizeof *key);
}

/* The 24 bytes that EDE3 takes. */
static void expand_des(const struct emu_key *key, uint8_t out[TDES_FULL_BYTES])
{
    for (size_t i = 0; i < TDES_FULL_BYTES; i++)
        out[i] = key->bytes[i % key->len];
}

static enum err_code run(const struct emu_key *key, const EVP_CIPHER *cipher, int direction,
                         const uint8_t *iv, const uint8_t *in, size_t len, uint8_t *out)
{
    uint8_t material[EMU_KEY_BYTES_MAX];
    if (emu_is_aes(key->algorithm))
        memcpy(material, key->bytes, key->len);
    else
        expand_des(key, material);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int got = 0, rest = 0;
    uint8_t tail[EMU_BLOCK_MAX];
    bool done = ctx != NULL;
    if (done)
        EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    done = done && EVP_CipherInit_ex(ctx, cipher, NULL, material, iv, direction) == 1 &&
           EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 && EVP_CipherUpdate(ctx, out, &got, in, (int)len) == 1 &&
           EVP_CipherFinal_ex(ctx, tail, &rest) == 1;
    EVP_CIPHER_CTX_free(ctx);
    secret_wipe(material, sizeof material);
    return done ? ERR_OK : ERR_CHECK;
}

static enum err_code blocks(const struct emu_key *key, const EVP_CIPHER *cipher, int direction,
                            const uint8_t *iv, const uint8_t *in, size_t len, uint8_t *out, struct err *e)
{
    static const uint8_t zeros[EMU_BLOCK_MAX];
    if (len % emu_block_len(key->algorithm) != 0)
        return err_set(e, ERR_INPUT, "%zu bytes are no whole blocks of %zu", len,
                       emu_block_len(key->algorithm));
    if (len > 0 && run(key, cipher, direction, iv != NULL ? iv : zeros, in, len, out) != ERR_OK)
        return err_set(e, ERR_INTERNAL, "libcrypto refused the cipher");
    return ERR_OK;
}

enum err_code emu_encrypt_ecb(const struct emu_key *key, const uint8_t *in, size_t len, uint8_t *out,
                              struct err *e)
{
    return blocks(key, algorithms[key->algorithm].ecb(), 1, NULL, in, len, out, e);
}

enum err_code emu_decrypt_ecb(const struct emu_key *key, const uint8_t *in, size_t len, uint8_t *out,
                              struct err *e)
{
    return blocks(key, algorithms[key->algorithm].ecb(), 0, NULL, in, len, out, e);
}

enum err_code emu_encrypt_cbc(const struct emu_key *key, const uint8_t *iv, const uint8_t *in, size_t len,
                              uint8_t *out, struct err *e)
{
    return blocks(key, algorithms[key->algorithm].cbc(), 1, iv, in, len, out, e);
}

static enum err_code check_wrap(const struct emu_key *kek, size_t key_len, struct err *e)
{
    if (!emu_is_aes(kek->algorithm))
        return err_set(e, ERR_INPUT, "a DES key cannot wrap by RFC 3394");
    if (key_len < 16 || key_len > EMU_KEY_BYTES_MAX || key_len % 8 != 0)
        return err_set(e, ERR_INPUT, "key of %zu bytes cannot be wrapped by RFC 3394", key_len);
    return ERR_OK;
}

enum err_code emu_wrap(const struct emu_key *kek, const uint8_t *key, size_t len, uint8_t *out, struct err *e)
{
    TRY(check_wrap(kek, len, e));
    if (run(kek, algorithms[kek->algorithm].wrap(), 1, NULL, key, len, out) != ERR_OK)
        return err_set(e, ERR_INTERNAL, "libcrypto refused the key wrap");
    return ERR_OK;
}

enum err_code emu_unwrap(const struct emu_key *kek, const uint8_t *wrapped, size_t len, uint8_t *out,
                         struct err *e)
{
    TRY(check_wrap(kek, len < WRAP_EXTRA ? 0 : len - WRAP_EXTRA, e));
    uint8_t clear[EMU_KEY_BYTES_MAX + WRAP_EXTRA];
    enum err_code code = run(kek, algorithms[kek->algorithm].wrap(), 0, NULL, wrapped, len, clear);
    if (code == ERR_OK)
        memcpy(out, clear, len - WRAP_EXTRA);
    else
        code = err_set(e, ERR_CHECK, "the wrapped key was made under another key");
    secret_wipe(clear, sizeof clear);
    return code;
}

#include "p11/travel/key_block_token.h"

#include "base/hex.h"
#include "base/secret.h"
#include "p11/object/object.h"
#include "p11/object/template.h"

#include <stdio.h>
#include <string.h>

#define BLOCK_MOST    16
#define LENGTH_BYTES  2 /* of the key, in bits, before it */
#define MESSAGE_BYTES (TOK_KEY_BLOCK_CHARACTERS + KEY_BLOCK_CIPHER_BYTES)
#define USAGE_CIPHER  0x0000
#define USAGE_MAC     0x0001

struct algorithm {
    size_t block_bytes;
    CK_MECHANISM_TYPE ecb, cbc;
    uint8_t feedback; /* of the CMAC subkeys: SP 800-38B 5.3 */
};
static const struct algorithm tdes = {8, CKM_DES3_ECB, CKM_DES3_CBC, 0x1B},
                              aes = {16, CKM_AES_ECB, CKM_AES_CBC, 0x87};

static const struct algorithm *algorithm_of(char version)
{
    return version == 'B' ? &tdes : &aes;
}

static CK_KEY_TYPE type_of(char version, size_t bytes)
{
    return version != 'B' ? CKK_AES : bytes == 16 ? CKK_DES2 : CKK_DES3;
}

/* X9.143: 0 TDES of two keys, 1 of three; 2, 3, 4 AES of 128, 192, 256 bits. */
static uint16_t code_of(char version, size_t bytes)
{
    return (uint16_t)(version == 'B' ? (bytes == 16 ? 0 : 1) : bytes / 8);
}

/* ---- CMAC by CBC encipherment: not every token makes one with TDES, none with any key object ---- */

static void shift_left(const uint8_t *in, uint8_t *out, const struct algorithm *a)
{
    const bool carry = (in[0] & 0x80) != 0;
    for (size_t i = 0; i < a->block_bytes; i++)
        out[i] = (uint8_t)(in[i] << 1 | (i + 1 < a->block_bytes ? in[i + 1] >> 7 : 0));
    if (carry)
        out[a->block_bytes - 1] ^= a->feedback;
}

/* `message` has room for a block more, and is changed. */
static enum err_code cmac(struct tok_session *s, const struct algorithm *a, CK_OBJECT_HANDLE key,
                          uint8_t *message, size_t len, uint8_t *out_mac, struct err *e)
{
    static const uint8_t zeros[BLOCK_MOST];
    uint8_t l[BLOCK_MOST], k1[BLOCK_MOST], k2[BLOCK_MOST], iv[BLOCK_MOST] = {0};
    CK_MECHANISM ecb = {.mechanism = a->ecb};
    CK_MECHANISM cbc = {.mechanism = a->cbc, .pParameter = iv, .ulParameterLen = a->block_bytes};
    TRY(tok_encrypt(s, &ecb, key, zeros, a->block_bytes, l, e));
    shift_left(l, k1, a);
    shift_left(k1, k2, a);
    const bool whole = len > 0 && len % a->block_bytes == 0;
    if (!whole) {
        message[len++] = 0x80;
        while (len % a->block_bytes != 0)
            message[len++] = 0;
    }
    for (size_t i = 0; i < a->block_bytes; i++)
        message[len - a->block_bytes + i] ^= whole ? k1[i] : k2[i];
    const enum err_code code = tok_encrypt(s, &cbc, key, message, len, message, e);
    if (code == ERR_OK)
        memcpy(out_mac, message + len - a->block_bytes, a->block_bytes);
    secret_wipe(l, sizeof l);
    secret_wipe(k1, sizeof k1);
    secret_wipe(k2, sizeof k2);
    return code;
}

/* The KBPK of AES may sign only; that of TDES encipher only. */
static enum err_code kbpk_cmac(struct tok_session *s, const struct key_block_kbpk *kbpk, char version,
                               const uint8_t input[8], uint8_t *out_mac, struct err *e)
{
    uint8_t message[2 * BLOCK_MOST];
    size_t len = 0;
    CK_MECHANISM mechanism = {.mechanism = CKM_AES_CMAC};
    if (version != 'B')
        return tok_sign(s, &mechanism, kbpk->handle, input, 8, out_mac, BLOCK_MOST, &len, e);
    memcpy(message, input, 8);
    const enum err_code code = cmac(s, &tdes, kbpk->handle, message, 8, out_mac, e);
    secret_wipe(message, sizeof message); /* CMAC leaves its last block, which is part of a key */
    return code;
}

static enum err_code derive_one(struct tok_session *s, const struct key_block_kbpk *kbpk, char version,
                                uint16_t usage, struct secret *out_key, struct err *e)
{
    const size_t block = algorithm_of(version)->block_bytes;
    const uint16_t code = code_of(version, kbpk->bytes), bits = (uint16_t)(8 * kbpk->bytes);
    uint8_t mac[BLOCK_MOST];
    AUTO(secret) key = {0};
    TRY(secret_init(&key, e));
    enum err_code result = ERR_OK;
    for (uint8_t counter = 1; result == ERR_OK && key.len < kbpk->bytes; counter++) {
        const uint8_t input[8] = {
            counter,       (uint8_t)(usage >> 8), (uint8_t)usage, 0, (uint8_t)(code >> 8),
            (uint8_t)code, (uint8_t)(bits >> 8),  (uint8_t)bits};
        const size_t take = kbpk->bytes - key.len < block ? kbpk->bytes - key.len : block;
        result = kbpk_cmac(s, kbpk, version, input, mac, e);
        if (result == ERR_OK)
            memcpy(key.bytes + key.len, mac, take);
        key.len += take;
    }
    secret_wipe(mac, sizeof mac);
    TRY(result);
    *out_key = key;
    key = (struct secret){0};
    return ERR_OK;
}

enum err_code key_block_derive(struct tok_session *s, const struct key_block_kbpk *kbpk, char version,
                               struct secret *out_kbek, struct secret *out_kbak, struct err *e)
{
    AUTO(secret) kbek = {0};
    TRY(derive_one(s, kbpk, version, USAGE_CIPHER, &kbek, e));
    TRY(derive_one(s, kbpk, version, USAGE_MAC, out_kbak, e));
    *out_kbek = kbek;
    kbek = (struct secret){0};
    return ERR_OK;
}

/* ---- With the derived keys as session objects ---- */

struct keys {
    struct tok_object cipher, mac;
};
static void keys_drop(struct keys *k)
{
    tok_object_drop(&k->cipher);
    tok_object_drop(&k->mac);
}

static enum err_code derive_objects(struct tok_session *s, const struct key_block_kbpk *kbpk, char version,
                                    struct keys *out_keys, struct err *e)
{
    AUTO(secret) kbek = {0};
    AUTO(secret) kbak = {0};
    const CK_KEY_TYPE type = type_of(version, kbpk->bytes);
    TRY(key_block_derive(s, kbpk, version, &kbek, &kbak, e));
    TRY(tok_object_import(s, type, kbek.bytes, kbek.len, TOK_USES(CKA_ENCRYPT, CKA_DECRYPT),
                          &out_keys->cipher, e));
    return tok_object_import(s, type, kbak.bytes, kbak.len, TOK_USES(CKA_ENCRYPT), &out_keys->mac, e);
}

/* The MAC over the header's characters and the clear payload. */
static enum err_code mac_of(struct tok_session *s, const struct algorithm *a, CK_OBJECT_HANDLE key,
                            const char *header, size_t header_len, const struct secret *payload,
                            uint8_t *out_mac, struct err *e)
{
    uint8_t message[MESSAGE_BYTES + BLOCK_MOST];
    memcpy(message, header, header_len);
    memcpy(message + header_len, payload->bytes, payload->len);
    const enum err_code code = cmac(s, a, key, message, header_len + payload->len, out_mac, e);
    secret_wipe(message, sizeof message);
    return code;
}

static enum err_code take_key(const struct secret *payload, struct secret *out_key, struct err *e)
{
    const size_t bits = (size_t)payload->bytes[0] << 8 | payload->bytes[1];
    if (bits == 0 || bits % 8 != 0 || bits / 8 > payload->len - LENGTH_BYTES)
        return err_set(e, ERR_CHECK, "length: the enciphered length is no key's");
    return secret_init_copy(out_key, payload->bytes + LENGTH_BYTES, bits / 8, e);
}

enum err_code key_block_open(struct tok_session *s, const struct key_block_kbpk *kbpk,
                             const struct key_block *b, struct secret *out_key, struct err *e)
{
    const struct algorithm *const a = algorithm_of(b->header.version);
    uint8_t iv[BLOCK_MOST], mac[BLOCK_MOST];
    AUTO(keys) keys = {0};
    AUTO(secret) payload = {0};
    CK_MECHANISM cbc = {.mechanism = a->cbc, .pParameter = iv, .ulParameterLen = a->block_bytes};
    memcpy(iv, b->mac, a->block_bytes);
    TRY(derive_objects(s, kbpk, b->header.version, &keys, e));
    TRY(secret_init(&payload, e));
    TRY(tok_decrypt(s, &cbc, keys.cipher.handle, b->cipher, b->cipher_len, payload.bytes, e));
    payload.len = b->cipher_len;
    TRY(mac_of(s, a, keys.mac.handle, b->text, b->header_len, &payload, mac, e));
    const bool right = secret_equal(mac, b->mac, a->block_bytes);
    secret_wipe(mac, sizeof mac);
    if (!right)
        return err_set(
            e, ERR_CHECK,
            "MAC: the key block was changed, or its protection key is another one than this zone's");
    return take_key(&payload, out_key, e);
}

enum err_code key_block_make(struct tok_session *s, const struct key_block_kbpk *kbpk,
                             const struct tok_key_block_header *header, const struct secret *key,
                             char *out_text, size_t capacity, struct err *e)
{
    const struct algorithm *const a = algorithm_of(header->version);
    const size_t len = (LENGTH_BYTES + key->len + a->block_bytes - 1) / a->block_bytes * a->block_bytes;
    uint8_t iv[BLOCK_MOST], mac[BLOCK_MOST], cipher[KEY_BLOCK_CIPHER_BYTES];
    AUTO(keys) keys = {0};
    AUTO(secret) payload = {0};
    CK_MECHANISM cbc = {.mechanism = a->cbc, .pParameter = iv, .ulParameterLen = a->block_bytes};
    if (len > sizeof cipher || KEY_BLOCK_HEADER_LEAST + 2 * (len + a->block_bytes) >= capacity)
        return err_set(e, ERR_LIMIT, "a key of %zu bytes does not fit into a key block here", key->len);
    key_block_header(header, len, out_text);
    TRY(derive_objects(s, kbpk, header->version, &keys, e));
    TRY(secret_init(&payload, e));
    TRY(tok_random(s, payload.bytes, len, e)); /* padding is random */
    payload.len = len;
    payload.bytes[0] = (uint8_t)(8 * key->len >> 8);
    payload.bytes[1] = (uint8_t)(8 * key->len);
    memcpy(payload.bytes + LENGTH_BYTES, key->bytes, key->len);
    TRY(mac_of(s, a, keys.mac.handle, out_text, KEY_BLOCK_HEADER_LEAST, &payload, mac, e));
    memcpy(iv, mac, a->block_bytes);
    TRY(tok_encrypt(s, &cbc, keys.cipher.handle, payload.bytes, len, cipher, e));
    hex_encode(cipher, len, out_text + KEY_BLOCK_HEADER_LEAST);
    hex_encode(mac, a->block_bytes, out_text + KEY_BLOCK_HEADER_LEAST + 2 * len);
    return ERR_OK;
}

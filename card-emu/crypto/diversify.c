#include "card-emu/crypto/diversify.h"

#include "base/hex.h"
#include "base/secret.h"

#include <string.h>

#define PSAM_DIGITS_MIN 16
#define PSAM_DIGITS_MAX (2UL * EMU_PSAM_BCD_BYTES)
#define DOMAIN_KEK      0x03

enum err_code emu_psam_bcd(const char *psam_number, uint8_t out_bcd[EMU_PSAM_BCD_BYTES], struct err *e)
{
    const size_t len = strlen(psam_number);
    if (len < PSAM_DIGITS_MIN || len > PSAM_DIGITS_MAX || !digits_only(psam_number, len))
        return err_set(e, ERR_INPUT, "a PSAM number has 16 to 20 digits");
    char padded[PSAM_DIGITS_MAX];
    memset(padded, '0', sizeof padded);
    /* Digits of a fixed width, no string. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
    memcpy(padded + sizeof padded - len, psam_number, len);
    return bcd_encode(padded, sizeof padded, out_bcd, e);
}

enum err_code emu_diversify_tdes(const struct emu_key *master, const uint8_t factor[EMU_FACTOR_BYTES],
                                 struct emu_key *out_key, struct err *e)
{
    if (emu_is_aes(master->algorithm))
        return err_set(e, ERR_INPUT, "this diversification needs a TDES master");
    uint8_t both[2 * EMU_FACTOR_BYTES];
    for (size_t i = 0; i < EMU_FACTOR_BYTES; i++) {
        both[i] = factor[i];
        both[EMU_FACTOR_BYTES + i] = (uint8_t)~factor[i];
    }
    TRY(emu_encrypt_ecb(master, both, sizeof both, both, e));
    const enum err_code code = emu_key_init(out_key, EMU_TDES, both, sizeof both, e);
    secret_wipe(both, sizeof both);
    return code;
}

enum err_code emu_diversify_aes(const struct emu_key *master, enum emu_domain domain,
                                enum emu_algorithm child, const uint8_t psam_bcd[EMU_PSAM_BCD_BYTES],
                                struct emu_key *out_key, struct err *e)
{
    if (master->algorithm != EMU_AES_256 || !emu_is_aes(child))
        return err_set(e, ERR_INPUT, "this diversification needs an AES-256 master and an AES child");
    const size_t child_len = emu_key_len(child);
    uint8_t blocks[2 * EMU_BLOCK_MAX] = {0};
    for (size_t i = 0; i < child_len / EMU_BLOCK_MAX; i++) {
        uint8_t *block = blocks + i * EMU_BLOCK_MAX;
        block[0] = (uint8_t)domain;
        block[1] = (uint8_t)(i + 1);
        block[2] = (uint8_t)child_len;
        memcpy(block + EMU_BLOCK_MAX - EMU_PSAM_BCD_BYTES, psam_bcd, EMU_PSAM_BCD_BYTES);
    }
    TRY(emu_encrypt_ecb(master, blocks, child_len, blocks, e));
    const enum err_code code = emu_key_init(out_key, child, blocks, child_len, e);
    secret_wipe(blocks, sizeof blocks);
    return code;
}

enum err_code emu_working_kek(const struct emu_key *tmk, uint8_t usage, struct emu_key *out_kek,
                              struct err *e)
{
    if (!emu_is_aes(tmk->algorithm))
        return err_set(e, ERR_INPUT, "key-encryption keys of usages need an AES TMK");
    uint8_t blocks[2 * EMU_BLOCK_MAX] = {0};
    for (size_t i = 0; i < tmk->len / EMU_BLOCK_MAX; i++) {
        uint8_t *block = blocks + i * EMU_BLOCK_MAX;
        block[0] = DOMAIN_KEK;
        block[1] = (uint8_t)(i + 1);
        block[2] = (uint8_t)tmk->len;
        block[3] = usage;
    }
    TRY(emu_encrypt_ecb(tmk, blocks, tmk->len, blocks, e));
    const enum err_code code = emu_key_init(out_kek, tmk->algorithm, blocks, tmk->len, e);
    secret_wipe(blocks, sizeof blocks);
    return code;
}

#include "card-emu/crypto/mac.h"

#include <string.h>

enum err_code emu_kcv(const struct emu_key *key, uint8_t *out_kcv, size_t len, struct err *e)
{
    uint8_t block[EMU_BLOCK_MAX] = {0};
    if (len > emu_block_len(key->algorithm))
        return err_set(e, ERR_INPUT, "check value of %zu bytes is longer than a block", len);
    if (emu_is_aes(key->algorithm))
        TRY(emu_cmac(key, block, EMU_BLOCK_MAX, block, e));
    else
        TRY(emu_encrypt_ecb(key, block, EMU_DES_BLOCK, block, e));
    memcpy(out_kcv, block, len);
    return ERR_OK;
}

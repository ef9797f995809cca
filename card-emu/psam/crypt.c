/* 801A chooses a key, 80FA enciphers or MACs with it. */
#include "apdu/psam.h"
#include "apdu/status.h"
#include "base/secret.h"
#include "card-emu/crypto/diversify.h"
#include "card-emu/crypto/mac.h"
#include "card-emu/psam/chip.h"

#include <string.h>

#define USAGE_LOW   0x1F
#define LEVEL_SHIFT 5
#define CMAC_BYTES  8 /* what field 64 takes */
#define PBOC_BYTES  4

static const struct {
    uint8_t usage;
    enum chip_key_slot slot;
} usable[] = {{PSAM_MAK, CHIP_MAK}, {PSAM_TDK, CHIP_TDK}, {PSAM_PIK, CHIP_PIK}};

static void end_crypt(struct chip_session *s)
{
    emu_key_drop(&s->crypt_key);
    secret_wipe(s->mac_input, s->mac_len);
    s->mac_len = 0;
    s->mac_open = false;
    s->crypt_usage = 0;
}

/* Each level of P1 takes one factor from the data, as PSAM keys of several levels are diversified. */
static uint16_t diversify(struct emu_key *key, const struct apdu_command *command)
{
    const size_t levels = command->p1 >> LEVEL_SHIFT;
    struct err e;
    if (command->lc != levels * EMU_FACTOR_BYTES)
        return SW_WRONG_LENGTH;
    if (levels > 0 && key->algorithm != EMU_TDES)
        return SW_KEY_UNUSABLE;
    for (size_t i = 0; i < levels; i++) {
        AUTO(emu_key) child = {0};
        if (emu_diversify_tdes(key, command->data + i * EMU_FACTOR_BYTES, &child, &e) != ERR_OK)
            return SW_KEY_UNUSABLE;
        *key = child;
    }
    return SW_OK;
}

uint16_t chip_init_crypt(struct chip *chip, const struct apdu_command *command,
                         struct apdu_response *response)
{
    (void)response;
    struct chip_session *s = &chip->session;
    const uint8_t usage = command->p1 & USAGE_LOW;
    struct err e;
    end_crypt(s);
    if (command->p2 != 0)
        return SW_BAD_P1P2;
    if (usage == PSAM_TMK)
        return SW_KEY_UNUSABLE; /* a maintenance key opens working keys and does nothing else */
    for (size_t i = 0; i < sizeof usable / sizeof usable[0]; i++) {
        const struct chip_key *stored = &chip->image.keys[usable[i].slot];
        AUTO(emu_key) key = {0};
        if (usable[i].usage != usage || chip_key_load(stored, &key, &e) != ERR_OK)
            continue;
        const uint16_t sw = diversify(&key, command);
        if (sw != SW_OK)
            return sw;
        s->crypt_key = key;
        s->crypt_usage = usage;
        s->crypt_method = stored->algorithm & PSAM_ALGORITHM_HIGH;
        return SW_OK;
    }
    return SW_KEY_NOT_FOUND;
}

static uint16_t encipher(struct chip_session *s, const struct apdu_command *command,
                         struct apdu_response *response)
{
    struct err e;
    if (s->crypt_usage == PSAM_MAK)
        return SW_KEY_UNUSABLE;
    if (command->lc == 0 ||
        emu_encrypt_ecb(&s->crypt_key, command->data, command->lc, response->data, &e) != ERR_OK)
        return SW_WRONG_LENGTH;
    response->data_len = command->lc;
    if (command->p1 == PSAM_ENCRYPT_LAST)
        end_crypt(s);
    return SW_OK;
}

/* mac_input begins with the IV block of the chain's first command. */
static uint16_t finish_mac(const struct chip_session *s, struct apdu_response *response)
{
    const size_t block = emu_block_len(s->crypt_key.algorithm);
    const uint8_t *iv = s->mac_input, *data = s->mac_input + block;
    const size_t len = s->mac_len - block;
    uint8_t mac[EMU_BLOCK_MAX];
    struct err e;
    if (s->crypt_method == PSAM_MAC_CMAC) {
        static const uint8_t zeros[EMU_BLOCK_MAX]; /* CMAC knows no other IV */
        if (!secret_equal(iv, zeros, block) || emu_cmac(&s->crypt_key, data, len, mac, &e) != ERR_OK)
            return SW_BAD_DATA;
        response->data_len = CMAC_BYTES;
    } else if (s->crypt_method == PSAM_MAC_BLOCKS) {
        const struct emu_mac_spec spec = {.padding = EMU_PAD_ZERO, .iv = iv};
        if (len == 0 || len % block != 0)
            return SW_WRONG_LENGTH;
        if (emu_mac(&s->crypt_key, &spec, data, len, mac, &e) != ERR_OK)
            return SW_KEY_UNUSABLE;
        response->data_len = EMU_DES_BLOCK;
    } else {
        if (emu_mac_pboc(&s->crypt_key, iv, data, len, mac, &e) != ERR_OK)
            return SW_KEY_UNUSABLE;
        response->data_len = PBOC_BYTES;
    }
    memcpy(response->data, mac, response->data_len);
    return SW_OK;
}

static uint16_t mac_step(struct chip_session *s, const struct apdu_command *command,
                         struct apdu_response *response)
{
    const bool first = command->p1 == PSAM_MAC_ONLY || command->p1 == PSAM_MAC_FIRST;
    const bool last = command->p1 == PSAM_MAC_ONLY || command->p1 == PSAM_MAC_LAST;
    if (s->crypt_usage != PSAM_MAK)
        return SW_KEY_UNUSABLE;
    if (first == s->mac_open)
        return SW_CONDITIONS;
    if (first && command->lc < emu_block_len(s->crypt_key.algorithm))
        return SW_WRONG_LENGTH;
    if (command->lc > sizeof s->mac_input - s->mac_len)
        return SW_WRONG_LENGTH;
    memcpy(s->mac_input + s->mac_len, command->data, command->lc);
    s->mac_len += command->lc;
    s->mac_open = true;
    return last ? finish_mac(s, response) : SW_OK;
}

uint16_t chip_crypt(struct chip *chip, const struct apdu_command *command, struct apdu_response *response)
{
    struct chip_session *s = &chip->session;
    uint16_t sw = SW_BAD_P1P2;
    if (command->p2 != 0)
        return sw;
    if (s->crypt_usage == 0)
        return SW_CONDITIONS;
    switch (command->p1) {
    case PSAM_ENCRYPT_LAST:
    case PSAM_ENCRYPT_MORE:
        return encipher(s, command, response);
    case PSAM_MAC_ONLY:
    case PSAM_MAC_FIRST:
    case PSAM_MAC_NEXT:
    case PSAM_MAC_LAST:
        sw = mac_step(s, command, response);
        break;
    default:
        return sw;
    }
    if (sw != SW_OK || command->p1 == PSAM_MAC_ONLY || command->p1 == PSAM_MAC_LAST)
        end_crypt(s); /* a MAC chain that failed cannot be continued */
    return sw;
}

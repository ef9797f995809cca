/* WRITE KEY in its two profiles, WRITE WORKING KEY. */
#include "apdu/psam.h"
#include "apdu/secure.h"
#include "apdu/status.h"
#include "base/secret.h"
#include "card-emu/crypto/diversify.h"
#include "card-emu/crypto/mac.h"
#include "card-emu/psam/chip.h"

#include <string.h>

#define HEADER_BYTES    3
#define PBOC_CIPHER_LEN 24
#define P1_PBOC         0x00
#define P1_AES          0x01
#define P1_WORKING      0x02

struct working_row {
    uint8_t usage;
    enum chip_key_slot slot;
};

static const struct working_row working_keys[] = {
    {PSAM_MAK, CHIP_MAK}, {PSAM_TDK, CHIP_TDK}, {PSAM_PIK, CHIP_PIK}};

/* Version 2 of the wrapping is for AES TMKs; how a TMK was written is kept in its algorithm byte. */
static bool algorithm_fits(uint8_t algorithm)
{
    const uint8_t cipher = algorithm & PSAM_ALGORITHM_LOW, wrap = algorithm & PSAM_ALGORITHM_HIGH;
    if (cipher >= EMU_CARD_ALGORITHMS || cipher == EMU_DES)
        return false;
    return wrap == PSAM_WRAP_TMK || (wrap == PSAM_WRAP_USAGE && emu_is_aes((enum emu_algorithm)cipher));
}

/* A card that gets another TMK forgets the working keys that came under the old one. */
static uint16_t take_tmk(struct chip *chip, const uint8_t header[HEADER_BYTES], const uint8_t *bytes,
                         size_t len)
{
    AUTO(emu_key) key = {0};
    struct err e;
    if (header[0] != PSAM_TMK || header[1] == 0 || !algorithm_fits(header[2]))
        return SW_BAD_DATA;
    const enum emu_algorithm algorithm = (enum emu_algorithm)(header[2] & PSAM_ALGORITHM_LOW);
    if (emu_key_init(&key, algorithm, bytes, len, &e) != ERR_OK || len != emu_key_len(key.algorithm))
        return SW_BAD_DATA;
    AUTO(chip_image) next = chip->image;
    next.wrong_macs = 0;
    chip_key_store(&next.keys[CHIP_TMK], header[0], header[1], header[2], &key);
    memset(&next.keys[CHIP_MAK], 0, 3 * sizeof next.keys[0]); /* MAK, TDK, PIK */
    secret_wipe(&chip->session.crypt_key, sizeof chip->session.crypt_key);
    chip->session.crypt_usage = 0;
    return chip_commit(chip, &next);
}

static uint16_t write_pboc(struct chip *chip, const struct apdu_command *command, const uint8_t challenge[4],
                           const struct emu_key *control)
{
    uint8_t input[APDU_SM_PADDED_MAX], iv[APDU_SM_IV_BYTES], mac[EMU_DES_BLOCK], plain[PBOC_CIPHER_LEN];
    struct err e;
    const size_t len = apdu_sm_mac_input(command, PBOC_CIPHER_LEN, APDU_PBOC_MAC_BYTES, input);
    apdu_sm_iv(challenge, iv);
    if (emu_mac_pboc(control, iv, input, len, mac, &e) != ERR_OK)
        return SW_KEY_UNUSABLE;
    if (!secret_equal(mac, command->data + PBOC_CIPHER_LEN, APDU_PBOC_MAC_BYTES))
        return chip_wrong_mac(chip);
    const uint8_t *record = NULL;
    size_t record_len = 0;
    uint16_t sw = SW_BAD_SM_DATA;
    if (emu_decrypt_ecb(control, command->data, PBOC_CIPHER_LEN, plain, &e) == ERR_OK &&
        apdu_sm_open(plain, sizeof plain, &record, &record_len, &e) == ERR_OK &&
        record_len == HEADER_BYTES + 16)
        sw = take_tmk(chip, record, record + HEADER_BYTES, record_len - HEADER_BYTES);
    secret_wipe(plain, sizeof plain);
    return sw;
}

static uint16_t write_aes(struct chip *chip, const struct apdu_command *command, const uint8_t challenge[8],
                          const struct emu_key *control)
{
    uint8_t input[8 + APDU_SM_PADDED_MAX], mac[EMU_BLOCK_MAX], key[EMU_KEY_BYTES_MAX];
    struct err e;
    const size_t data_len = command->lc - (size_t)APDU_AES_MAC_BYTES;
    memcpy(input, challenge, 8);
    const size_t len = 8 + apdu_sm_mac_input(command, data_len, APDU_AES_MAC_BYTES, input + 8);
    if (emu_cmac(control, input, len, mac, &e) != ERR_OK)
        return SW_KEY_UNUSABLE;
    if (!secret_equal(mac, command->data + data_len, APDU_AES_MAC_BYTES))
        return chip_wrong_mac(chip);
    const size_t wrapped_len = data_len - HEADER_BYTES;
    uint16_t sw = SW_BAD_SM_DATA;
    if (emu_unwrap(control, command->data + HEADER_BYTES, wrapped_len, key, &e) == ERR_OK)
        sw = take_tmk(chip, command->data, key, wrapped_len - 8);
    secret_wipe(key, sizeof key);
    return sw;
}

/* Whatever comes of it, the challenge is used up. */
uint16_t chip_write_key_secured(struct chip *chip, const struct apdu_command *command,
                                struct apdu_response *response)
{
    (void)response;
    uint8_t challenge[8];
    const size_t challenge_len = chip->session.challenge_len;
    memcpy(challenge, chip->session.challenge, sizeof challenge);
    chip->session.challenge_len = 0;
    const bool aes = command->p1 == P1_AES;
    AUTO(emu_key) control = {0};
    struct err e;
    if ((command->p1 != P1_PBOC && !aes) || command->p2 != 0)
        return SW_BAD_P1P2;
    if (command->has_le || (aes ? command->lc != 35 && command->lc != 51 : command->lc != 28))
        return SW_WRONG_LENGTH;
    if (chip->image.wrong_macs >= CHIP_WRONG_MACS_MAX)
        return SW_LOCKED;
    if (chip_key_load(&chip->image.keys[aes ? CHIP_CONTROL_AES : CHIP_CONTROL_TDES], &control, &e) != ERR_OK)
        return SW_KEY_NOT_FOUND;
    if (challenge_len != (aes ? 8U : 4U))
        return SW_CONDITIONS;
    return aes ? write_aes(chip, command, challenge, &control)
               : write_pboc(chip, command, challenge, &control);
}

/* The card's keys were never open to plain writing. */
uint16_t chip_write_key_plain(struct chip *chip, const struct apdu_command *command,
                              struct apdu_response *response)
{
    (void)chip;
    (void)command;
    (void)response;
    return SW_SECURITY_STATUS;
}

static bool method_fits(uint8_t usage, uint8_t algorithm)
{
    const uint8_t method = algorithm & PSAM_ALGORITHM_HIGH;
    const bool aes = (algorithm & PSAM_ALGORITHM_LOW) >= EMU_AES_128;
    if (usage != PSAM_MAK)
        return method == 0;
    return aes ? method == PSAM_MAC_CMAC : method == PSAM_MAC_PBOC || method == PSAM_MAC_BLOCKS;
}

/* What a working key of this usage comes under: the TMK, or its key of the usage. */
static enum err_code load_kek(const struct chip *chip, uint8_t usage, struct emu_key *out_kek, struct err *e)
{
    const struct chip_key *const stored = &chip->image.keys[CHIP_TMK];
    AUTO(emu_key) tmk = {0};
    TRY(chip_key_load(stored, &tmk, e));
    if ((stored->algorithm & PSAM_ALGORITHM_HIGH) == PSAM_WRAP_USAGE)
        return emu_working_kek(&tmk, usage, out_kek, e);
    *out_kek = tmk;
    return ERR_OK;
}

/* The clear key from its cryptogram: ECB for DES keys, RFC 3394 for AES keys. */
static enum err_code open_working(const struct emu_key *kek, enum emu_algorithm algorithm,
                                  const uint8_t *cipher, size_t len, struct emu_key *out_key, struct err *e)
{
    uint8_t bytes[EMU_KEY_BYTES_MAX];
    enum err_code code = emu_is_aes(algorithm) ? emu_unwrap(kek, cipher, len, bytes, e)
                                               : emu_decrypt_ecb(kek, cipher, len, bytes, e);
    if (code == ERR_OK)
        code = emu_key_init(out_key, algorithm, bytes, emu_key_len(algorithm), e);
    secret_wipe(bytes, sizeof bytes);
    return code;
}

static uint16_t write_working(struct chip *chip, const struct apdu_command *command, enum chip_key_slot slot)
{
    const uint8_t *header = command->data;
    const enum emu_algorithm algorithm = (enum emu_algorithm)(header[2] & PSAM_ALGORITHM_LOW);
    const size_t cipher_len = command->lc - (size_t)(HEADER_BYTES + PSAM_CV_BYTES);
    AUTO(emu_key) kek = {0};
    AUTO(emu_key) key = {0};
    uint8_t kcv[PSAM_CV_BYTES];
    struct err e;
    if (load_kek(chip, header[0], &kek, &e) != ERR_OK)
        return SW_KEY_NOT_FOUND;
    if (emu_is_aes(algorithm) != emu_is_aes(kek.algorithm) || !method_fits(header[0], header[2]))
        return SW_BAD_DATA;
    if (cipher_len != emu_key_len(algorithm) + (emu_is_aes(algorithm) ? 8 : 0))
        return SW_WRONG_LENGTH;
    if (open_working(&kek, algorithm, header + HEADER_BYTES, cipher_len, &key, &e) != ERR_OK ||
        emu_kcv(&key, kcv, sizeof kcv, &e) != ERR_OK ||
        !secret_equal(kcv, header + HEADER_BYTES + cipher_len, sizeof kcv))
        return SW_MAC_WRONG;
    AUTO(chip_image) next = chip->image;
    chip_key_store(&next.keys[slot], header[0], header[1], header[2], &key);
    return chip_commit(chip, &next);
}

uint16_t chip_write_key(struct chip *chip, const struct apdu_command *command, struct apdu_response *response)
{
    (void)response;
    if (command->p1 != P1_WORKING)
        return SW_SECURITY_STATUS;
    if (command->p2 != 0)
        return SW_BAD_P1P2;
    if (command->has_le || command->lc < HEADER_BYTES + 8 + PSAM_CV_BYTES)
        return SW_WRONG_LENGTH;
    if ((command->data[2] & PSAM_ALGORITHM_LOW) >= EMU_CARD_ALGORITHMS)
        return SW_BAD_DATA;
    for (size_t i = 0; i < sizeof working_keys / sizeof working_keys[0]; i++) {
        if (working_keys[i].usage == command->data[0])
            return write_working(chip, command, working_keys[i].slot);
    }
    return SW_BAD_DATA;
}

/* What an emulated PSAM card keeps without power, and the file that holds it.
 *
 * The file: magic, version, length, the image, SHA-256 over all before it. It is replaced as a whole: written
 * beside, synced, renamed, directory synced; after kill -9 it is the old one or the new one. Mode 0600: it
 * holds keys in clear, as the chip does in its EEPROM. One process has a card file: chip_file_lock. */
#ifndef POSWARD_CARD_EMU_PSAM_IMAGE_H
#define POSWARD_CARD_EMU_PSAM_IMAGE_H

#include "card-emu/crypto/key.h"

enum chip_key_slot {
    CHIP_CONTROL_TDES,
    CHIP_CONTROL_AES,
    CHIP_TMK,
    CHIP_MAK,
    CHIP_TDK,
    CHIP_PIK,
    CHIP_KEY_COUNT
};

/* Only bytes: the image is written as it lies in memory. */
struct chip_key {
    uint8_t usage, version, algorithm, len; /* len 0: absent */
    uint8_t bytes[EMU_KEY_BYTES_MAX];
};

struct chip_image {
    uint8_t ef_serial[14];  /* 0015: PSAM number 10 BCD, version, key type, instruction set, FCI */
    uint8_t ef_terminal[6]; /* 0016 */
    uint8_t ef_public[25];  /* 0017: key index, issuer 8, recipient 8, start 4, expiry 4 */
    uint8_t ef_counter[4];  /* DF02/0019 */
    uint8_t wrong_macs;     /* of the control keys, since the last right one */
    struct chip_key keys[CHIP_KEY_COUNT];
};

void chip_image_drop(struct chip_image *image);

/* ERR_IO unreadable, ERR_DENIED open to others, ERR_CHECK damaged, ERR_UNSUPPORTED another version. */
enum err_code chip_file_load(const char *path, struct chip_image *out_image, struct err *e) MUST_CHECK;
/* Replace (or, with `fresh`, make: ERR_EXISTS when there is one). */
enum err_code chip_file_save(const char *path, const struct chip_image *image, bool fresh,
                             struct err *e) MUST_CHECK;
/* Keep PATH.lock locked until the process ends. ERR_STATE another process has it. */
enum err_code chip_file_lock(const char *path, struct err *e) MUST_CHECK;

/* The key of a slot for use. ERR_NOT_FOUND absent. */
enum err_code chip_key_load(const struct chip_key *stored, struct emu_key *out_key, struct err *e) MUST_CHECK;
void chip_key_store(struct chip_key *out_stored, uint8_t usage, uint8_t version, uint8_t algorithm,
                    const struct emu_key *key);

#endif

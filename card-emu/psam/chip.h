/* The emulated PSAM card: command in, response out, as a chip does it.
 *
 *   chip_init(&chip, &image, &(struct chip_memory){save, file});
 *   len = chip_answer(&chip, command, command_len, response);
 *
 * Every byte string gets a status word; nothing is fatal. What a command changes is saved before it is
 * answered; when saving fails the chip answers 6581 and is unchanged. One thread. Source: PBOC PSAM, ISO
 * 7816-4, and psam.h. */
#ifndef POSWARD_CARD_EMU_PSAM_CHIP_H
#define POSWARD_CARD_EMU_PSAM_CHIP_H

#include "apdu/apdu.h"
#include "card-emu/psam/image.h"

#define CHIP_MAC_INPUT_MAX  8192 /* bytes in one chain of 80FA */
#define CHIP_WRONG_MACS_MAX 3    /* then the control keys are locked */
#define CHIP_ATR_BYTES      11

extern const uint8_t chip_atr[CHIP_ATR_BYTES];

struct chip_memory {
    enum err_code (*save)(void *state, const struct chip_image *image, struct err *e);
    void *state;
};

/* Lost with power. */
struct chip_session {
    uint16_t directory, file; /* selected; file 0: none */
    uint8_t challenge[8];
    size_t challenge_len; /* 0: none, or used */
    struct emu_key crypt_key;
    uint8_t crypt_usage, crypt_method; /* usage 0: no 801A yet */
    bool mac_open;
    size_t mac_len;
    uint8_t mac_input[CHIP_MAC_INPUT_MAX];
    uint8_t pending[256]; /* for GET RESPONSE */
    size_t pending_len;
};

struct chip {
    struct chip_image image;
    struct chip_memory memory;
    struct chip_session session;
};

void chip_init(struct chip *chip, const struct chip_image *image, const struct chip_memory *memory);
void chip_drop(struct chip *chip);
/* Power on, off, reset: the session is gone. */
void chip_reset(struct chip *chip);
/* Returns the length of the response, at least 2. */
size_t chip_answer(struct chip *chip, const uint8_t *command, size_t len,
                   uint8_t out_response[APDU_RESPONSE_MAX]);

/* A command: returns its status word, having filled response->data on 9000. Here for the command tables. */
typedef uint16_t chip_command(struct chip *chip, const struct apdu_command *command,
                              struct apdu_response *response);
chip_command chip_select, chip_read_binary, chip_get_challenge, chip_external_authenticate, chip_get_key_info;
chip_command chip_write_key_secured, chip_write_key, chip_write_key_plain;
chip_command chip_init_crypt, chip_crypt;

/* Save `next` and take it over; SW_OK or 6581. */
uint16_t chip_commit(struct chip *chip, const struct chip_image *next);
/* Count a wrong MAC or cryptogram of a control key; the status word for it. */
uint16_t chip_wrong_mac(struct chip *chip);

#endif

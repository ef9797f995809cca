/* The terminal's PIN pad and its PSAM card: working keys go in as cryptograms, PIN blocks, tracks and MACs
 * come out. No key is ever on this side. Errors are the card link's; a status word is ERR_CHECK with its
 * number in `native`. One thread. */
#ifndef POSWARD_CARD_EMU_TERMINAL_PAD_H
#define POSWARD_CARD_EMU_TERMINAL_PAD_H

#include "apdu/link.h"
#include "apdu/psam.h"
#include "iso8583/f62.h"

enum terminal_suite { SUITE_TDES, SUITE_AES };

struct pad {
    struct card_link link;
    const char *address;
    enum terminal_suite suite;
    int timeout_ms;
    char psam_number[2 * PSAM_SERIAL_BYTES + 1]; /* "" before pad_open */
};

#define PAD_F64_BYTES     8
#define PAD_PIN_BLOCK_MAX 16
#define PAD_KEY_COUNT     3
#define PAD_INFO_BYTES    6

/* What the card says of its working keys: to see whether it has changed. */
struct pad_keys {
    uint8_t info[PAD_KEY_COUNT][PAD_INFO_BYTES]; /* zeros: no such key */
};

/* Connect and power the card unless that is done, and read its number. */
enum err_code pad_open(struct pad *pad, struct err *e) MUST_CHECK;
/* Close the link: after an error of the line the next pad_open starts afresh. */
void pad_drop(struct pad *pad);

enum err_code pad_read_keys(struct pad *pad, struct pad_keys *out_keys, struct err *e) MUST_CHECK;
/* Write each key that field 62 has. On ERR_CHECK from the first one the card is as before. */
enum err_code pad_write_keys(struct pad *pad, const struct iso_f62 *f62, uint8_t version,
                             struct err *e) MUST_CHECK;
/* TDES: format 0, 8 bytes. AES: format 4, 16 bytes. */
enum err_code pad_pin_block(struct pad *pad, const char *pin, const char *pan,
                            uint8_t out_block[PAD_PIN_BLOCK_MAX], size_t *out_len, struct err *e) MUST_CHECK;
/* Encipher track 2 in place. */
enum err_code pad_encipher_track(struct pad *pad, char *track, struct err *e) MUST_CHECK;
/* Field 64 over a MAC input. */
enum err_code pad_mac(struct pad *pad, const uint8_t *input, size_t len, uint8_t out_f64[PAD_F64_BYTES],
                      struct err *e) MUST_CHECK;

#endif

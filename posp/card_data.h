/* The card in a purchase: number, track 2, PIN block - out of fields 2, 14, 35, 52, 53, 57, checked against
 * each other. Holds clear card data: drop wipes. One owner, one thread. */
#ifndef POSWARD_POSP_CARD_DATA_H
#define POSWARD_POSP_CARD_DATA_H

#include "iso8583/message.h"
#include "iso8583/track2.h"
#include "posp/suites.h"

#define PAN_BYTES 20 /* 12 to 19 digits and a NUL */

struct card_data {
    char pan[PAN_BYTES];                   /* "" until the track is deciphered, when only the track has it */
    char expiry[5];                        /* YYMM; "" when not known */
    char track[ISO_TRACK2_DIGITS_MAX + 1]; /* "" when not read */
    bool track_enciphered;
    uint8_t cipher[ISO_TRACK2_CLEAR_MAX]; /* the enciphered part of the track */
    size_t cipher_len;
    const uint8_t *pin_block; /* borrowed from the message; NULL: no PIN */
    size_t pin_len;
};

/* ERR_INPUT: a field is missing, contradicts another, or does not fit the terminal's suite; the note says
 * which. */
enum err_code card_data_read(const struct iso_message *m, const struct suite_rules *rules,
                             struct card_data *out_card, struct err *e) MUST_CHECK;
/* Put the deciphered part in its place (`len` 0 when nothing was enciphered), and check the track against
 * fields 2 and 14. ERR_INPUT: it is no track, or contradicts them. */
enum err_code card_data_complete(struct card_data *card, const struct suite_rules *rules,
                                 const uint8_t *clear, size_t len, struct err *e) MUST_CHECK;
void card_data_drop(struct card_data *card);

#endif

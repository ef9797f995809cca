/* The card in a terminal's request: number, track 2, PIN block - out of fields 2, 14, 35, 52, 53, 57, checked
 * against each other. POSP and the HSM service read a message with this, so neither sees another card in it
 * than the other does.
 *
 *   AUTO(iso_card) card = {0};
 *   TRY(iso_card_read(&message, &iso_suite_tdes, &card, e));
 *   ... decipher card.cipher, if card.cipher_len > 0 ...
 *   TRY(iso_card_complete(&card, &iso_suite_tdes, clear, clear_len, e));
 *
 * Between the two calls nothing is known yet of whether fields 2 and 35 agree: a PIN must wait for the
 * second. Holds clear card data: drop wipes. One owner, one thread. */
#ifndef POSWARD_ISO8583_CARD_H
#define POSWARD_ISO8583_CARD_H

#include "base/terms.h"
#include "iso8583/message.h"
#include "iso8583/suite.h"

#define ISO_ACCOUNT_DIGITS 12

struct iso_card {
    char pan[PAN_DIGITS_MAX + 1]; /* "" until iso_card_complete, when only enciphered digits have it */
    char expiry[5];               /* YYMM; "" when not known */
    char track[ISO_TRACK2_DIGITS_MAX + 1]; /* 'D' is the separator; "" when the message has none */
    bool track_enciphered;
    uint8_t cipher[ISO_TRACK2_CLEAR_MAX]; /* the enciphered part of the track */
    size_t cipher_len;                    /* 0: nothing is enciphered */
    const uint8_t *pin_block;             /* borrowed from the message; NULL: no PIN */
    size_t pin_len;
};

/* Field 53 decides what there is: a PIN block exactly when it says so, bound to the card number, and an
 * enciphered track exactly when it says so; without field 53 there is neither. Responses are refused: their
 * MAC proves a host, not a terminal. ERR_INPUT: a field is missing, contradicts another, or does not fit the
 * suite; the note says which. */
enum err_code iso_card_read(const struct iso_message *m, const struct iso_suite *suite,
                            struct iso_card *out_card, struct err *e) MUST_CHECK;
/* Put the deciphered part in its place (`len` 0 when nothing was enciphered), and check the track against
 * fields 2 and 14. Afterwards card->pan is set. ERR_INPUT: it is no track, or contradicts them. */
enum err_code iso_card_complete(struct iso_card *card, const struct iso_suite *suite, const uint8_t *clear,
                                size_t len, struct err *e) MUST_CHECK;
/* Wipe. */
void iso_card_drop(struct iso_card *card);

/* The account that a PIN belongs to, whatever the format of its block: the 12 digits left of the check digit,
 * with zeros on the left of a PAN that has fewer. `pan` as iso_card_complete left it. Source: ISO 9564-1:2017
 * 9.3, the account number field of format 0. */
void iso_card_account(const char *pan, char out_account[ISO_ACCOUNT_DIGITS + 1]);

#endif

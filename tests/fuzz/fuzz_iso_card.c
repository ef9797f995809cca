/* A terminal's purchase up to the card in it: any bytes are refused, or give a card whose parts agree. The
 * first byte chooses the suite, the rest is an ISO 8583 message. */
#include "iso8583/card.h"
#include "iso8583/pack.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct iso_card *card)
{
    const size_t digits = strlen(card->pan);
    if (digits < PAN_DIGITS_MIN || digits > PAN_DIGITS_MAX || strspn(card->pan, "0123456789") != digits)
        __builtin_trap();
    if (card->track[0] != '\0' && strncmp(card->track, card->pan, digits) != 0)
        __builtin_trap();
    if (card->expiry[0] != '\0' && strspn(card->expiry, "0123456789") != 4)
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct iso_message m;
    struct iso_card card;
    if (size < 1)
        return 0;
    const struct iso_suite *suite = data[0] % 2 == 0 ? &iso_suite_tdes : &iso_suite_aes;
    iso_message_init(&m, &iso_unionpay);
    if (iso_unpack(&m, &iso_unionpay, data + 1, size - 1, NULL) == ERR_OK &&
        iso_card_read(&m, suite, &card, NULL) == ERR_OK) {
        uint8_t clear[ISO_TRACK2_CLEAR_MAX];
        memcpy(clear, card.cipher, sizeof clear);
        if (iso_card_complete(&card, suite, clear, card.cipher_len, NULL) == ERR_OK)
            check(&card);
        iso_card_drop(&card);
    }
    iso_message_drop(&m);
    return 0;
}

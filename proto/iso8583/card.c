#include "iso8583/card.h"

#include "base/hex.h"
#include "base/secret.h"
#include "iso8583/processing.h"

#include <stdio.h>
#include <string.h>

static enum err_code read_pin(const struct iso_message *m, const struct iso_suite *suite,
                              const struct iso_f53 *f53, struct iso_card *card, struct err *e)
{
    size_t len = 0;
    const uint8_t *block = iso_view_bytes(m, suite->pin_field, &len);
    if (iso_has(m, suite->other_pin_field))
        return err_set(e, ERR_INPUT, "field %u has no meaning in this terminal's suite",
                       suite->other_pin_field);
    if ((block != NULL) != (f53->pin != ISO_PIN_NONE))
        return err_set(e, ERR_INPUT, "field 53 and field %u disagree on whether there is a PIN",
                       suite->pin_field);
    if (block == NULL)
        return ERR_OK;
    if (f53->pin != ISO_PIN_WITH_PAN)
        return err_set(e, ERR_INPUT, "field 53: only PIN blocks that are bound to the card number are taken");
    if (len != suite->pin_bytes)
        return err_set(e, ERR_INPUT, "field %u has %zu bytes, not %zu", suite->pin_field, len,
                       suite->pin_bytes);
    card->pin_block = block;
    card->pin_len = len;
    return ERR_OK;
}

static enum err_code read_f53(const struct iso_message *m, const struct iso_suite *suite, struct iso_f53 *f53,
                              struct err *e)
{
    if (!iso_has(m, 53))
        return ERR_OK;
    TRY(iso_f53_parse(iso_text(m, 53), f53, e));
    const bool fits = suite->aes ? f53->cipher == ISO_CIPHER_AES
                                 : f53->cipher == ISO_CIPHER_TDES || f53->cipher == ISO_CIPHER_DES;
    if (!fits && (f53->pin != ISO_PIN_NONE || f53->track_enciphered))
        return err_set(e, ERR_INPUT, "field 53 names another cipher than this terminal's suite");
    return ERR_OK;
}

static enum err_code check_pan(const char *pan, struct err *e)
{
    const size_t len = strlen(pan);
    if (len < PAN_DIGITS_MIN || len > PAN_DIGITS_MAX || !digits_only(pan, len))
        return err_set(e, ERR_INPUT, "field 2 or 35: the card number is not %d to %d digits", PAN_DIGITS_MIN,
                       PAN_DIGITS_MAX);
    return ERR_OK;
}

/* The number in front of the separator, when the separator is among the clear digits. */
static void read_clear_pan(struct iso_card *card, size_t clear_digits)
{
    const char *separator = memchr(card->track, 'D', clear_digits);
    const size_t len = separator != NULL ? (size_t)(separator - card->track) : 0;
    if (len == 0 || len > PAN_DIGITS_MAX)
        return;
    memcpy(card->pan, card->track, len);
    card->pan[len] = '\0';
}

static enum err_code read_track(const struct iso_message *m, const struct iso_suite *suite,
                                const struct iso_f53 *f53, struct iso_card *card, struct err *e)
{
    const char *track = iso_text(m, 35);
    if (track == NULL)
        return f53->track_enciphered ? err_set(e, ERR_INPUT, "field 53 tells of a track, field 35 is missing")
                                     : ERR_OK;
    const size_t len = strlen(track);
    if (len == 0 || len >= sizeof card->track)
        return err_set(e, ERR_INPUT, "field 35 has %zu digits", len);
    memcpy(card->track, track, len + 1);
    size_t clear_digits = len;
    card->track_enciphered = f53->track_enciphered;
    if (card->track_enciphered) {
        struct iso_track2_span span;
        TRY(iso_track2_span(suite->track, len, &span, e));
        TRY(iso_track2_slice(suite->track, track, card->cipher, &card->cipher_len, e));
        clear_digits = span.first_digit;
    }
    if (card->pan[0] == '\0')
        read_clear_pan(card, clear_digits);
    return ERR_OK;
}

static enum err_code read_all(const struct iso_message *m, const struct iso_suite *suite,
                              struct iso_card *card, struct err *e)
{
    struct iso_f53 f53 = {.pin = ISO_PIN_NONE};
    if (!iso_is_request(m->mti))
        return err_set(e, ERR_INPUT, "message type %.4s is not that of a request", m->mti);
    if (!iso_has(m, 2) && !iso_has(m, 35))
        return err_set(e, ERR_INPUT, "neither field 2 nor field 35: no card");
    if (iso_has(m, 2)) {
        TRY(check_pan(iso_text(m, 2), e));
        snprintf(card->pan, sizeof card->pan, "%s", iso_text(m, 2));
    }
    if (iso_has(m, 14))
        snprintf(card->expiry, sizeof card->expiry, "%s",
                 iso_text(m, 14)); /* four digits by the dictionary */
    TRY(read_f53(m, suite, &f53, e));
    TRY(read_pin(m, suite, &f53, card, e));
    TRY(read_track(m, suite, &f53, card, e));
    return card->pan[0] != '\0' ? check_pan(card->pan, e) : ERR_OK;
}

enum err_code iso_card_read(const struct iso_message *m, const struct iso_suite *suite,
                            struct iso_card *out_card, struct err *e)
{
    AUTO(iso_card) card = {0};
    TRY(read_all(m, suite, &card, e));
    *out_card = card;
    return ERR_OK;
}

static enum err_code check_track(struct iso_card *card, struct err *e)
{
    char pan[PAN_DIGITS_MAX + 1];
    TRY(iso_track2_pan(card->track, pan, e));
    const bool same = card->pan[0] == '\0' || strcmp(card->pan, pan) == 0;
    snprintf(card->pan, sizeof card->pan, "%s", pan);
    secret_wipe(pan, sizeof pan);
    if (!same)
        return err_set(e, ERR_INPUT, "field 2 and field 35 are of different cards");
    const char *after = strchr(card->track, 'D') + 1;
    if (!digits_only(after, strlen(after))) /* still enciphered, or deciphered with another key */
        return err_set(e, ERR_INPUT, "field 35 is no track: there is more than digits behind the separator");
    const bool has_expiry = strlen(after) >= 4 && digits_only(after, 4);
    if (has_expiry && card->expiry[0] != '\0' && strncmp(card->expiry, after, 4) != 0)
        return err_set(e, ERR_INPUT, "field 14 and field 35 disagree on the expiry date");
    if (has_expiry)
        memcpy(card->expiry, after, 4);
    return ERR_OK;
}

enum err_code iso_card_complete(struct iso_card *card, const struct iso_suite *suite, const uint8_t *clear,
                                size_t len, struct err *e)
{
    if (card->track[0] == '\0')
        return card->pan[0] != '\0' ? ERR_OK : err_set(e, ERR_INPUT, "no card number");
    if (card->track_enciphered) {
        TRY(iso_track2_put(suite->track, card->track, clear, len, e));
        card->track_enciphered = false;
    }
    return check_track(card, e);
}

void iso_card_drop(struct iso_card *card)
{
    secret_wipe(card, sizeof *card);
}

void iso_card_account(const char *pan, char out_account[ISO_ACCOUNT_DIGITS + 1])
{
    const size_t len = strlen(pan), before_check = len > 0 ? len - 1 : 0;
    const size_t kept = before_check < ISO_ACCOUNT_DIGITS ? before_check : ISO_ACCOUNT_DIGITS;
    memset(out_account, '0', ISO_ACCOUNT_DIGITS);
    memcpy(out_account + ISO_ACCOUNT_DIGITS - kept, pan + before_check - kept, kept);
    out_account[ISO_ACCOUNT_DIGITS] = '\0';
}

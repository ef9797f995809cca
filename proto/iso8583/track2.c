#include "iso8583/track2.h"

#include "base/hex.h"
#include "base/secret.h"
#include "base/terms.h"

#include <string.h>

static const size_t rule_digits[] = {[ISO_TRACK2_TDES] = 16, [ISO_TRACK2_AES] = 32};

enum err_code iso_track2_span(enum iso_track2_rule rule, size_t track_digits,
                              struct iso_track2_span *out_span, struct err *e)
{
    const size_t count = rule_digits[rule];
    const size_t tail = track_digits % 2 != 0 ? 1 : 2;
    if (track_digits > ISO_TRACK2_DIGITS_MAX)
        return err_set(e, ERR_INPUT, "track 2 of %zu digits exceeds %d", track_digits, ISO_TRACK2_DIGITS_MAX);
    if (track_digits < count + 2)
        return err_set(e, ERR_INPUT, "track 2 of %zu digits is too short to be enciphered; needs %zu",
                       track_digits, count + 2);
    *out_span = (struct iso_track2_span){.first_digit = track_digits - tail - count, .digit_count = count};
    return ERR_OK;
}

enum err_code iso_track2_slice(enum iso_track2_rule rule, const char *track,
                               uint8_t out_bytes[ISO_TRACK2_CLEAR_MAX], size_t *out_len, struct err *e)
{
    struct iso_track2_span span;
    TRY(iso_track2_span(rule, strlen(track), &span, e));
    uint8_t bytes[ISO_TRACK2_CLEAR_MAX] = {0};
    for (size_t i = 0; i < span.digit_count; i++) {
        const char c = track[span.first_digit + i];
        const int nibble = c == '=' ? 0xD : hex_digit(c);
        if (nibble < 0) {
            secret_wipe(bytes, sizeof bytes);
            return err_set(e, ERR_INPUT, "track 2: character %zu is not a digit", span.first_digit + i + 1);
        }
        bytes[i / 2] = (uint8_t)(i % 2 == 0 ? nibble << 4 : bytes[i / 2] | nibble);
    }
    memcpy(out_bytes, bytes, span.digit_count / 2);
    *out_len = span.digit_count / 2;
    secret_wipe(bytes, sizeof bytes);
    return ERR_OK;
}

enum err_code iso_track2_put(enum iso_track2_rule rule, char *track, const uint8_t *bytes, size_t len,
                             struct err *e)
{
    struct iso_track2_span span;
    TRY(iso_track2_span(rule, strlen(track), &span, e));
    if (len * 2 != span.digit_count)
        return err_set(e, ERR_INPUT, "%zu bytes for %zu digits of track 2", len, span.digit_count);
    for (size_t i = 0; i < span.digit_count; i++) {
        const uint8_t nibble = i % 2 == 0 ? bytes[i / 2] >> 4 : bytes[i / 2] & 0xF;
        track[span.first_digit + i] = "0123456789ABCDEF"[nibble];
    }
    return ERR_OK;
}

enum err_code iso_track2_pan(const char *track, char out_pan[PAN_DIGITS_MAX + 1], struct err *e)
{
    const size_t digits = strcspn(track, "D=d");
    if (track[digits] == '\0')
        return err_set(e, ERR_INPUT, "track 2 has no separator");
    if (digits < PAN_DIGITS_MIN || digits > PAN_DIGITS_MAX || !digits_only(track, digits))
        return err_set(e, ERR_INPUT, "track 2 does not begin with an account number of %d to %d digits",
                       PAN_DIGITS_MIN, PAN_DIGITS_MAX);
    memcpy(out_pan, track, digits);
    out_pan[digits] = '\0';
    return ERR_OK;
}

/* Which digits of track 2 (field 35) are enciphered in place. No key comes here: callers move the bytes.
 *
 * Positions count from 0 in a track of L digits; the last digit (odd L) or two (even L) stay clear.
 *   TDES: 16 digits,  8 bytes: odd L [L-17, L-1), even L [L-18, L-2).
 *   AES:  32 digits, 16 bytes: odd L [L-33, L-1), even L [L-34, L-2).
 * Any thread. Source: UnionPay POS, the TDB rule; the AES rule is Posward's, by analogy. */
#ifndef POSWARD_ISO8583_TRACK2_H
#define POSWARD_ISO8583_TRACK2_H

#include "base/err.h"
#include "base/terms.h"

#include <stdint.h>

#define ISO_TRACK2_DIGITS_MAX 37
#define ISO_TRACK2_CLEAR_MAX  16

enum iso_track2_rule { ISO_TRACK2_TDES, ISO_TRACK2_AES };

struct iso_track2_span {
    size_t first_digit, digit_count;
};

/* ERR_INPUT a track that is too short for the rule, or longer than 37 digits: it cannot be (and is not)
 * enciphered. */
enum err_code iso_track2_span(enum iso_track2_rule rule, size_t track_digits,
                              struct iso_track2_span *out_span, struct err *e) MUST_CHECK;
/* The enciphered digits as bytes: 8 (TDES) or 16 (AES). ERR_INPUT as above, or characters that are no hex
 * digits. */
enum err_code iso_track2_slice(enum iso_track2_rule rule, const char *track,
                               uint8_t out_bytes[ISO_TRACK2_CLEAR_MAX], size_t *out_len,
                               struct err *e) MUST_CHECK;
/* Put enciphered or deciphered bytes back in their place; `len` as iso_track2_slice gave it. */
enum err_code iso_track2_put(enum iso_track2_rule rule, char *track, const uint8_t *bytes, size_t len,
                             struct err *e) MUST_CHECK;

/* The account number of a clear track: digits before the separator, NUL-terminated.
 * ERR_INPUT no separator, or not 12 to 19 digits before it. */
enum err_code iso_track2_pan(const char *track, char out_pan[PAN_DIGITS_MAX + 1], struct err *e) MUST_CHECK;

#endif

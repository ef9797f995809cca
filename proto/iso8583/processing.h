/* The fields that steer processing: F60 (type, batch, management code, terminal's abilities) and F53 (what of
 * the message is enciphered and how). As text, the way iso_text gives it. Any thread. Source: UnionPay POS
 * dialect. */
#ifndef POSWARD_ISO8583_PROCESSING_H
#define POSWARD_ISO8583_PROCESSING_H

#include "base/err.h"

#include <stdbool.h>

/* Management codes (F60.3) with a meaning of their own; acquirers use others too. */
#define ISO_NMC_SIGN_IN_SINGLE "001"
#define ISO_NMC_SIGN_OFF       "002"
#define ISO_NMC_SIGN_IN_DOUBLE "003"
#define ISO_NMC_SIGN_IN_TRACK  "004"
#define ISO_NMC_SIGN_IN_SLOTS  "005"
#define ISO_NMC_SETTLEMENT     "201"
#define ISO_NMC_ECHO           "301"

/* F60 is cut anywhere after the batch number: parts that are not there are empty strings. */
struct iso_f60 {
    char type[3]; /* "22" purchase, "00" management */
    char batch[7];
    char management[4]; /* "000" in financial messages */
    char capability[2]; /* 2 magnetic, 5 IC, 6 contactless */
    char ic_condition[2];
    char partial_approval[2];
    char account[4];
    char extra[3]; /* digits that some acquirers add */
};

#define ISO_F60_DIGITS_MAX 19

/* ERR_INPUT fewer than 8 or more than 19 digits, or a part that is cut in the middle. */
enum err_code iso_f60_parse(const char *text, struct iso_f60 *out_f60, struct err *e) MUST_CHECK;
/* The parts up to the first empty one, NUL-terminated. ERR_INPUT a part of the wrong length. */
enum err_code iso_f60_build(const struct iso_f60 *f60, char out_text[ISO_F60_DIGITS_MAX + 1],
                            struct err *e) MUST_CHECK;

enum iso_pin_kind { ISO_PIN_NONE = 0, ISO_PIN_WITHOUT_PAN = 1, ISO_PIN_WITH_PAN = 2 };
/* Digit 2. 4 is Posward's for the AES suites. */
enum iso_cipher { ISO_CIPHER_DES = 0, ISO_CIPHER_SM4 = 3, ISO_CIPHER_AES = 4, ISO_CIPHER_TDES = 6 };

struct iso_f53 {
    enum iso_pin_kind pin;
    enum iso_cipher cipher;
    bool track_enciphered;
};

/* ERR_INPUT not 16 digits, or a digit without a meaning. Digits 4 to 16 are reserved and not looked at. */
enum err_code iso_f53_parse(const char *text, struct iso_f53 *out_f53, struct err *e) MUST_CHECK;
void iso_f53_build(const struct iso_f53 *f53, char out_text[17]);

#endif

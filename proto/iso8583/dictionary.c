#include "iso8583/dictionary.h"

#define DIGITS_FIXED(label, digits)                                                                          \
    {                                                                                                        \
        .name = (label), .format = ISO_DIGITS, .length = ISO_FIXED, .max = (digits)                          \
    }
#define DIGITS_LL(label, digits)                                                                             \
    {                                                                                                        \
        .name = (label), .format = ISO_DIGITS, .length = ISO_LL, .max = (digits)                             \
    }
#define DIGITS_LLL(label, digits)                                                                            \
    {                                                                                                        \
        .name = (label), .format = ISO_DIGITS, .length = ISO_LLL, .max = (digits)                            \
    }
#define TEXT_FIXED(label, bytes)                                                                             \
    {                                                                                                        \
        .name = (label), .format = ISO_TEXT, .length = ISO_FIXED, .max = (bytes)                             \
    }
#define BYTES_FIXED(label, bytes)                                                                            \
    {                                                                                                        \
        .name = (label), .format = ISO_BYTES, .length = ISO_FIXED, .max = (bytes)                            \
    }
#define BYTES_LL(label, bytes)                                                                               \
    {                                                                                                        \
        .name = (label), .format = ISO_BYTES, .length = ISO_LL, .max = (bytes)                               \
    }
#define BYTES_LLL(label, bytes)                                                                              \
    {                                                                                                        \
        .name = (label), .format = ISO_BYTES, .length = ISO_LLL, .max = (bytes)                              \
    }

static const struct iso_field unionpay_fields[ISO_FIELD_LAST + 1] = {
    [2] = DIGITS_LL("primary account number", 19),
    [3] = DIGITS_FIXED("processing code", 6),
    [4] = DIGITS_FIXED("amount", 12),
    [11] = DIGITS_FIXED("trace number", 6),
    [12] = DIGITS_FIXED("local time", 6),
    [13] = DIGITS_FIXED("local date", 4),
    [14] = DIGITS_FIXED("expiry date", 4),
    [15] = DIGITS_FIXED("settlement date", 4),
    [22] = DIGITS_FIXED("entry mode", 3),
    [23] = {.name = "card sequence number",
            .format = ISO_DIGITS,
            .length = ISO_FIXED,
            .max = 3,
            .pad = ISO_PAD_LEFT},
    [25] = DIGITS_FIXED("condition code", 2),
    [26] = DIGITS_FIXED("PIN capture code", 2),
    [32] = DIGITS_LL("acquirer", 11),
    [35] = {.name = "track 2", .format = ISO_TRACK, .length = ISO_LL, .max = 37},
    [36] = {.name = "track 3", .format = ISO_TRACK, .length = ISO_LLL, .max = 104},
    [37] = TEXT_FIXED("reference number", 12),
    [38] = TEXT_FIXED("authorisation code", 6),
    [39] = TEXT_FIXED("response code", 2),
    [41] = TEXT_FIXED("terminal number", 8),
    [42] = TEXT_FIXED("merchant number", 15),
    [43] = BYTES_FIXED("merchant name", 40),
    [44] = BYTES_LL("additional response data", 25),
    [46] = BYTES_LLL("acquirer's data 46", 999),
    [47] = BYTES_LLL("acquirer's data 47", 999),
    [48] = DIGITS_LLL("additional data", 322),
    [49] = TEXT_FIXED("currency", 3),
    [52] = BYTES_FIXED("PIN block", 8),
    [53] = DIGITS_FIXED("security control", 16),
    [54] = BYTES_LLL("balance", 255),
    [55] = BYTES_LLL("IC data", 255),
    [56] = BYTES_LLL("acquirer's data 56", 999),
    [57] = BYTES_LLL("acquirer's data 57", 999),
    [58] = BYTES_LLL("acquirer's data 58", 999),
    [59] = BYTES_LLL("acquirer's data 59", 999),
    [60] = DIGITS_LLL("batch and management", 19),
    [61] = DIGITS_LLL("original message", 29),
    [62] = BYTES_LLL("private data 62", 512),
    [63] = BYTES_LLL("private data 63", 163),
    [64] = BYTES_FIXED("MAC", 8),
};

static const struct iso_override f2_pad_f[] = {
    {2,
     {.name = "primary account number",
      .format = ISO_DIGITS,
      .length = ISO_LL,
      .max = 19,
      .pad_nibble = 0xF}},
};

const struct iso_dialect iso_unionpay = {.name = "unionpay", .fields = unionpay_fields};

const struct iso_dialect iso_unionpay_f2_pad_f = {
    .name = "unionpay_f2_pad_f",
    .fields = unionpay_fields,
    .overrides = f2_pad_f,
    .override_count = sizeof f2_pad_f / sizeof f2_pad_f[0],
};

const struct iso_dialect *const iso_dialects[] = {&iso_unionpay, &iso_unionpay_f2_pad_f, NULL};

const struct iso_field *iso_dialect_field(const struct iso_dialect *d, unsigned number)
{
    if (number < ISO_FIELD_FIRST || number > ISO_FIELD_LAST)
        return NULL;
    for (size_t i = 0; i < d->override_count; i++) {
        if (d->overrides[i].number == number)
            return &d->overrides[i].field;
    }
    return d->fields[number].max > 0 ? &d->fields[number] : NULL;
}

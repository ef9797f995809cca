#include "iso8583/suite.h"

#include "iso8583/pack.h"

const struct iso_suite iso_suite_tdes = {
    .name = "tdes",
    .pin_field = 52,
    .other_pin_field = 57,
    .pin_bytes = 8,
    .pin_format = ISO_PIN_FORMAT_0,
    .track = ISO_TRACK2_TDES,
    .fill = ISO_F62_TDES,
    .mac_bytes = ISO_MAC_BYTES,
};

const struct iso_suite iso_suite_aes = {
    .name = "aes",
    .aes = true,
    .pin_field = 57,
    .other_pin_field = 52,
    .pin_bytes = 16,
    .pin_format = ISO_PIN_FORMAT_4,
    .track = ISO_TRACK2_AES,
    .fill = ISO_F62_AES,
    .mac_bytes = ISO_MAC_BYTES,
};

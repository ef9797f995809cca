/* What a terminal's suite of algorithms means for its messages: one row a suite. AES-128 and AES-256
 * terminals send the same messages. Read-only data: any thread. */
#ifndef POSWARD_ISO8583_SUITE_H
#define POSWARD_ISO8583_SUITE_H

#include "iso8583/f62.h"
#include "iso8583/track2.h"

/* ISO 9564-1 formats of PIN blocks, by their numbers in the standard. */
enum iso_pin_format { ISO_PIN_FORMAT_0 = 0, ISO_PIN_FORMAT_4 = 4 };

struct iso_suite {
    const char *name; /* "tdes", "aes" */
    bool aes;
    unsigned pin_field, other_pin_field; /* 52 or 57; the other one must be absent */
    size_t pin_bytes;
    enum iso_pin_format pin_format;
    enum iso_track2_rule track;
    enum iso_f62_fill fill;
    size_t mac_bytes; /* that field 64 takes of a MAC: the first ones */
};

extern const struct iso_suite iso_suite_tdes, iso_suite_aes;

#endif

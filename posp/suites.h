/* What a terminal's suite means on its line: one row a suite. Read-only, any thread. */
#ifndef POSWARD_POSP_SUITES_H
#define POSWARD_POSP_SUITES_H

#include "iso8583/f62.h"
#include "iso8583/track2.h"
#include "posward/hsm/v1/hsm.pb-c.h"

#include <stdbool.h>

struct suite_rules {
    Posward__Types__V1__Suite suite;
    bool aes;
    Posward__Hsm__V1__MacAlgorithm mac; /* field 64 is the first 8 bytes */
    Posward__Hsm__V1__PinFormat pin_format;
    unsigned pin_field, other_pin_field; /* 52 or 57; the other one must be absent */
    size_t pin_bytes;
    enum iso_track2_rule track;
    enum iso_f62_fill fill;
};

/* NULL for a suite that no terminal may have. */
const struct suite_rules *suite_rules(int suite);

#endif

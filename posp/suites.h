/* What a terminal's suite means on its line and to the HSM service: one row a suite. Read-only, any thread.
 */
#ifndef POSWARD_POSP_SUITES_H
#define POSWARD_POSP_SUITES_H

#include "iso8583/suite.h"
#include "posward/hsm/v1/hsm.pb-c.h"

struct suite_rules {
    Posward__Types__V1__Suite suite;
    const struct iso_suite *line;
    Posward__Hsm__V1__MacAlgorithm mac;
    Posward__Hsm__V1__PinFormat pin_format;
};

/* NULL for a suite that no terminal may have. */
const struct suite_rules *suite_rules(int suite);

#endif

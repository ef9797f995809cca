/* The factors of a "diversify" vector: as they stand, or made from the number that they stand for. */
#ifndef POSWARD_TESTS_SUPPORT_FACTORS_H
#define POSWARD_TESTS_SUPPORT_FACTORS_H

#include "tests/support/vectors.h"

#define FACTOR_LEVELS_MAX 8

struct factors {
    size_t levels;
    char digits[FACTOR_LEVELS_MAX][17]; /* 16 hex digits each */
};

/* `factors`, one a level, or `factor`, or the rightmost 16 digits of `psam_no` or of PAN and sequence number,
 * zeros on their left (EMV 4.3 book 2 A1.4.1). A factor that is given beside psam_no has to be its end. */
struct factors factors_of(const struct vectors *v, int index);

#endif

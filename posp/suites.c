#include "posp/suites.h"

#define AES_RULES                                                                                            \
    .line = &iso_suite_aes, .mac = POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_AES_CMAC,                  \
    .pin_format = POSWARD__HSM__V1__PIN_FORMAT__PIN_FORMAT_ISO_4

static const struct suite_rules rules[] = {
    {.suite = POSWARD__TYPES__V1__SUITE__SUITE_TDES,
     .line = &iso_suite_tdes,
     .mac = POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_UNIONPAY_ECB,
     .pin_format = POSWARD__HSM__V1__PIN_FORMAT__PIN_FORMAT_ISO_0},
    {.suite = POSWARD__TYPES__V1__SUITE__SUITE_AES_128, AES_RULES},
    {.suite = POSWARD__TYPES__V1__SUITE__SUITE_AES_256, AES_RULES},
};

const struct suite_rules *suite_rules(int suite)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if ((int)rules[i].suite == suite)
            return &rules[i];
    return NULL;
}

#include "issuer/suites.h"

#include <string.h>

struct name_row {
    const char *name;
    int number;
};

static const struct name_row suites[] = {{"tdes", POSWARD__TYPES__V1__SUITE__SUITE_TDES},
                                         {"aes-128", POSWARD__TYPES__V1__SUITE__SUITE_AES_128},
                                         {"aes-256", POSWARD__TYPES__V1__SUITE__SUITE_AES_256},
                                         {NULL, 0}};
static const struct name_row write_keys[] = {{"aes", POSWARD__HSM__V1__CARD_PROFILE__CARD_PROFILE_AES},
                                             {"pboc", POSWARD__HSM__V1__CARD_PROFILE__CARD_PROFILE_PBOC},
                                             {NULL, 0}};
static const struct name_row grades[] = {{"IN_TOKEN", POSWARD__TYPES__V1__GRADE__GRADE_IN_TOKEN},
                                         {"PROCESS_MEMORY", POSWARD__TYPES__V1__GRADE__GRADE_PROCESS_MEMORY},
                                         {NULL, 0}};

static int number_of(const struct name_row *rows, const char *name)
{
    for (; rows->name != NULL; rows++)
        if (strcmp(rows->name, name) == 0)
            return rows->number;
    return 0;
}

static const char *name_of(const struct name_row *rows, int number)
{
    for (; rows->name != NULL; rows++)
        if (rows->number == number)
            return rows->name;
    return "unknown";
}

enum err_code suite_parse(const char *what, const char *text, Posward__Types__V1__Suite *out_suite,
                          struct err *e)
{
    const int number = number_of(suites, text);
    if (number == 0)
        return err_set(e, ERR_INPUT, "%s must be tdes, aes-128 or aes-256, got '%.20s'", what, text);
    *out_suite = (Posward__Types__V1__Suite)number;
    return ERR_OK;
}

const char *suite_name(Posward__Types__V1__Suite suite)
{
    return name_of(suites, (int)suite);
}

enum err_code write_key_parse(const char *what, const char *text, Posward__Hsm__V1__CardProfile *out_profile,
                              struct err *e)
{
    const int number = number_of(write_keys, text);
    if (number == 0)
        return err_set(e, ERR_INPUT, "%s must be aes or pboc, got '%.20s'", what, text);
    *out_profile = (Posward__Hsm__V1__CardProfile)number;
    return ERR_OK;
}

const char *grade_name(Posward__Types__V1__Grade grade)
{
    return name_of(grades, (int)grade);
}

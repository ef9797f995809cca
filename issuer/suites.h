/* Names of suites, card profiles and grades, as people write them. Any thread. */
#ifndef POSWARD_ISSUER_SUITES_H
#define POSWARD_ISSUER_SUITES_H

#include "base/err.h"

#include <posward/hsm/v1/hsm.pb-c.h>
#include <posward/types/v1/types.pb-c.h>

/* "tdes", "aes-128", "aes-256". ERR_INPUT names what was expected; `what` says where it stands. */
enum err_code suite_parse(const char *what, const char *text, Posward__Types__V1__Suite *out_suite,
                          struct err *e) MUST_CHECK;
const char *suite_name(Posward__Types__V1__Suite suite);

/* "aes", "pboc": how WRITE KEY is built. */
enum err_code write_key_parse(const char *what, const char *text, Posward__Hsm__V1__CardProfile *out_profile,
                              struct err *e) MUST_CHECK;

/* "IN_TOKEN", "PROCESS_MEMORY". */
const char *grade_name(Posward__Types__V1__Grade grade);

#endif

/* Card profiles: how a kind of card takes its TMK and tells which one it holds. Data files NAME.yaml, such as
 * those of deploy/cards, so that another card needs no code. */
#ifndef POSWARD_ISSUER_PROFILE_H
#define POSWARD_ISSUER_PROFILE_H

#include "apdu/apdu.h"

#include <posward/hsm/v1/hsm.pb-c.h>
#include <posward/types/v1/types.pb-c.h>

#define PROFILE_NAME_MOST 31

struct card_profile {
    char name[PROFILE_NAME_MOST + 1];
    Posward__Hsm__V1__CardProfile write_key;
    uint8_t challenge_bytes; /* 4 or 8 */
    unsigned suites;         /* bit 1 << Suite */
    struct apdu_command verify;
    size_t answer_bytes, version_at, kcv_at, kcv_bytes; /* in the answer to `verify` */
    int algorithm_at;                                   /* likewise; -1: the answer does not tell it */
};

/* `folder`/`name`.yaml; `folder` NULL: the first of /etc/posward/cards, the installed and the source folder
 * that has it. ERR_INPUT a bad name or file ("file:line: ..."), ERR_NOT_FOUND names the folders. */
enum err_code card_profile_load(const char *folder, const char *name, struct card_profile *out_profile,
                                struct err *e) MUST_CHECK;
/* From the text of a file; `name` stands in errors. */
enum err_code card_profile_parse(const char *name, const char *text, size_t len,
                                 struct card_profile *out_profile, struct err *e) MUST_CHECK;
/* ERR_INPUT when the profile's WRITE KEY does not carry the suite's TMK. */
enum err_code card_profile_check_suite(const struct card_profile *profile, Posward__Types__V1__Suite suite,
                                       struct err *e) MUST_CHECK;

#endif

/* The issuer's part in the device table: a card into its terminal, in a way that can be done again. One
 * thread. */
#ifndef POSWARD_ISSUER_REGISTRATION_H
#define POSWARD_ISSUER_REGISTRATION_H

#include "issuer/issue.h"

/* The terminal is free or has this very card, and the card is in no other terminal. ERR_EXISTS otherwise. */
enum err_code registration_check(const struct issue_order *order, const struct issue_parts *parts,
                                 const char *psam_number, struct err *e) MUST_CHECK;
/* Register; a device that is there with the same card is left as it is, or updated to the suite and version
 * that the card has now. Fills result->registration and ->revision from its other members. */
enum err_code registration_make(const struct issue_order *order, const struct issue_parts *parts,
                                struct issue_result *result, struct err *e) MUST_CHECK;

#endif

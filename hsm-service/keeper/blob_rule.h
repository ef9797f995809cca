/* Inside keeper/ only: which blobs may serve. p11 opens every sound blob; what an acquirer's policy adds
 * stands here.
 *
 * A rule reads a blob's head, whose tag nobody has checked yet. That is enough, as the use of the same bytes
 * follows and checks it: a rule only refuses, and its answers must not be used for more. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_BLOB_RULE_H
#define POSWARD_HSM_SERVICE_KEEPER_BLOB_RULE_H

#include "hsm-service/keeper/cases.h"

/* Before each use of a working key. ERR_DENIED: form 1 after its date, or single DES that is not allowed; the
 * note says what to do. */
enum err_code blob_rule_check(const struct keeper_call *call, const struct tok_blob_info *info,
                              struct err *e) MUST_CHECK;
/* The same for what a reference names; *out_info (or NULL) is zeroed for a zone's key, which no rule is
 * about. ERR_CHECK: that is no blob. */
enum err_code blob_rule_ref(const struct keeper_call *call, const struct tok_key_ref *ref,
                            struct tok_blob_info *out_info, struct err *e) MUST_CHECK;

/* Each of the blobs of one transaction, and all together: one card, one form, one sign-in. Form 1 says no
 * sign-in: there all were made within 2 s. ERR_DENIED: they are not keys of one sign-in. */
enum err_code blob_rule_together(const struct keeper_call *call, const struct tok_blob_info *infos,
                                 size_t count, struct err *e) MUST_CHECK;

#endif

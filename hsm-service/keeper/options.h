/* What the front tells a keeper on its command line: paths and numbers, never a secret. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_OPTIONS_H
#define POSWARD_HSM_SERVICE_KEEPER_OPTIONS_H

#include "hsm-service/keeper/policy.h"
#include "hsm-service/tokendir/tokendir.h"
#include "p11/flow/way.h"

#include "base/log.h"

struct keeper_options {
    struct tok_options token;
    struct tokendir tokendir; /* its label and lock are the token's */
    enum tok_exposure exposure;
    struct keeper_policy policy; /* strict where nothing is said */
    bool missing_allowed;        /* policy.flows_missing */
    enum log_level log_level;
    bool log_json;
};

/* "--name=value" words from argv[1] on. Strings point into argv. ERR_STATE: the front is of another version.
 */
enum err_code keeper_options_read(int argc, char **argv, struct keeper_options *out_options,
                                  struct err *e) MUST_CHECK;

#endif

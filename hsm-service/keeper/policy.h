/* Inside keeper/ only: what the configuration allows beyond what p11 can do. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_POLICY_H
#define POSWARD_HSM_SERVICE_KEEPER_POLICY_H

#include <stdbool.h>
#include <stdint.h>

struct keeper_policy {
    bool in_token_only;          /* policy.exposure */
    unsigned tdes_mak_bytes_min; /* policy.tdes_mak_bytes_min: 8 or 16 */
    int64_t blob_form1_until_ms; /* policy.blob_form1_until, of clock_wall_ms: blobs of form 1 serve before;
                                    0: not */
};

#endif

/* Inside gate/ only: what a sealed working key says of itself in the clear. Nothing of it is proven before a
 * keeper has checked its tag. Source: p11/flow/blob_form.h, which the front may not include. */
#ifndef POSWARD_HSM_SERVICE_GATE_BLOB_HEAD_H
#define POSWARD_HSM_SERVICE_GATE_BLOB_HEAD_H

#include "rpc/wire.h"

#define BLOB_NUMBER_MOST 20

struct blob_head {
    const char *usage;                   /* "PIK", ...; "blob" for none of them */
    char terminal[BLOB_NUMBER_MOST + 1]; /* the number of its PSAM card, digits */
    unsigned storage_version;
};

/* False, and out_head->terminal "": that is no blob's beginning. */
bool blob_head_read(struct wire_bytes blob, struct blob_head *out_head);

#endif

/* One round of re-sealing: rows of the store to the HSM service's ResealBlobs, and what comes back into the
 * rows that are still as they were sent. Any thread; blocks for at most half a minute. */
#ifndef POSWARD_POSP_RESEAL_ROWS_H
#define POSWARD_POSP_RESEAL_ROWS_H

#include "posp/posp.h"

#define RESEAL_ROWS_MOST 32 /* in a round: at most 96 blobs, a part of one keeper's time */

/* Blobs. scanned = resealed + already + must_sign_in + replaced + failed. */
struct reseal_counts {
    uint64_t scanned, resealed;
    uint64_t already;         /* under the current keys */
    uint64_t must_sign_in;    /* the token cannot move them: the terminal's next sign-in makes new ones */
    uint64_t replaced;        /* by a sign-in or a card request, while they were under way */
    uint64_t failed;          /* damaged, or of a key that the token does not hold */
    uint64_t sent;            /* of those scanned: what the HSM service was asked for */
    struct store_seal newest; /* keys that the service seals under, as far as it has said; 0: not yet */
    char first_failure[200];  /* what the service said of it; "" */
};

/* Rows under counts->newest are not sent. Adds to `counts`, which starts zeroed. *out_stuck (NULL: nobody
 * asks), one a row: it has blobs that must wait for a sign-in. A failed call leaves counts and rows as they
 * are: come again. */
enum err_code reseal_rows(struct posp *posp, const struct store_sealed *rows, size_t count,
                          struct reseal_counts *counts, bool *out_stuck, struct err *e) MUST_CHECK;

#endif

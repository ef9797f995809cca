/* gRPC service posward.posp.v1.CardKeys: the issuing unit's way to the HSM service (patent S301-S304). */
#ifndef POSWARD_POSP_CARDS_H
#define POSWARD_POSP_CARDS_H

#include "posp/posp.h"
#include "posward/posp/v1/posp.pb-c.h"

struct cards {
    Posward__Posp__V1__CardKeys_Service service; /* first: handlers get a pointer to it */
    struct posp *posp;
};

/* Add &out_cards->service.base to a server; `posp` and `out_cards` outlive the server. */
void cards_init(struct posp *posp, struct cards *out_cards);

#endif

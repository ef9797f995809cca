/* Issuing one card: from the number on the card to the entry in the device table (patent S301-S307).
 *
 * Every step may be done again: a card that dropped in the middle, or a service that was away, is mended by
 * running the whole again. One thread. */
#ifndef POSWARD_ISSUER_ISSUE_H
#define POSWARD_ISSUER_ISSUE_H

#include "apdu/link.h"
#include "apdu/psam.h"
#include "issuer/profile.h"
#include "rpc/client.h"

#include <posward/posp/v1/posp.pb-c.h>

#define ISSUE_TOLD_BYTES 160

struct issue_order {
    const struct card_profile *profile;
    Posward__Types__V1__Suite suite;
    uint32_t
        wrap_version; /* of the card's working keys; 0: 2 for AES suites, 1 for TDES, which has no other */
    const char *terminal_id; /* NULL: the card goes into no terminal yet */
    const char *merchant_id; /* with a terminal_id, else NULL */
};

/* Where the work is done; all borrowed. */
struct issue_parts {
    struct card_link *card;
    struct rpc_channel *posp, *posv; /* posv NULL without a terminal */
    int64_t timeout_ms;              /* of one call */
    /* Told after each step: the patent's step and a sentence. */
    void (*tell)(void *context, const char *patent_step, const char *sentence);
    void *context;
};

enum issue_registration { ISSUE_UNREGISTERED, ISSUE_REGISTERED, ISSUE_WAS_REGISTERED, ISSUE_UPDATED };

struct issue_result {
    char psam_number[2 * PSAM_SERIAL_BYTES + 1];
    uint32_t master_version, wrap_version;
    uint8_t kcv[4];
    size_t kcv_bytes; /* as the card tells it: 3 or 4 */
    Posward__Types__V1__Grade grade;
    enum issue_registration registration;
    int64_t revision; /* of the device table; 0 unregistered */
};

/* ERR_CHECK a status word other than 9000, or a KCV or wrap version that differs; ERR_UNSUPPORTED POSP does
 * not know the wrap version; ERR_EXISTS the terminal or the card is taken
 * otherwise (found before the card is written); else as the services and the card line. The note names the
 * step. */
enum err_code issue_card(const struct issue_order *order, const struct issue_parts *parts,
                         struct issue_result *out_result, struct err *e) MUST_CHECK;

#endif

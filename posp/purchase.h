/* A purchase under way: purchase.c checks and deciphers it, forward.c journals it, sends it on and answers,
 * decline.c refuses it. */
#ifndef POSWARD_POSP_PURCHASE_H
#define POSWARD_POSP_PURCHASE_H

#include "iso8583/card.h"
#include "posp/dispatch.h"

struct purchase {
    struct posp *posp;
    const struct request *request;
    struct iso_card card;
    bool pan_was_clear; /* in the request: then the answer may repeat it */
    const struct route *route;
    const uint8_t *mac; /* field 64 */
    struct store_keys keys;
    const struct store_key_set *proven; /* the set whose MAC matched; NULL before */
    struct hsm_outcome outcome;         /* PIN block for the unit */
};

/* The answer to a purchase whose MAC has been proven. Journals, forwards, or replays what is on record. */
enum err_code forward_purchase(struct purchase *p, struct answer *out_answer, struct err *e) MUST_CHECK;

/* An answer with field 64 when the terminal's keys are proven, without one before. `reference` NULL: a fresh
 * one. */
enum err_code purchase_decline(struct purchase *p, const char *response_code, const char *reference,
                               struct answer *out_answer, struct err *e) MUST_CHECK;

#endif

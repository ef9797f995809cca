/* Building answers: what is echoed, what POSP adds. Any thread. */
#ifndef POSWARD_POSP_ANSWER_H
#define POSWARD_POSP_ANSWER_H

#include "iso8583/pack.h"
#include "posp/dispatch.h"

/* Message type of the answer ("0210" to "0200"). ERR_INPUT: not four digits, or not that of a request. */
enum err_code answer_mti(const char *mti, char out_mti[5], struct err *e) MUST_CHECK;

/* Fields that the request has and an answer repeats (11, 41, 42, 60, ... never a PIN or track), and 12, 13,
 * 32, 39 and 37: `reference`, or a fresh number when NULL. `message` is initialised and empty. */
enum err_code answer_begin(struct posp *posp, const struct iso_message *request, const char *response_code,
                           const char *reference, struct iso_message *message, struct err *e) MUST_CHECK;
/* Pack it without a MAC. */
enum err_code answer_pack(const struct iso_message *message, struct answer *out_answer,
                          struct err *e) MUST_CHECK;
/* Add field 64 made with `keys` and pack. */
enum err_code answer_seal(struct posp *posp, const struct suite_rules *rules,
                          const struct store_key_set *keys, struct iso_message *message,
                          struct answer *out_answer, struct err *e) MUST_CHECK;

#endif

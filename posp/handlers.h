/* What handles each kind of message. A handler fills the answer; an error of its own becomes 96. Any thread.
 */
#ifndef POSWARD_POSP_HANDLERS_H
#define POSWARD_POSP_HANDLERS_H

#include "posp/dispatch.h"

/* 0800, patent S401-S406: working keys for the card that POSV has in this terminal. */
enum err_code signin_handle(struct posp *posp, const struct request *request, struct answer *out_answer,
                            struct err *e) MUST_CHECK;

/* 0820 with F60.3 002 and 301. Neither has a MAC, so neither may change anything: the working keys stay valid
 * until the next sign-in, and nobody can sign a terminal off for it. */
enum err_code signoff_handle(struct posp *posp, const struct request *request, struct answer *out_answer,
                             struct err *e) MUST_CHECK;

/* 0200 with F3 00xxxx, patent S407-S412. */
enum err_code purchase_handle(struct posp *posp, const struct request *request, struct answer *out_answer,
                              struct err *e) MUST_CHECK;

#endif

/* Reversals: what was forwarded and has no certain outcome is undone at the business unit, again and again
 * until it acknowledges. One thread. */
#ifndef POSWARD_POSP_REVERSALS_H
#define POSWARD_POSP_REVERSALS_H

#include "posp/posp.h"

/* `posp` has store and units; it is borrowed until reversals_free. First takes over what a process before
 * this one left in state forwarded. */
enum err_code reversals_start(struct posp *posp, struct reversals **out_reversals, struct err *e) MUST_CHECK;
/* There is something new to reverse. Any thread. Accepts NULL. */
void reversals_wake(struct reversals *reversals);
/* Joins the thread. Accepts NULL. */
void reversals_free(struct reversals *reversals);

#endif

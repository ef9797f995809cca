/* Inside the files of keepers only: keepers.c has the plan, keeper_life.c what is done to one keeper. Loop
 * thread, mutex held. */
#ifndef POSWARD_HSM_SERVICE_FRONT_KEEPERS_INSIDE_H
#define POSWARD_HSM_SERVICE_FRONT_KEEPERS_INSIDE_H

#include "hsm-service/front/state.h"

/* A keeper of the token with this index, in the free slot `k`. */
enum err_code front_keeper_start(struct front *f, unsigned token, struct front_keeper *k,
                                 struct err *e) MUST_CHECK;
/* A start that failed: those who wait hear why, and nothing is tried in a tight loop. */
void front_keeper_not_started(struct front *f, struct front_token *t, const struct err *e,
                              struct front_calls *out_failed);
/* What its state asks for now: a start that takes too long, a call that hangs, an end that does not come. */
void front_keeper_tend(struct front *f, struct front_keeper *k, int64_t now_ms,
                       struct front_calls *out_failed);
/* It takes no more calls, and ends when it has finished those that it has. */
void front_keeper_retire(struct front *f, struct front_keeper *k);
/* Close its socket: it reads the end and goes; one that stays is killed. */
void front_keeper_close(struct front *f, struct front_keeper *k);

#endif

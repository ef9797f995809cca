/* Components typed at the terminal, one custodian after the other: not shown, entered twice, the screen
 * cleared before the next one sits down. */
#ifndef POSWARD_HSM_SERVICE_CUSTODIAN_H
#define POSWARD_HSM_SERVICE_CUSTODIAN_H

#include "base/secret.h"

struct custodian_terminal {
    int fd;
};
/* The controlling terminal. ERR_IO: there is none. */
enum err_code custodian_open(struct custodian_terminal *t, struct err *e) MUST_CHECK;
/* Accepts a closed one (fd -1). */
void custodian_terminal_drop(struct custodian_terminal *t);

/* Ask custodian `number` of `count` until both entries agree. ERR_CANCELLED at Ctrl-C, Ctrl-D or hang-up. */
enum err_code custodian_ask(struct custodian_terminal *t, unsigned number, unsigned count, size_t hex_digits,
                            struct secret *out_text, struct err *e) MUST_CHECK;
/* Show the check value, wait for Enter, clear the screen and what can be scrolled back to. */
enum err_code custodian_hand_over(struct custodian_terminal *t, unsigned number, const char *kcv,
                                  struct err *e) MUST_CHECK;
/* Tell the custodian what was wrong; he is asked again. */
void custodian_refuse(struct custodian_terminal *t, const char *note);

#endif

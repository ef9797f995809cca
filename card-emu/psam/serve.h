/* The card in its reader: serves a chip over vpcd's framing until the process ends. One reader at a time, as
 * a card has one set of contacts; a second one waits in the queue. Main thread. */
#ifndef POSWARD_CARD_EMU_PSAM_SERVE_H
#define POSWARD_CARD_EMU_PSAM_SERVE_H

#include "card-emu/psam/chip.h"

/* Wait for readers at "host:port". Returns only on failure: ERR_UNAVAILABLE the port is taken. */
enum err_code serve_listen(struct chip *chip, const char *address, struct err *e) MUST_CHECK;
/* Be a card in vpcd at "host:port": connect, and again a second after the connection ended. Never returns
 * ERR_OK. */
enum err_code serve_connect(struct chip *chip, const char *address, struct err *e) MUST_CHECK;
/* One connection until its peer leaves or breaks the framing. */
void serve_reader(struct chip *chip, int fd);

#endif

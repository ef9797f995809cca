/* A card reader by its name: "tcp:HOST:PORT", an emulated card's socket. Other transports are a row more.
 * One thread. */
#ifndef POSWARD_ISSUER_READER_H
#define POSWARD_ISSUER_READER_H

#include "apdu/link.h"

/* Connect and power the card. ERR_INPUT a name of no known kind; else as apdu/link.h. Ended by
 * card_link_drop. */
enum err_code reader_open(const char *name, struct card_link *out_card, struct err *e) MUST_CHECK;

#endif

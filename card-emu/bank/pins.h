/* PINs at the bank: out of a PIN block under a zone key, and against what is kept of them.
 *
 * What is kept is AES-CMAC(PIN key, card number | PIN): useless without the key file, as a PVV is without its
 * PVK. Read-only once opened: any thread. */
#ifndef POSWARD_CARD_EMU_BANK_PINS_H
#define POSWARD_CARD_EMU_BANK_PINS_H

#include "card-emu/bank/config.h"
#include "posward/business/v1/business.pb-c.h"

#define PINS_CHECK_BYTES 16

struct pins;

/* Reads the zone keys' components and the PIN key. `may_make`: nothing is checked with the PIN key yet, and
 * it is made when its file is not there. ERR_DENIED a file that others can read; ERR_INPUT a component of the
 * wrong length; ERR_IO a file that is missing. */
enum err_code pins_open(const struct bank_config *config, bool may_make, struct pins **out_pins,
                        struct err *e) MUST_CHECK;
/* Wipes. Accepts NULL. */
void pins_free(struct pins *pins);

/* The check value of a clear PIN, for a new account. */
enum err_code pins_check_value(const struct pins *pins, const char *pan, const char *pin,
                               uint8_t out_check[PINS_CHECK_BYTES], struct err *e) MUST_CHECK;
/* The check value of the PIN in a request's block. ERR_CHECK the block does not decode; ERR_NOT_FOUND no such
 * zone key; ERR_INPUT a block of the wrong length. */
enum err_code pins_open_block(const struct pins *pins, const Posward__Business__V1__AuthorizeRequest *request,
                              uint8_t out_check[PINS_CHECK_BYTES], struct err *e) MUST_CHECK;

#endif

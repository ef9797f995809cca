/* A CardKeys service in place of POSP and the HSM service, for what the real ones do not do on demand: wrong
 * KCVs, wrong MACs, another master version. It derives and enciphers in software from the masters below,
 * which the cards of a test are made from. The server's threads call it; set the switches between calls. */
#ifndef POSWARD_TESTS_SUPPORT_CARD_KEYS_H
#define POSWARD_TESTS_SUPPORT_CARD_KEYS_H

#include "base/err.h"

#include <stdatomic.h>
#include <stdint.h>

#define CARD_KEYS_CONTROL_TDES "00112233445566778899AABBCCDDEEFF"
#define CARD_KEYS_CONTROL_AES  "101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F"

struct card_keys {
    struct rpc_server *server;
    int port;
    /* switches */
    _Atomic uint32_t master_version;
    atomic_int wrong_kcv, wrong_mac, no_commands;
    atomic_int no_wrap_version;   /* a POSP of before: does not know the field */
    atomic_int wrong_algorithm;   /* the card answers 6A80 */
    atomic_int old_hsm;           /* an HSM service of before behind a POSP that knows it */
    _Atomic enum err_code refuse; /* ERR_OK: no */
    /* counts */
    atomic_int requested, confirmed;
};

/* Serves on a free port. Failures fail the test. */
void card_keys_start(struct card_keys *k);
void card_keys_stop(struct card_keys *k);

#endif

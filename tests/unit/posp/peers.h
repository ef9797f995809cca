/* A POSP with one device a suite, and in the same process the peers that it asks: an HSM service that keeps
 * what it was asked and enciphers nothing (a deciphered track is the enciphered one), and a bank that
 * approves. One a process: peers_start in a fixture, peers_stop after it. */
#ifndef POSWARD_TESTS_UNIT_POSP_PEERS_H
#define POSWARD_TESTS_UNIT_POSP_PEERS_H

#include "iso8583/pack.h"
#include "posp/dispatch.h"

#define PEERS_MERCHANT  "898100012345678"
#define PEERS_TDES      "T0000001" /* terminals of these suites */
#define PEERS_AES       "A0000001"
#define PEERS_ASKED_MAX 8

/* One transaction that the HSM service was asked for. Blobs are one byte: the label of their set. */
struct peers_asked {
    uint8_t message[512];
    size_t len;
    char dialect[32], psam_number[STORE_PSAM_BYTES], zone[32];
    uint8_t mak, pik, tdk; /* 0: the part is absent */
    Posward__Hsm__V1__PinFormat destination_format;
};

struct peers {
    struct posp posp;
    /* what the HSM service does */
    uint8_t good_mak; /* label of the set whose MACs match */
    int status;       /* gRPC status of each transaction and each making of keys; 0: it works */
    int64_t retry_ms;
    /* what was asked of it, and of the bank */
    struct peers_asked asked[PEERS_ASKED_MAX];
    size_t asked_count;
    struct {
        Posward__Types__V1__KeyUsage usage;
        uint32_t key_bytes;
        Posward__Hsm__V1__MacAlgorithm mac;
    } specs[ISO_F62_SLOT_COUNT];
    size_t spec_count;
    size_t authorized;
    char bank_pan[PAN_DIGITS_MAX + 1];
    size_t bank_pin_len;
};

/* Each failure ends the test. */
struct peers *peers_start(void);
void peers_stop(void);
/* Working keys of a terminal, newest last; each set's blobs are `label`. */
void peers_put_keys(const char *terminal_id, uint8_t label);
/* A message to POSP and the response code of its answer. */
const char *peers_exchange(const struct iso_message *m);

#endif

/* POSP's use of the HSM service. Calls that wait at the same time travel together in one ProcessBatch.
 *
 * Any thread; each call blocks for at most hsm.timeout_ms. Errors are the service's classes: ERR_CHECK a blob
 * or PIN block that does not decode, ERR_UNAVAILABLE and ERR_TIMEOUT nobody answers, ERR_LIMIT too busy. */
#ifndef POSWARD_POSP_HSM_H
#define POSWARD_POSP_HSM_H

#include "posp/store.h"
#include "posp/suites.h"
#include "posp/units.h"

#define HSM_MAC_BYTES  8  /* what field 64 takes of a MAC */
#define HSM_DATA_BYTES 16 /* a PIN block, the enciphered part of a track */

struct hsm;

/* `channel` is borrowed. */
enum err_code hsm_open(struct rpc_channel *channel, int64_t timeout_ms, struct hsm **out_hsm,
                       struct err *e) MUST_CHECK;
/* Nobody is in a call any more. Accepts NULL. */
void hsm_free(struct hsm *hsm);

struct hsm_key_spec {
    Posward__Types__V1__KeyUsage usage;
    uint32_t key_bytes;
    Posward__Hsm__V1__MacAlgorithm mac; /* the one that a MAK will serve; else unspecified */
};
struct hsm_working_key {
    uint8_t cryptogram[ISO_F62_CIPHER_MAX];
    size_t cryptogram_len;
    uint8_t kcv[4];
    struct store_blob blob;
    struct store_seal seal;
};
/* Patent S404. Keys in the order of the specs. */
enum err_code hsm_working_keys(struct hsm *hsm, const struct store_device *device,
                               const struct hsm_key_spec *specs, size_t count,
                               struct hsm_working_key *out_keys, struct err *e) MUST_CHECK;

/* Patent S408-S409: what the service is to do with a message. It reads card number, PIN block, track and MAC
 * out of it by itself. */
struct hsm_transaction {
    const uint8_t *message; /* as it came, up to field 64 */
    size_t len;
    const struct iso_dialect *dialect;
    const struct suite_rules *rules;
    const struct store_key_set *keys; /* of one sign-in; the service takes no others together */
    const struct route *route;        /* whose zone the PIN block goes to; NULL: it is left alone */
    bool track; /* decipher field 35; a PIN block needs it when field 35 is enciphered */
};
struct hsm_outcome {
    bool mac_matches;    /* false: nothing else was done */
    bool reseal_advised; /* a blob of the set is not under the current storage and tag keys */
    uint8_t pin_block[HSM_DATA_BYTES];
    uint32_t pin_zone_version; /* of the zone key that the PIN block is under */
    size_t pin_len;
    uint8_t track[HSM_DATA_BYTES]; /* the enciphered digits of field 35, deciphered */
    size_t track_len;
};
enum err_code hsm_process(struct hsm *hsm, const struct hsm_transaction *t, struct hsm_outcome *out_outcome,
                          struct err *e) MUST_CHECK;

enum err_code hsm_mac(struct hsm *hsm, const struct suite_rules *rules, const struct store_key_set *keys,
                      const uint8_t *data, size_t len, uint8_t out_mac[HSM_MAC_BYTES],
                      struct err *e) MUST_CHECK;

#endif

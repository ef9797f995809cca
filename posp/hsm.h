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

/* Patent S408-S409: what a request asks for. Absent parts have length 0. */
struct hsm_transaction {
    const struct suite_rules *rules;
    const struct store_key_set *keys;
    const uint8_t *data; /* that the MAC covers */
    size_t data_len;
    const uint8_t *mac; /* HSM_MAC_BYTES */
    const uint8_t *pin_block;
    size_t pin_len;
    const char *pan;           /* with a PIN block */
    const struct route *route; /* with a PIN block: whose zone it goes to */
    const uint8_t *track;
    size_t track_len;
};
struct hsm_outcome {
    bool mac_matches;    /* false: nothing else was done */
    bool reseal_advised; /* a blob of the set is not under the current storage and tag keys */
    uint8_t pin_block[HSM_DATA_BYTES];
    uint32_t pin_zone_version; /* of the zone key that the PIN block is under */
    size_t pin_len;
    uint8_t track[HSM_DATA_BYTES];
    size_t track_len;
};
enum err_code hsm_process(struct hsm *hsm, const struct hsm_transaction *t, struct hsm_outcome *out_outcome,
                          struct err *e) MUST_CHECK;
/* Only the PIN part: when the PAN was in the enciphered track. */
enum err_code hsm_translate_pin(struct hsm *hsm, const struct hsm_transaction *t,
                                struct hsm_outcome *out_outcome, struct err *e) MUST_CHECK;

enum err_code hsm_mac(struct hsm *hsm, const struct suite_rules *rules, const struct store_key_set *keys,
                      const uint8_t *data, size_t len, uint8_t out_mac[HSM_MAC_BYTES],
                      struct err *e) MUST_CHECK;

#endif

/* Inside keeper/ only: the keys of a token as text, for the front to compare the tokens of a pool.
 *
 * One line a key, in order of the names: "zone-pin/bank/tdes/1 a 1A2B3C". The letter is the first one of the
 * state, short so that all keys that a token may have fit into a packet; the last word is the check value; of
 * a pair, which has none, the first half of the public key's SHA-256; "-" where it is not to be had. Two
 * tokens serve as one when their texts are the same: times are not in it, for a ceremony is done at each
 * token on its own day. */
#ifndef POSWARD_HSM_SERVICE_KEEPER_KEYSET_H
#define POSWARD_HSM_SERVICE_KEEPER_KEYSET_H

#include "p11/keys/keys.h"

/* *out_text: of malloc. After tok_keys_load; borrows sessions. ERR_LIMIT: longer than `most` bytes. */
enum err_code keyset_text(struct tok *tok, size_t most, char **out_text, struct err *e) MUST_CHECK;

#endif

/* PBOC secure messaging: what is enciphered and what is MACed, without any key. Pure functions, any thread.
 *
 * A caller asks for the bytes, computes with its own key (token or card) and puts the result in. Source:
 * PBOC 3.0 / FMCOS WRITE KEY; AES profile: Posward. */
#ifndef POSWARD_APDU_SECURE_H
#define POSWARD_APDU_SECURE_H

#include "apdu/apdu.h"

#define APDU_SM_IV_BYTES    8
#define APDU_SM_PADDED_MAX  272
#define APDU_PBOC_MAC_BYTES 4
#define APDU_AES_MAC_BYTES  8

/* IV of the MAC: a 4-byte challenge and four zero bytes. */
void apdu_sm_iv(const uint8_t challenge[4], uint8_t out_iv[APDU_SM_IV_BYTES]);
/* Header and data of `command`, whose Lc counts `mac_bytes` more than `data_len` (the data without the MAC).
 * Unpadded; at most 5 + 255 bytes into out_input. Returns the length. */
size_t apdu_sm_mac_input(const struct apdu_command *command, size_t data_len, size_t mac_bytes,
                         uint8_t out_input[APDU_SM_PADDED_MAX]);
/* Append 80 00.. up to a block of 8: always (MAC), or only when not whole blocks already (encipherment).
 * `bytes` holds len + 8. Returns the padded length. */
size_t apdu_sm_pad(uint8_t *bytes, size_t len, bool always);
/* LD || data, padded for encipherment. `len` at most 247. Returns the padded length. */
size_t apdu_sm_plain(const uint8_t *data, size_t len, uint8_t out_plain[APDU_SM_PADDED_MAX]);
/* The data inside a deciphered LD || data || padding. ERR_CHECK LD or padding that cannot be. */
enum err_code apdu_sm_open(const uint8_t *plain, size_t len, const uint8_t **out_data, size_t *out_len,
                           struct err *e) MUST_CHECK;

#endif

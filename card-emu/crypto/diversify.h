/* A card's keys from the masters, the way the token makes them: for the card maker and for tests. Any thread.
 */
#ifndef POSWARD_CARD_EMU_CRYPTO_DIVERSIFY_H
#define POSWARD_CARD_EMU_CRYPTO_DIVERSIFY_H

#include "card-emu/crypto/key.h"

#define EMU_PSAM_BCD_BYTES 10
#define EMU_FACTOR_BYTES   8

/* AES masters: what the child key is for. */
enum emu_domain { EMU_DOMAIN_TMK = 1, EMU_DOMAIN_CONTROL = 2 };

/* "16 to 20 digits" as 10 BCD bytes, left-padded with zeros; the factor is the last 8 of them. ERR_INPUT
 * otherwise. */
enum err_code emu_psam_bcd(const char *psam_number, uint8_t out_bcd[EMU_PSAM_BCD_BYTES],
                           struct err *e) MUST_CHECK;

/* E(MK, f) || E(MK, ~f): one level of TDES diversification. No parity is set. */
enum err_code emu_diversify_tdes(const struct emu_key *master, const uint8_t factor[EMU_FACTOR_BYTES],
                                 struct emu_key *out_key, struct err *e) MUST_CHECK;
/* One block for AES-128, two for AES-256: E(MK, domain || block number || child bytes || 00 00 00 || PSAM
 * number). `master` is AES-256. ERR_INPUT another algorithm. */
enum err_code emu_diversify_aes(const struct emu_key *master, enum emu_domain domain,
                                enum emu_algorithm child, const uint8_t psam_bcd[EMU_PSAM_BCD_BYTES],
                                struct emu_key *out_key, struct err *e) MUST_CHECK;

/* Wrap version 2: the key that working keys of a usage travel under, as long as the TMK. E(TMK, 03 || block
 * number || its bytes || usage || 12 zero bytes), two blocks for AES-256. `usage` is the card's: 0D PIK, 06
 * MAK, 07 TDK. ERR_INPUT a TMK that is not AES. */
enum err_code emu_working_kek(const struct emu_key *tmk, uint8_t usage, struct emu_key *out_kek,
                              struct err *e) MUST_CHECK;

#endif

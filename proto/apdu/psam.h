/* The commands of a PSAM card. Builders of whole APDUs around bytes that others enciphered; no key comes
 * here. Pure functions, any thread. Source: PBOC PSAM; WRITE KEY profile `aes` and WRITE WORKING KEY:
 * Posward. */
#ifndef POSWARD_APDU_PSAM_H
#define POSWARD_APDU_PSAM_H

#include "apdu/apdu.h"

enum psam_usage { PSAM_TMK = 0x05, PSAM_MAK = 0x06, PSAM_TDK = 0x07, PSAM_PIK = 0x0D };

/* Low nibble of a key record's algorithm byte. */
enum psam_cipher { PSAM_TDES = 0, PSAM_DES = 1, PSAM_AES_128 = 2, PSAM_AES_256 = 3 };
/* High nibble, the MAC method of a MAK: PBOC MAC; CBC over whole blocks without padding; AES-CMAC. */
enum psam_mac_method { PSAM_MAC_PBOC = 0x00, PSAM_MAC_BLOCKS = 0x10, PSAM_MAC_CMAC = 0x20 };

/* High nibble of an AES TMK: what working keys come under. The TMK itself; or a key of their usage, derived
 * from it. Cards that know the first alone refuse the second with 6A80. */
enum psam_wrap { PSAM_WRAP_TMK = 0x00, PSAM_WRAP_USAGE = 0x10 };
#define PSAM_ALGORITHM_LOW  0x0F
#define PSAM_ALGORITHM_HIGH 0xF0

#define PSAM_SERIAL_BYTES       10
#define PSAM_CV_BYTES           4
#define PSAM_KCV_BYTES          3
#define PSAM_WORKING_CIPHER_MAX 40

/* P1 of 80FA. */
enum psam_crypt {
    PSAM_ENCRYPT_LAST = 0x00,
    PSAM_ENCRYPT_MORE = 0x02,
    PSAM_MAC_ONLY = 0x05,
    PSAM_MAC_FIRST = 0x07,
    PSAM_MAC_NEXT = 0x03,
    PSAM_MAC_LAST = 0x01
};

struct psam_key_header {
    uint8_t usage, version, algorithm;
};

struct psam_key_info {
    struct psam_key_header header;
    uint8_t kcv[PSAM_KCV_BYTES];
};

struct apdu_command psam_select(uint16_t file);
struct apdu_command psam_read_binary(uint8_t sfi, uint8_t offset, uint16_t le);
struct apdu_command psam_get_challenge(uint8_t bytes);
struct apdu_command psam_get_key_info(enum psam_usage usage);
struct apdu_command psam_get_response(uint16_t le);
/* Choose the key for the next 80FA: usage in P1, level 0, key id 00. */
struct apdu_command psam_init_crypt(enum psam_usage usage);
/* `len` at most 255, `mode` is P1. */
struct apdu_command psam_crypt(uint8_t mode, const uint8_t *data, size_t len);
/* ERR_INPUT a cryptogram that is no 8, 16, 24 or 40 bytes. */
enum err_code psam_write_working_key(const struct psam_key_header *header, const uint8_t *cipher,
                                     size_t cipher_len, const uint8_t cv[PSAM_CV_BYTES],
                                     struct apdu_command *out_command, struct err *e) MUST_CHECK;
/* WRITE KEY, profile `pboc`: E (24 bytes) and the 4-byte MAC. */
struct apdu_command psam_write_key_pboc(const uint8_t enciphered[24], const uint8_t mac[4]);
/* WRITE KEY, profile `aes`: the wrapped TMK (24 or 40 bytes) and the 8-byte CMAC. ERR_INPUT another length.
 */
enum err_code psam_write_key_aes(const struct psam_key_header *header, const uint8_t *wrapped,
                                 size_t wrapped_len, const uint8_t mac[8], struct apdu_command *out_command,
                                 struct err *e) MUST_CHECK;

/* Answer of READ BINARY of EF 0015: the PSAM number as 20 digits and a NUL. ERR_INPUT too short or not BCD.
 */
enum err_code psam_number_parse(const struct apdu_response *response,
                                char out_number[2 * PSAM_SERIAL_BYTES + 1], struct err *e) MUST_CHECK;
/* Answer of GET KEY INFO. ERR_INPUT not 6 bytes. */
enum err_code psam_key_info_parse(const struct apdu_response *response, struct psam_key_info *out_info,
                                  struct err *e) MUST_CHECK;

#endif

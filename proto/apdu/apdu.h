/* ISO 7816-4 command and response APDUs, short form, cases 1 to 4.
 *
 * Shapes on the line: 1 CLA INS P1 P2; 2 .. Le; 3 .. Lc data; 4 .. Lc data Le. Pure functions, any thread. */
#ifndef POSWARD_APDU_APDU_H
#define POSWARD_APDU_APDU_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define APDU_DATA_MAX     255
#define APDU_COMMAND_MAX  (5 + APDU_DATA_MAX + 1)
#define APDU_RESPONSE_MAX (256 + 2)
#define APDU_LE_ANY       256 /* Le 00: as many bytes as there are, at most 256 */

struct apdu_command {
    uint8_t cla, ins, p1, p2;
    uint8_t lc; /* bytes of data; 0: no data */
    uint8_t data[APDU_DATA_MAX];
    bool has_le;
    uint16_t le; /* 1..256 */
};

struct apdu_response {
    uint8_t data[APDU_RESPONSE_MAX - 2];
    size_t data_len;
    uint16_t sw;
};

/* ERR_INPUT shorter than 4 bytes, Lc that does not match, an extended form. */
enum err_code apdu_command_parse(const uint8_t *bytes, size_t len, struct apdu_command *out_command,
                                 struct err *e) MUST_CHECK;
/* ERR_INPUT an Le above 256. */
enum err_code apdu_command_build(const struct apdu_command *command, uint8_t out_bytes[APDU_COMMAND_MAX],
                                 size_t *out_len, struct err *e) MUST_CHECK;
/* ERR_INPUT shorter than a status word or longer than 258 bytes. */
enum err_code apdu_response_parse(const uint8_t *bytes, size_t len, struct apdu_response *out_response,
                                  struct err *e) MUST_CHECK;
/* Data and status word. Returns the length. */
size_t apdu_response_build(const struct apdu_response *response, uint8_t out_bytes[APDU_RESPONSE_MAX]);

#endif

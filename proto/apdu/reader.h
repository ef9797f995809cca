/* vpcd's framing on a socket between reader and card: 2-byte big-endian length, then that many bytes.
 * A message of one byte is a control: power off, on, reset, or ATR wanted; anything longer is an APDU. The
 * card answers ATR and APDUs, and nothing else. Source: vsmartcard vpcd. */
#ifndef POSWARD_APDU_READER_H
#define POSWARD_APDU_READER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define READER_MESSAGE_MAX 1024 /* an APDU has at most 261 bytes; more than this is no card's */

enum reader_control { READER_OFF = 0x00, READER_ON = 0x01, READER_RESET = 0x02, READER_ATR = 0x04 };

/* One message into out_bytes. `*out_len` 0: the peer closed between messages. `timeout_ms` -1: for ever.
 * ERR_LIMIT longer than the buffer, ERR_INPUT empty, ERR_TIMEOUT, ERR_IO. */
enum err_code reader_receive(int fd, int timeout_ms, uint8_t out_bytes[READER_MESSAGE_MAX], size_t *out_len,
                             struct err *e) MUST_CHECK;
/* One message, in one write. */
enum err_code reader_send(int fd, const uint8_t *bytes, size_t len, struct err *e) MUST_CHECK;
/* Small messages must not wait for each other. Failure is not an error: the socket may not be TCP. */
void reader_tune(int fd);

#endif

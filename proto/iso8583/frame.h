/* What stands around a message on a terminal's line: 2-byte big-endian length | TPDU 5 | header 6 | message.
 *
 * TPDU: 60, destination 2, source 2; an answer swaps the two. Header: 6 BCD bytes (60, version, terminal
 * status, processing demand, reserved). The length counts everything after itself. Pure functions, any
 * thread. */
#ifndef POSWARD_ISO8583_FRAME_H
#define POSWARD_ISO8583_FRAME_H

#include "base/err.h"

#include <stdint.h>

#define ISO_LENGTH_BYTES    2
#define ISO_TPDU_BYTES      5
#define ISO_HEADER_BYTES    6
#define ISO_ENVELOPE_BYTES  (ISO_TPDU_BYTES + ISO_HEADER_BYTES)
#define ISO_FRAME_BYTES_MAX 8448 /* ISO_MESSAGE_BYTES_MAX and what stands around it */

struct iso_envelope {
    uint8_t tpdu[ISO_TPDU_BYTES];
    uint8_t header[ISO_HEADER_BYTES];
};

struct iso_frame {
    struct iso_envelope envelope;
    const uint8_t *message; /* borrowed from the caller's buffer */
    size_t message_len;
    size_t total; /* bytes of the whole frame, length included; 0: more bytes are needed */
};

/* TPDU and header in front of a message. ERR_INPUT too short, or the TPDU does not begin with 60. */
enum err_code iso_envelope_parse(const uint8_t *bytes, size_t len, struct iso_envelope *out_envelope,
                                 struct err *e) MUST_CHECK;
/* The envelope of the answer: destination and source swapped, processing demand 0. */
struct iso_envelope iso_envelope_answer(const struct iso_envelope *request);

/* Look for one frame at the start of what a connection has delivered. With too few bytes out_frame->total is
 * 0 and the caller reads on. `max_total` is the caller's limit: a longer announced frame is ERR_LIMIT at
 * once, one without room for an envelope and a message ERR_INPUT; the connection cannot be resynchronised
 * after either. */
enum err_code iso_frame_parse(const uint8_t *bytes, size_t len, size_t max_total, struct iso_frame *out_frame,
                              struct err *e) MUST_CHECK;

/* Length, TPDU, header and message. ERR_LIMIT `capacity` is too small. `message` may lie inside out_bytes. */
enum err_code iso_frame_build(const struct iso_envelope *envelope, const uint8_t *message, size_t message_len,
                              uint8_t *out_bytes, size_t capacity, size_t *out_len, struct err *e) MUST_CHECK;

#endif

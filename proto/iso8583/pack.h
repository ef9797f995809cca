/* A message to and from its bytes: message type, bitmap, fields. Frame, TPDU and header are frame.h's.
 *
 * Errors are ERR_INPUT with a note such as "field 35: length 39 exceeds 37". Any thread with its own message.
 * Source: ISO 8583:1987, UnionPay POS dialect. */
#ifndef POSWARD_ISO8583_PACK_H
#define POSWARD_ISO8583_PACK_H

#include "iso8583/message.h"

#define ISO_MESSAGE_BYTES_MAX 8192 /* longest packed message */
#define ISO_MAC_BYTES         8    /* field 64 */

/* Parse exactly `len` bytes; bytes that are left over are an error. The message takes `dialect`. On failure
 * it is empty (parts may have been read before the fault was seen). */
enum err_code iso_unpack(struct iso_message *m, const struct iso_dialect *dialect, const uint8_t *bytes,
                         size_t len, struct err *e) MUST_CHECK;

/* ERR_INPUT no message type; ERR_LIMIT `capacity` is too small. */
enum err_code iso_pack(const struct iso_message *m, uint8_t *out_bytes, size_t capacity, size_t *out_len,
                       struct err *e) MUST_CHECK;

/* What the MAC of a message that is being built covers: message type up to the byte before field 64, bit 64
 * set, whether the message has field 64 already or not. */
enum err_code iso_mac_input(const struct iso_message *m, uint8_t *out_bytes, size_t capacity, size_t *out_len,
                            struct err *e) MUST_CHECK;

/* What the MAC of a message that was received covers: the length of that head of `bytes`, which iso_unpack
 * has accepted. 0 when the message has no field 64. */
size_t iso_mac_input_len(const struct iso_message *m, size_t len);

#endif

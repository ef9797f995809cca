#include "iso8583/frame.h"

#include <string.h>

#define TPDU_ID         0x60
#define MESSAGE_LEN_MIN 10 /* message type and bitmap */
#define LENGTH_MAX      0xFFFF

enum err_code iso_envelope_parse(const uint8_t *bytes, size_t len, struct iso_envelope *out_envelope,
                                 struct err *e)
{
    if (len < ISO_ENVELOPE_BYTES)
        return err_set(e, ERR_INPUT, "TPDU and header need %d bytes, %zu left", ISO_ENVELOPE_BYTES, len);
    if (bytes[0] != TPDU_ID)
        return err_set(e, ERR_INPUT, "TPDU begins with %02X, needs 60", bytes[0]);
    memcpy(out_envelope->tpdu, bytes, ISO_TPDU_BYTES);
    memcpy(out_envelope->header, bytes + ISO_TPDU_BYTES, ISO_HEADER_BYTES);
    return ERR_OK;
}

struct iso_envelope iso_envelope_answer(const struct iso_envelope *request)
{
    struct iso_envelope answer = *request;
    memcpy(answer.tpdu + 1, request->tpdu + 3, 2);
    memcpy(answer.tpdu + 3, request->tpdu + 1, 2);
    answer.header[2] &= 0xF0; /* terminal status stays, no processing demanded */
    return answer;
}

enum err_code iso_frame_parse(const uint8_t *bytes, size_t len, size_t max_total, struct iso_frame *out_frame,
                              struct err *e)
{
    struct iso_frame frame = {0};
    if (len < ISO_LENGTH_BYTES) {
        *out_frame = frame;
        return ERR_OK;
    }
    const size_t body = (size_t)bytes[0] << 8 | bytes[1];
    if (body + ISO_LENGTH_BYTES > max_total)
        return err_set(e, ERR_LIMIT, "frame of %zu bytes is longer than %zu", body + ISO_LENGTH_BYTES,
                       max_total);
    if (body < ISO_ENVELOPE_BYTES + MESSAGE_LEN_MIN)
        return err_set(e, ERR_INPUT, "frame of %zu bytes has no room for a message", body + ISO_LENGTH_BYTES);
    if (len < body + ISO_LENGTH_BYTES) {
        *out_frame = frame;
        return ERR_OK;
    }
    TRY(iso_envelope_parse(bytes + ISO_LENGTH_BYTES, body, &frame.envelope, e));
    frame.message = bytes + ISO_LENGTH_BYTES + ISO_ENVELOPE_BYTES;
    frame.message_len = body - ISO_ENVELOPE_BYTES;
    frame.total = body + ISO_LENGTH_BYTES;
    *out_frame = frame;
    return ERR_OK;
}

enum err_code iso_frame_build(const struct iso_envelope *envelope, const uint8_t *message, size_t message_len,
                              uint8_t *out_bytes, size_t capacity, size_t *out_len, struct err *e)
{
    const size_t body = ISO_ENVELOPE_BYTES + message_len;
    if (message_len > LENGTH_MAX || body > LENGTH_MAX || body + ISO_LENGTH_BYTES > capacity)
        return err_set(e, ERR_LIMIT, "message of %zu bytes does not fit a frame", message_len);
    memmove(out_bytes + ISO_LENGTH_BYTES + ISO_ENVELOPE_BYTES, message, message_len);
    out_bytes[0] = (uint8_t)(body >> 8);
    out_bytes[1] = (uint8_t)body;
    memcpy(out_bytes + ISO_LENGTH_BYTES, envelope->tpdu, ISO_TPDU_BYTES);
    memcpy(out_bytes + ISO_LENGTH_BYTES + ISO_TPDU_BYTES, envelope->header, ISO_HEADER_BYTES);
    *out_len = body + ISO_LENGTH_BYTES;
    return ERR_OK;
}

#include "apdu/apdu.h"

#include <string.h>

#define HEAD_BYTES 4

enum err_code apdu_command_parse(const uint8_t *bytes, size_t len, struct apdu_command *out_command,
                                 struct err *e)
{
    if (len < HEAD_BYTES || len > APDU_COMMAND_MAX)
        return err_set(e, ERR_INPUT, "command of %zu bytes; 4 to %d are possible", len, APDU_COMMAND_MAX);
    struct apdu_command c = {.cla = bytes[0], .ins = bytes[1], .p1 = bytes[2], .p2 = bytes[3]};
    const size_t body = len - HEAD_BYTES;
    const uint8_t *at = bytes + HEAD_BYTES;
    if (body > 1) {
        const size_t lc = at[0];
        if (lc == 0)
            return err_set(e, ERR_INPUT, "extended length is not supported");
        if (body != 1 + lc && body != 2 + lc)
            return err_set(e, ERR_INPUT, "Lc is %zu, %zu bytes follow", lc, body - 1);
        c.lc = (uint8_t)lc;
        memcpy(c.data, at + 1, lc);
    }
    c.has_le = body == 1 || body == 2 + (size_t)c.lc;
    if (c.has_le)
        c.le = bytes[len - 1] == 0 ? APDU_LE_ANY : bytes[len - 1];
    *out_command = c;
    return ERR_OK;
}

enum err_code apdu_command_build(const struct apdu_command *command, uint8_t out_bytes[APDU_COMMAND_MAX],
                                 size_t *out_len, struct err *e)
{
    if (command->has_le && (command->le == 0 || command->le > APDU_LE_ANY))
        return err_set(e, ERR_INPUT, "Le %u; 1 to 256 are possible", command->le);
    const uint8_t head[HEAD_BYTES] = {command->cla, command->ins, command->p1, command->p2};
    size_t at = HEAD_BYTES;
    memcpy(out_bytes, head, HEAD_BYTES);
    if (command->lc > 0) {
        out_bytes[at++] = command->lc;
        memcpy(out_bytes + at, command->data, command->lc);
        at += command->lc;
    }
    if (command->has_le)
        out_bytes[at++] = (uint8_t)command->le; /* 256 becomes 00 */
    *out_len = at;
    return ERR_OK;
}

enum err_code apdu_response_parse(const uint8_t *bytes, size_t len, struct apdu_response *out_response,
                                  struct err *e)
{
    if (len < 2 || len > APDU_RESPONSE_MAX)
        return err_set(e, ERR_INPUT, "response of %zu bytes; 2 to %d are possible", len, APDU_RESPONSE_MAX);
    out_response->data_len = len - 2;
    memcpy(out_response->data, bytes, len - 2);
    out_response->sw = (uint16_t)(bytes[len - 2] << 8 | bytes[len - 1]);
    return ERR_OK;
}

size_t apdu_response_build(const struct apdu_response *response, uint8_t out_bytes[APDU_RESPONSE_MAX])
{
    memcpy(out_bytes, response->data, response->data_len);
    out_bytes[response->data_len] = (uint8_t)(response->sw >> 8);
    out_bytes[response->data_len + 1] = (uint8_t)response->sw;
    return response->data_len + 2;
}

#include "apdu/secure.h"

#include <string.h>

#define BLOCK 8

void apdu_sm_iv(const uint8_t challenge[4], uint8_t out_iv[APDU_SM_IV_BYTES])
{
    memset(out_iv, 0, APDU_SM_IV_BYTES);
    memcpy(out_iv, challenge, 4);
}

size_t apdu_sm_mac_input(const struct apdu_command *command, size_t data_len, size_t mac_bytes,
                         uint8_t out_input[APDU_SM_PADDED_MAX])
{
    const uint8_t head[5] = {command->cla, command->ins, command->p1, command->p2,
                             (uint8_t)(data_len + mac_bytes)};
    memcpy(out_input, head, sizeof head);
    memcpy(out_input + sizeof head, command->data, data_len);
    return sizeof head + data_len;
}

size_t apdu_sm_pad(uint8_t *bytes, size_t len, bool always)
{
    if (!always && len % BLOCK == 0)
        return len;
    bytes[len++] = 0x80;
    while (len % BLOCK != 0)
        bytes[len++] = 0;
    return len;
}

size_t apdu_sm_plain(const uint8_t *data, size_t len, uint8_t out_plain[APDU_SM_PADDED_MAX])
{
    out_plain[0] = (uint8_t)len;
    memcpy(out_plain + 1, data, len);
    return apdu_sm_pad(out_plain, len + 1, false);
}

enum err_code apdu_sm_open(const uint8_t *plain, size_t len, const uint8_t **out_data, size_t *out_len,
                           struct err *e)
{
    if (len == 0 || len % BLOCK != 0 || plain[0] == 0 || (size_t)plain[0] + 1 > len ||
        len - plain[0] - 1 >= BLOCK)
        return err_set(e, ERR_CHECK, "secure messaging: length byte does not fit %zu bytes", len);
    const size_t used = (size_t)plain[0] + 1;
    for (size_t i = used; i < len; i++) {
        if (plain[i] != (i == used ? 0x80 : 0))
            return err_set(e, ERR_CHECK, "secure messaging: wrong padding");
    }
    *out_data = plain + 1;
    *out_len = plain[0];
    return ERR_OK;
}

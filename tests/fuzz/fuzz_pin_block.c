#include "p11/flow/pin_block.h"

#include <stdlib.h>
#include <string.h>

/* Byte 0 picks the format, bytes 1 to 20 are a PAN (as far as it is one), the rest is the clear block. What
 * decodes has to come back from its own encoding. */

#define PAN_TEXT 20

static void check(bool right)
{
    if (!right)
        abort();
}

static void round_trip(unsigned format, const char *pan, const struct secret *pin, const uint8_t *fill)
{
    AUTO(secret) block = {0};
    AUTO(secret) again = {0};
    struct err e;
    check(pin_block_encode(format, pan, pin, fill, &block, &e) == ERR_OK);
    check(block.len == pin_block_bytes(format));
    check(pin_block_decode(format, pan, &block, &again, &e) == ERR_OK);
    check(again.len == pin->len && secret_equal(again.bytes, pin->bytes, pin->len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char pan[PAN_TEXT + 1] = {0};
    uint8_t fill[PIN_FILL_BYTES] = {0};
    AUTO(secret) block = {0};
    AUTO(secret) pin = {0};
    struct err e;
    if (size < 1 + PAN_TEXT || size > 1 + PAN_TEXT + SECRET_CAPACITY)
        return 0;
    const unsigned format = data[0] % PIN_FORMATS;
    memcpy(pan, data + 1, PAN_TEXT);
    if (pin_pan_check(pan, &e) != ERR_OK)
        return 0;
    const size_t len = size - 1 - PAN_TEXT;
    memcpy(fill, data + 1 + PAN_TEXT, len < sizeof fill ? len : sizeof fill);
    check(secret_init_copy(&block, data + 1 + PAN_TEXT, len, &e) == ERR_OK);
    const enum err_code code = pin_block_decode(format, pan, &block, &pin, &e);
    check(code == ERR_OK || code == (len == pin_block_bytes(format) ? ERR_CHECK : ERR_INPUT));
    if (code == ERR_OK)
        round_trip(format, pan, &pin, fill);
    return 0;
}

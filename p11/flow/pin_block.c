#include "p11/flow/pin_block.h"

#include "base/hex.h"

#include <string.h>

#define PAN_SHORTEST 12
#define PAN_LONGEST  19
#define FIELD_BYTES  8  /* control, length, digits and fill, in every format */
#define PLACES       14 /* nibbles for digits and fill */

/* Lowest and highest nibble of a fill place. */
struct format_row {
    uint8_t fill_low, fill_high;
    bool with_pan;
    size_t block_bytes;
};
static const struct format_row formats[PIN_FORMATS] = {
    [0] = {.fill_low = 0xF, .fill_high = 0xF, .with_pan = true, .block_bytes = 8},
    [1] = {.fill_low = 0x0, .fill_high = 0xF, .with_pan = false, .block_bytes = 8},
    [2] = {.fill_low = 0xF, .fill_high = 0xF, .with_pan = false, .block_bytes = 8},
    [3] = {.fill_low = 0xA, .fill_high = 0xF, .with_pan = true, .block_bytes = 8},
    /* The PAN of format 4 goes between two encipherments, not into the clear field. */
    [4] = {.fill_low = 0xA, .fill_high = 0xA, .with_pan = false, .block_bytes = 16},
};

#define UNBINDS "a PIN bound to its PAN may not lose it in format 1"
#define OFFLINE "format 2 goes to a chip card only, never over a line"
static const char *const refusals[PIN_FORMATS][PIN_FORMATS] = {
    /* to       0        1        2        3        4 */
    [0] = {NULL, UNBINDS, OFFLINE, NULL, NULL},          [1] = {NULL, NULL, OFFLINE, NULL, NULL},
    [2] = {OFFLINE, OFFLINE, OFFLINE, OFFLINE, OFFLINE}, [3] = {NULL, UNBINDS, OFFLINE, NULL, NULL},
    [4] = {NULL, UNBINDS, OFFLINE, NULL, NULL},
};

size_t pin_block_bytes(unsigned format)
{
    return formats[format].block_bytes;
}

enum err_code pin_pan_check(const char *pan, struct err *e)
{
    const size_t len = pan == NULL ? 0 : strnlen(pan, PAN_LONGEST + 1);
    if (len < PAN_SHORTEST || len > PAN_LONGEST || !digits_only(pan, len))
        return err_set(e, ERR_INPUT, "pan has to be %d to %d digits, check digit included", PAN_SHORTEST,
                       PAN_LONGEST);
    return ERR_OK;
}

enum err_code pin_rule_check(unsigned from, unsigned to, struct err *e)
{
    if (from >= PIN_FORMATS || to >= PIN_FORMATS)
        return err_set(e, ERR_INPUT, "PIN block format %u is not known", from >= PIN_FORMATS ? from : to);
    if (refusals[from][to] != NULL)
        return err_set(e, ERR_DENIED, "PIN format %u to %u: %s (ISO 9564-1:2017 9.3, 9.4)", from, to,
                       refusals[from][to]);
    return ERR_OK;
}

static void put_nibble(uint8_t *bytes, size_t at, unsigned value)
{
    const unsigned shift = at % 2 == 0 ? 4 : 0;
    bytes[at / 2] = (uint8_t)((bytes[at / 2] & ~(0xFU << shift)) | (value << shift));
}

static unsigned get_nibble(const uint8_t *bytes, size_t at)
{
    return at % 2 == 0 ? bytes[at / 2] >> 4 : bytes[at / 2] & 0xFU;
}

void pin_pan_field(unsigned format, const char *pan, uint8_t out_field[PIN_BLOCK_LARGEST])
{
    memset(out_field, 0, PIN_BLOCK_LARGEST);
    const size_t len = format == 4 || formats[format].with_pan ? strnlen(pan, PAN_LONGEST) : 0;
    if (format == 4) {
        const size_t lead = len < PAN_SHORTEST ? PAN_SHORTEST - len : 0;
        put_nibble(out_field, 0, (unsigned)(len + lead - PAN_SHORTEST));
        for (size_t i = 0; i < len; i++)
            put_nibble(out_field, 1 + lead + i, (unsigned)(pan[i] - '0'));
    } else if (len > 0) {
        const size_t kept = len - 1 < 12 ? len - 1 : 12;
        for (size_t i = 0; i < kept; i++)
            put_nibble(out_field, 16 - kept + i, (unsigned)(pan[len - 1 - kept + i] - '0'));
    }
}

/* All ones when a < b, for values far below 2^31. */
static unsigned mask_less(unsigned a, unsigned b)
{
    return 0U - ((a - b) >> 31);
}

/* Non-zero when the 8-byte field is no PIN of this format. */
static unsigned field_faults(unsigned format, const uint8_t field[FIELD_BYTES])
{
    const struct format_row *row = &formats[format];
    const unsigned len = get_nibble(field, 1);
    unsigned faults = get_nibble(field, 0) ^ format;
    faults |= mask_less(len, PIN_SHORTEST) | mask_less(PIN_LONGEST, len);
    for (unsigned i = 0; i < PLACES; i++) {
        const unsigned place = get_nibble(field, 2 + i);
        const unsigned no_digit = mask_less(9, place);
        const unsigned no_fill = mask_less(place, row->fill_low) | mask_less(row->fill_high, place);
        const unsigned is_digit = mask_less(i, len);
        faults |= (is_digit & no_digit) | (~is_digit & no_fill);
    }
    return faults;
}

enum err_code pin_block_decode(unsigned format, const char *pan, const struct secret *block,
                               struct secret *out_pin, struct err *e)
{
    if (block->len != pin_block_bytes(format))
        return err_set(e, ERR_INPUT, "a PIN block of format %u has %zu bytes, not %zu", format,
                       pin_block_bytes(format), block->len);
    uint8_t pan_field[PIN_BLOCK_LARGEST] = {0};
    if (formats[format].with_pan)
        pin_pan_field(format, pan, pan_field);
    AUTO(secret) field = {0};
    struct secret pin = {0};
    TRY(secret_init(&field, e));
    for (size_t i = 0; i < FIELD_BYTES; i++)
        field.bytes[i] = block->bytes[i] ^ pan_field[i];
    if (field_faults(format, field.bytes) != 0)
        return err_set(e, ERR_CHECK, "the PIN block does not decode: another key, PAN or format");
    TRY(secret_init(&pin, e));
    pin.len = get_nibble(field.bytes, 1);
    for (size_t i = 0; i < PIN_LONGEST; i++)
        pin.bytes[i] = (uint8_t)get_nibble(field.bytes, 2 + i);
    *out_pin = pin;
    return ERR_OK;
}

enum err_code pin_block_encode(unsigned format, const char *pan, const struct secret *pin,
                               const uint8_t fill[PIN_FILL_BYTES], struct secret *out_block, struct err *e)
{
    if (pin->len < PIN_SHORTEST || pin->len > PIN_LONGEST)
        return err_set(e, ERR_INPUT, "a PIN has %d to %d digits", PIN_SHORTEST, PIN_LONGEST);
    const struct format_row *row = &formats[format];
    uint8_t pan_field[PIN_BLOCK_LARGEST] = {0};
    if (row->with_pan)
        pin_pan_field(format, pan, pan_field);
    struct secret block = {0};
    TRY(secret_init(&block, e));
    const unsigned fill_values = row->fill_high - row->fill_low + 1U;
    block.len = row->block_bytes;
    memset(block.bytes, 0, block.len);
    put_nibble(block.bytes, 0, format);
    put_nibble(block.bytes, 1, (unsigned)pin->len);
    for (size_t i = 0; i < PLACES; i++) {
        const unsigned filler = row->fill_low + (fill[i] * fill_values >> 8);
        put_nibble(block.bytes, 2 + i, i < pin->len ? pin->bytes[i] : filler);
    }
    for (size_t i = 0; i < FIELD_BYTES; i++)
        block.bytes[i] ^= pan_field[i];
    if (format == 4)
        memcpy(block.bytes + FIELD_BYTES, fill, FIELD_BYTES);
    *out_block = block;
    return ERR_OK;
}

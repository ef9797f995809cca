#include "card-emu/crypto/pin_block.h"

#include "base/hex.h"
#include "base/secret.h"

#include <string.h>

#define PIN_DIGITS_MIN      4
#define PAN_DIGITS_MIN      12
#define PAN_DIGITS_MAX      19
#define PAN_BLOCK_DIGITS    12
#define FORMAT_4_PIN_DIGITS 14 /* PIN and its fill in the left half */

enum fill { FILL_F, FILL_RANDOM, FILL_A_TO_F, FILL_A };

struct format_row {
    enum fill fill;
    bool uses_pan;
};

static const struct format_row formats[] = {
    {FILL_F, true},
    {FILL_RANDOM, false},
    {FILL_F, false},
    {FILL_A_TO_F, true},
};
#define FORMAT_COUNT ((int)(sizeof formats / sizeof formats[0]))

static void put_nibble(uint8_t *bytes, size_t at, unsigned nibble)
{
    const uint8_t old = bytes[at / 2];
    bytes[at / 2] = (uint8_t)(at % 2 == 0 ? (old & 0x0F) | nibble << 4 : (old & 0xF0) | nibble);
}

static unsigned get_nibble(const uint8_t *bytes, size_t at)
{
    return at % 2 == 0 ? bytes[at / 2] >> 4 : bytes[at / 2] & 0xFU;
}

static unsigned fill_nibble(enum fill fill)
{
    uint8_t random;
    switch (fill) {
    case FILL_F:
        return 0xF;
    case FILL_A:
        return 0xA;
    case FILL_RANDOM:
        random_bytes(&random, 1);
        return random & 0xFU;
    case FILL_A_TO_F:
        do
            random_bytes(&random, 1);
        while (random >= 252); /* a multiple of 6: every digit equally likely */
        return 0xA + random % 6U;
    }
    return 0xF;
}

static bool fill_is_right(enum fill fill, unsigned nibble)
{
    switch (fill) {
    case FILL_F:
        return nibble == 0xF;
    case FILL_A:
        return nibble == 0xA;
    case FILL_RANDOM:
        return true;
    case FILL_A_TO_F:
        return nibble >= 0xA;
    }
    return false;
}

static enum err_code put_pin(int format, const char *pin, enum fill fill, size_t nibbles, uint8_t *out,
                             struct err *e)
{
    const size_t len = strlen(pin);
    if (len < PIN_DIGITS_MIN || len > EMU_PIN_DIGITS_MAX || !digits_only(pin, len))
        return err_set(e, ERR_INPUT, "a PIN has 4 to 12 digits");
    put_nibble(out, 0, (unsigned)format);
    put_nibble(out, 1, (unsigned)len);
    for (size_t i = 2; i < nibbles; i++)
        put_nibble(out, i, i - 2 < len ? (unsigned)(pin[i - 2] - '0') : fill_nibble(fill));
    return ERR_OK;
}

static enum err_code get_pin(int format, const uint8_t *block, enum fill fill, size_t nibbles,
                             char out_pin[EMU_PIN_DIGITS_MAX + 1], struct err *e)
{
    const size_t len = get_nibble(block, 1);
    bool right =
        get_nibble(block, 0) == (unsigned)format && len >= PIN_DIGITS_MIN && len <= EMU_PIN_DIGITS_MAX;
    char pin[EMU_PIN_DIGITS_MAX + 1] = {0};
    for (size_t i = 2; right && i < nibbles; i++) {
        const unsigned nibble = get_nibble(block, i);
        right = i - 2 < len ? nibble <= 9 : fill_is_right(fill, nibble);
        if (i - 2 < len)
            pin[i - 2] = (char)('0' + nibble % 10);
    }
    if (right)
        memcpy(out_pin, pin, sizeof pin);
    secret_wipe(pin, sizeof pin);
    return right ? ERR_OK : err_set(e, ERR_CHECK, "not a PIN block of format %d for this account", format);
}

/* 0000 and the 12 digits left of the check digit, zeros on their left, XORed on. */
static enum err_code xor_pan(const char *pan, uint8_t block[EMU_PIN_BLOCK_BYTES], struct err *e)
{
    const size_t len = strlen(pan);
    if (len < PAN_DIGITS_MIN || len > PAN_DIGITS_MAX || !digits_only(pan, len))
        return err_set(e, ERR_INPUT, "an account number has 12 to 19 digits");
    const size_t count = len - 1 < PAN_BLOCK_DIGITS ? len - 1 : PAN_BLOCK_DIGITS;
    const size_t lead = PAN_BLOCK_DIGITS - count; /* of 12 digits: one zero in front */
    for (size_t i = 0; i < count; i++) {
        const size_t at = 4 + lead + i;
        put_nibble(block, at, get_nibble(block, at) ^ (unsigned)(pan[len - 1 - count + i] - '0'));
    }
    return ERR_OK;
}

enum err_code emu_pin_block_build(int format, const char *pin, const char *pan,
                                  uint8_t out_block[EMU_PIN_BLOCK_BYTES], struct err *e)
{
    if (format < 0 || format >= FORMAT_COUNT)
        return err_set(e, ERR_INPUT, "PIN block format %d is not built here", format);
    uint8_t block[EMU_PIN_BLOCK_BYTES] = {0};
    TRY(put_pin(format, pin, formats[format].fill, 2UL * EMU_PIN_BLOCK_BYTES, block, e));
    if (formats[format].uses_pan)
        TRY(xor_pan(pan, block, e));
    memcpy(out_block, block, sizeof block);
    secret_wipe(block, sizeof block);
    return ERR_OK;
}

enum err_code emu_pin_block_parse(int format, const uint8_t block[EMU_PIN_BLOCK_BYTES], const char *pan,
                                  char out_pin[EMU_PIN_DIGITS_MAX + 1], struct err *e)
{
    if (format < 0 || format >= FORMAT_COUNT)
        return err_set(e, ERR_INPUT, "PIN block format %d is not read here", format);
    uint8_t clear[EMU_PIN_BLOCK_BYTES];
    memcpy(clear, block, sizeof clear);
    if (formats[format].uses_pan)
        TRY(xor_pan(pan, clear, e));
    const enum err_code code =
        get_pin(format, clear, formats[format].fill, 2UL * EMU_PIN_BLOCK_BYTES, out_pin, e);
    secret_wipe(clear, sizeof clear);
    return code;
}

enum err_code emu_pin_field_4(const char *pin, uint8_t out_field[EMU_PIN_FIELD_4_BYTES], struct err *e)
{
    uint8_t field[EMU_PIN_FIELD_4_BYTES] = {0};
    TRY(put_pin(4, pin, FILL_A, 2 + FORMAT_4_PIN_DIGITS, field, e));
    random_bytes(field + EMU_PIN_BLOCK_BYTES, EMU_PIN_FIELD_4_BYTES - EMU_PIN_BLOCK_BYTES);
    memcpy(out_field, field, sizeof field);
    secret_wipe(field, sizeof field);
    return ERR_OK;
}

enum err_code emu_pan_field_4(const char *pan, uint8_t out_field[EMU_PIN_FIELD_4_BYTES], struct err *e)
{
    const size_t len = strlen(pan);
    if (len < 1 || len > PAN_DIGITS_MAX || !digits_only(pan, len))
        return err_set(e, ERR_INPUT, "an account number has 1 to 19 digits");
    const size_t lead = len < PAN_BLOCK_DIGITS ? PAN_BLOCK_DIGITS - len : 0;
    uint8_t field[EMU_PIN_FIELD_4_BYTES] = {0};
    put_nibble(field, 0, lead > 0 ? 0 : (unsigned)(len - PAN_BLOCK_DIGITS));
    for (size_t i = 0; i < len; i++)
        put_nibble(field, 1 + lead + i, (unsigned)(pan[i] - '0'));
    memcpy(out_field, field, sizeof field);
    return ERR_OK;
}

enum err_code emu_pin_field_4_parse(const uint8_t field[EMU_PIN_FIELD_4_BYTES],
                                    char out_pin[EMU_PIN_DIGITS_MAX + 1], struct err *e)
{
    return get_pin(4, field, FILL_A, 2 + FORMAT_4_PIN_DIGITS, out_pin, e);
}

static void xor_field(uint8_t *block, const uint8_t *other)
{
    for (size_t i = 0; i < EMU_PIN_FIELD_4_BYTES; i++)
        block[i] ^= other[i];
}

enum err_code emu_pin_block_4_encrypt(const struct emu_key *key, const char *pin, const char *pan,
                                      uint8_t out_block[EMU_PIN_FIELD_4_BYTES], struct err *e)
{
    uint8_t block[EMU_PIN_FIELD_4_BYTES], pan_field[EMU_PIN_FIELD_4_BYTES];
    TRY(emu_pan_field_4(pan, pan_field, e));
    TRY(emu_pin_field_4(pin, block, e));
    TRY(emu_encrypt_ecb(key, block, sizeof block, block, e));
    xor_field(block, pan_field);
    TRY(emu_encrypt_ecb(key, block, sizeof block, block, e));
    memcpy(out_block, block, sizeof block);
    return ERR_OK;
}

enum err_code emu_pin_block_4_decrypt(const struct emu_key *key, const uint8_t block[EMU_PIN_FIELD_4_BYTES],
                                      const char *pan, uint8_t out_field[EMU_PIN_FIELD_4_BYTES],
                                      struct err *e)
{
    uint8_t field[EMU_PIN_FIELD_4_BYTES], pan_field[EMU_PIN_FIELD_4_BYTES];
    TRY(emu_pan_field_4(pan, pan_field, e));
    TRY(emu_decrypt_ecb(key, block, sizeof field, field, e));
    xor_field(field, pan_field);
    TRY(emu_decrypt_ecb(key, field, sizeof field, field, e));
    memcpy(out_field, field, sizeof field);
    secret_wipe(field, sizeof field);
    return ERR_OK;
}

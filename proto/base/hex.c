#include "base/hex.h"

void hex_encode(const uint8_t *bytes, size_t len, char *out_text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < len; i++) {
        out_text[2 * i] = digits[bytes[i] >> 4];
        out_text[2 * i + 1] = digits[bytes[i] & 0x0F];
    }
    out_text[2 * len] = '\0';
}

int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

enum err_code hex_decode(const char *text, size_t text_len, uint8_t *out_bytes, struct err *e)
{
    if (text_len % 2 != 0)
        return err_set(e, ERR_INPUT, "hex text has an odd number of digits (%zu)", text_len);
    for (size_t i = 0; i < text_len; i++)
        if (hex_digit(text[i]) < 0)
            return err_set(e, ERR_INPUT, "character %zu is not a hex digit", i + 1);
    for (size_t i = 0; i < text_len / 2; i++)
        out_bytes[i] =
            (uint8_t)((unsigned)hex_digit(text[2 * i]) << 4 | (unsigned)hex_digit(text[2 * i + 1]));
    return ERR_OK;
}

bool digits_only(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return true;
}

enum err_code bcd_encode(const char *digits, size_t digit_count, uint8_t *out_bytes, struct err *e)
{
    if (!digits_only(digits, digit_count))
        return err_set(e, ERR_INPUT, "a character is not a decimal digit");
    return hex_decode(digits, digit_count, out_bytes, e);
}

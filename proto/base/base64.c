#include "base/base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(char c)
{
    if (c == '-' || c == '_')
        return c == '-' ? 62 : 63;
    const char *const at = c != '\0' ? strchr(alphabet, c) : NULL;
    return at != NULL ? (int)(at - alphabet) : -1;
}

void base64_encode(const uint8_t *bytes, size_t len, char *out_text)
{
    char *out = out_text;
    for (size_t i = 0; i < len; i += 3) {
        const size_t n = len - i < 3 ? len - i : 3;
        const uint32_t group = (uint32_t)bytes[i] << 16 | (n > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                               (n > 2 ? (uint32_t)bytes[i + 2] : 0);
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        *out++ = n > 1 ? alphabet[group >> 6 & 63] : '=';
        *out++ = n > 2 ? alphabet[group & 63] : '=';
    }
    *out = '\0';
}

enum err_code base64_decode(const char *text, size_t text_len, uint8_t *out_bytes, size_t *out_len,
                            struct err *e)
{
    size_t len = text_len;
    while (len > 0 && text_len - len < 2 && text[len - 1] == '=')
        len--;
    if (len % 4 == 1 || (len != text_len && text_len % 4 != 0))
        return err_set(e, ERR_INPUT, "%zu characters cannot be base64", text_len);
    uint32_t bits = 0;
    unsigned held = 0;
    size_t done = 0;
    for (size_t i = 0; i < len; i++) {
        const int value = value_of(text[i]);
        if (value < 0)
            return err_set(e, ERR_INPUT, "character %zu is not base64", i + 1);
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out_bytes[done++] = (uint8_t)(bits >> held);
            bits &= (1U << held) - 1;
        }
    }
    if (bits != 0)
        return err_set(e, ERR_INPUT, "base64 with bits left over at its end");
    *out_len = done;
    return ERR_OK;
}

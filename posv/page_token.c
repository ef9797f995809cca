#include "posv/page_token.h"

#include "base/hex.h"

#include <stdio.h>
#include <string.h>

#define FORM 1

/* FNV-1a: it catches mistakes. A forged token shows nothing that a first page would not. */
static uint32_t hash_text(uint32_t hash, const char *text)
{
    do
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    while (*text++ != '\0');
    return hash;
}

static void put_checksum(const struct store_filter *filter, const char *terminal_id, uint8_t out_bytes[4])
{
    uint32_t hash = 2166136261u;
    hash = (hash ^ (uint32_t)filter->state) * 16777619u;
    hash = (hash ^ (uint32_t)filter->suite) * 16777619u;
    hash = hash_text(hash, filter->merchant_id);
    hash = hash_text(hash, filter->terminal_prefix);
    hash = hash_text(hash, terminal_id);
    for (int i = 0; i < 4; i++)
        out_bytes[i] = (uint8_t)(hash >> (24 - 8 * i));
}

void page_token_make(const struct store_filter *filter, const char *last_terminal_id,
                     char out_token[PAGE_TOKEN_CHARS + 1])
{
    uint8_t bytes[PAGE_TOKEN_BYTES] = {FORM};
    memcpy(bytes + 1, last_terminal_id, TERMINAL_ID_CHARS);
    put_checksum(filter, last_terminal_id, bytes + 1 + TERMINAL_ID_CHARS);
    hex_encode(bytes, sizeof bytes, out_token);
}

enum err_code page_token_read(const struct store_filter *filter, const char *token,
                              char out_last_terminal_id[TERMINAL_ID_CHARS + 1], struct err *e)
{
    if (token[0] == '\0') {
        out_last_terminal_id[0] = '\0';
        return ERR_OK;
    }
    uint8_t bytes[PAGE_TOKEN_BYTES], checksum[4];
    char last[TERMINAL_ID_CHARS + 1] = "";
    if (strlen(token) != PAGE_TOKEN_CHARS || hex_decode(token, PAGE_TOKEN_CHARS, bytes, NULL) != ERR_OK ||
        bytes[0] != FORM)
        return err_set(e, ERR_INPUT, "page_token is not one that ListDevices gave out");
    memcpy(last, bytes + 1, TERMINAL_ID_CHARS);
    put_checksum(filter, last, checksum);
    const uint8_t *given = bytes + 1 + TERMINAL_ID_CHARS;
    for (int i = 0; i < 4; i++)
        if (given[i] != checksum[i])
            return err_set(e, ERR_INPUT,
                           "page_token belongs to a list with other filters: keep them from page to page");
    snprintf(out_last_terminal_id, TERMINAL_ID_CHARS + 1, "%s", last);
    return ERR_OK;
}

/* Page tokens of ListDevices: any text is refused, or is what page_token_make makes of its terminal. */
#include "posv/page_token.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct store_filter any = {.merchant_id = "", .terminal_prefix = ""};
    char last[TERMINAL_ID_CHARS + 1], again[PAGE_TOKEN_CHARS + 1];
    struct err e = {0};
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    if (page_token_read(&any, text, last, &e) == ERR_OK && strlen(last) == TERMINAL_ID_CHARS) {
        page_token_make(&any, last, again);
        if (strcasecmp(again, text) != 0)
            __builtin_trap();
    }
    free(text);
    return 0;
}

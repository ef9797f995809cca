/* The token of a list's next page: where the last page ended and for which filters. Opaque to callers,
 * checked here. Any thread. */
#ifndef POSWARD_POSV_PAGE_TOKEN_H
#define POSWARD_POSV_PAGE_TOKEN_H

#include "posv/store.h"

#define PAGE_TOKEN_BYTES                                                                                     \
    (1 + TERMINAL_ID_CHARS + 4) /* form, terminal_id, checksum over filters and terminal_id */
#define PAGE_TOKEN_CHARS (2UL * PAGE_TOKEN_BYTES)

void page_token_make(const struct store_filter *filter, const char *last_terminal_id,
                     char out_token[PAGE_TOKEN_CHARS + 1]);
/* "" gives "" : the first page. ERR_INPUT a token that was not made here, or for other filters. */
enum err_code page_token_read(const struct store_filter *filter, const char *token,
                              char out_last_terminal_id[TERMINAL_ID_CHARS + 1], struct err *e) MUST_CHECK;

#endif

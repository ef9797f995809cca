/* What stands in a key object's CKA_ID and in its stamp's: whatever is taken has one spelling. */
#include "p11/keys/role.h"
#include "p11/keys/state.h"

#include <stdlib.h>
#include <string.h>

#define LABEL "posward/storage/aes-256/1"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const char *text, const uint8_t *data, size_t size)
{
    if (strlen(text) != size || strncmp(text, (const char *)data, size) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct tok_key_record record;
    struct tok_stamp stamp;
    char record_text[TOK_RECORD_BYTES], stamp_text[TOK_STAMP_BYTES];
    if (tok_record_parse(data, size, LABEL, &record, &e) == ERR_OK) {
        tok_record_text(&record, LABEL, record_text);
        same(record_text, data, size);
    }
    if (tok_stamp_parse(data, size, LABEL TOK_STATE_SUFFIX, &stamp, &e) == ERR_OK) {
        tok_stamp_text(&stamp, LABEL TOK_STATE_SUFFIX, stamp_text);
        same(stamp_text, data, size);
    }
    return 0;
}

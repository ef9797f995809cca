/* A blob's form: whatever parses has one encoding, so that writing its head again gives the same bytes. */
#include "base/secret.h"
#include "p11/flow/blob_form.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tok_blob_view view;
    struct err e = {0};
    uint8_t head[TOK_BLOB_HEAD_MAX];
    if (tok_blob_parse(data, size, &view, &e) != ERR_OK)
        return 0;
    if (tok_blob_head(&view, head, &e) != ERR_OK ||
        !secret_equal(head, data, tok_blob_head_bytes(view.info.form)))
        abort();
    if (view.tag + TOK_BLOB_TAG_BYTES != data + size)
        abort();
    return 0;
}

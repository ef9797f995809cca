#include "tests/support/blobs.h"

#include "p11/flow/blob_form.h"
#include "p11/keys/find.h"
#include "p11/module/session.h"
#include "p11/object/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void need(enum err_code code, const struct err *e)
{
    if (code == ERR_OK)
        return;
    fprintf(stderr, "no blob could be remade: %s\n", e->note);
    exit(EXIT_FAILURE);
}

static size_t add_tag(struct tok_session *s, unsigned version, uint8_t *blob, size_t len)
{
    const struct tok_key_name name = {.role = TOK_BLOB_TAG, .suite = TOK_AES_256, .version = version};
    CK_MECHANISM cmac = {.mechanism = CKM_AES_CMAC};
    struct tok_found tag;
    struct err e = {0};
    size_t tag_len = 0;
    need(tok_keys_find(s->tok, &name, TOK_OPEN, &tag, &e), &e);
    need(tok_sign(s, &cmac, tag.handle, blob, len, blob + len, TOK_BLOB_TAG_BYTES, &tag_len, &e), &e);
    return len + tag_len;
}

void blob_remake(struct tok_session *s, uint8_t blob[TOK_BLOB_BYTES], size_t *len,
                 const struct tok_blob_info *info)
{
    struct tok_blob_view view;
    struct err e = {0};
    uint8_t made[TOK_BLOB_BYTES] = {0};
    need(tok_blob_parse(blob, *len, &view, &e), &e);
    view.info = *info;
    need(tok_blob_head(&view, made, &e), &e);
    size_t at = tok_blob_head_bytes(info->form);
    for (unsigned i = 0; i < view.parts; i++, at += view.wrapped_len)
        memcpy(made + at, view.wrapped[i], view.wrapped_len);
    *len = add_tag(s, view.tag_version, made, at);
    memcpy(blob, made, sizeof made);
}

void blob_to_form_1(struct tok_session *s, uint8_t blob[TOK_BLOB_BYTES], size_t *len)
{
    struct tok_blob_info info;
    struct err e = {0};
    need(tok_blob_peek(blob, *len, &info, &e), &e);
    info.form = 1;
    if (info.usage == TOK_MAK)
        info.mac_algorithm = tok_mac_of_suite(info.suite);
    memset(info.sign_in, 0, sizeof info.sign_in);
    blob_remake(s, blob, len, &info);
}

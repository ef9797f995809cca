/* Objects of the token, by template or label, and what they say of themselves. */
#include "p11/object/object.h"
#include "p11/object/template.h"

#include <string.h>

#define FIND_BATCH 64

enum err_code tok_objects_find(struct tok_session *s, const struct tok_template *t,
                               CK_OBJECT_HANDLE *out_found, size_t capacity, size_t *out_count, struct err *e)
{
    size_t count = 0;
    CK_ULONG got = 0;
    TRY(tok_rv(s->fn->C_FindObjectsInit(s->handle, (CK_ATTRIBUTE_PTR)(uintptr_t)t->rows, t->count),
               "C_FindObjectsInit", e));
    enum err_code code = ERR_OK;
    do {
        const size_t room = capacity - count < FIND_BATCH ? capacity - count : FIND_BATCH;
        code = tok_rv(s->fn->C_FindObjects(s->handle, out_found + count, room, &got), "C_FindObjects", e);
        count += code == ERR_OK ? got : 0;
    } while (code == ERR_OK && got > 0 && count < capacity);
    s->fn->C_FindObjectsFinal(s->handle);
    *out_count = count;
    return code;
}

enum err_code tok_objects_labelled(struct tok_session *s, const char *label, CK_OBJECT_HANDLE *out_found,
                                   size_t capacity, size_t *out_count, struct err *e)
{
    struct tok_template t = {0};
    tok_template_bool(&t, CKA_TOKEN, true);
    tok_template_bytes(&t, CKA_LABEL, label, strlen(label));
    return tok_objects_find(s, &t, out_found, capacity, out_count, e);
}

bool tok_attribute_text(struct tok_session *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                        char *out_text, size_t capacity, size_t *out_len)
{
    CK_ATTRIBUTE row = {.type = type, .pValue = out_text, .ulValueLen = capacity - 1};
    if (s->fn->C_GetAttributeValue(s->handle, object, &row, 1) != CKR_OK || row.ulValueLen >= capacity)
        return false;
    out_text[row.ulValueLen] = '\0';
    *out_len = row.ulValueLen;
    return true;
}

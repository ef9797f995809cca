#include "p11/object/template.h"

static const CK_ATTRIBUTE_TYPE usages[] = {CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN,   CKA_VERIFY,
                                           CKA_WRAP,    CKA_UNWRAP,  CKA_DERIVE, CKA_EXTRACTABLE};

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

void tok_template_bytes(struct tok_template *t, CK_ATTRIBUTE_TYPE type, const void *bytes, size_t len)
{
    CK_ULONG at = 0;
    while (at < t->count && t->rows[at].type != type)
        at++;
    if (at == TOK_TEMPLATE_ROWS)
        return; /* templates are ours and shorter; the token refuses one that lacks a row */
    t->rows[at] = (CK_ATTRIBUTE){.type = type, .pValue = (void *)(uintptr_t)bytes, .ulValueLen = len};
    if (at == t->count)
        t->count++;
}

void tok_template_bool(struct tok_template *t, CK_ATTRIBUTE_TYPE type, bool value)
{
    tok_template_bytes(t, type, value ? &yes : &no, sizeof yes);
}

void tok_template_remove(struct tok_template *t, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < t->count; i++)
        if (t->rows[i].type == type)
            t->rows[i] = t->rows[--t->count];
}

void tok_template_number(struct tok_template *t, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
    if (t->number_count == sizeof t->numbers / sizeof t->numbers[0])
        return;
    CK_ULONG *slot = &t->numbers[t->number_count++];
    *slot = value;
    tok_template_bytes(t, type, slot, sizeof *slot);
}

static bool is_in(const CK_ATTRIBUTE_TYPE *uses, CK_ATTRIBUTE_TYPE type)
{
    while (*uses != CK_UNAVAILABLE_INFORMATION && *uses != type)
        uses++;
    return *uses == type;
}

void tok_template_secret(struct tok_template *t, CK_KEY_TYPE type, const CK_ATTRIBUTE_TYPE *uses)
{
    *t = (struct tok_template){0};
    tok_template_number(t, CKA_CLASS, CKO_SECRET_KEY);
    tok_template_number(t, CKA_KEY_TYPE, type);
    tok_template_bool(t, CKA_TOKEN, false);
    tok_template_bool(t, CKA_PRIVATE, false);
    tok_template_bool(t, CKA_SENSITIVE, true);
    for (size_t i = 0; i < sizeof usages / sizeof usages[0]; i++)
        tok_template_bool(t, usages[i], is_in(uses, usages[i]));
}

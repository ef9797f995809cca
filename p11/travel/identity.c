#include "p11/keys/pair.h"
#include "p11/object/object.h"
#include "p11/tok.h"
#include "p11/travel/transport.h"

#include <string.h>

/* CKA_EC_POINT is a DER OCTET STRING, or the bare point: its last bytes are the same. */
static enum err_code read_identity(struct tok_session *s, const struct tok_key_name *name, const char *label,
                                   struct tok_pair_identity *out_identity, struct err *e)
{
    const bool rsa = name->suite == TOK_RSA_3072;
    CK_OBJECT_HANDLE objects[4];
    size_t count = 0;
    TRY(tok_objects_labelled(s, label, objects, 4, &count, e));
    for (size_t i = 0; i < count; i++) {
        CK_OBJECT_CLASS class = 0;
        uint8_t value[sizeof out_identity->bytes + 16];
        CK_ATTRIBUTE row = {CKA_CLASS, &class, sizeof class};
        if (s->fn->C_GetAttributeValue(s->handle, objects[i], &row, 1) != CKR_OK ||
            class != (rsa ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY))
            continue;
        row = (CK_ATTRIBUTE){rsa ? CKA_MODULUS : CKA_EC_POINT, value, sizeof value};
        TRY(tok_rv(s->fn->C_GetAttributeValue(s->handle, objects[i], &row, 1), "C_GetAttributeValue", e));
        const size_t most = rsa ? TOK_RSA_BYTES : TOK_POINT_BYTES;
        const size_t len = row.ulValueLen < most ? row.ulValueLen : most;
        memcpy(out_identity->bytes, value + row.ulValueLen - len, len);
        out_identity->len = len;
        return ERR_OK;
    }
    return err_set(e, ERR_NOT_FOUND, "the token gives no public number of %s", label);
}

enum err_code tok_pair_identity(struct tok *tok, const struct tok_key_name *name,
                                struct tok_pair_identity *out_identity, struct err *e)
{
    struct tok_session *s = NULL;
    char label[TOK_LABEL_BYTES];
    tok_key_label(name, label);
    TRY(tok_session_take(tok, &s, e));
    const enum err_code code = read_identity(s, name, label, out_identity, e);
    tok_session_give(s);
    return code;
}

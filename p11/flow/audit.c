/* The audit key: it signs where the audit log stands. */
#include "p11/flow/flows.h"
#include "p11/keys/find.h"
#include "p11/keys/make.h"
#include "p11/keys/pair.h"
#include "p11/module/session.h"
#include "p11/object/object.h"

#include <string.h>

#define POINT_UNCOMPRESSED 0x04
#define DER_OCTET_STRING   0x04

/* CKA_EC_POINT is a DER OCTET STRING (PKCS#11 v2.40 2.3.3); some tokens give the bare point. */
static enum err_code read_point(const uint8_t *value, size_t len, uint8_t out_point[TOK_POINT_BYTES],
                                struct err *e)
{
    if (len == TOK_POINT_BYTES + 2 && value[0] == DER_OCTET_STRING && value[1] == TOK_POINT_BYTES) {
        value += 2;
        len -= 2;
    }
    if (len != TOK_POINT_BYTES || value[0] != POINT_UNCOMPRESSED)
        return err_set(e, ERR_UNSUPPORTED,
                       "the token gives the audit key's point in a form that is not known");
    memcpy(out_point, value, TOK_POINT_BYTES);
    return ERR_OK;
}

static enum err_code find_audit_key(struct tok_session *s, struct tok_found *out_found, struct err *e)
{
    const struct tok_key_name name = {.role = TOK_AUDIT, .suite = TOK_EC_P256};
    const enum err_code code = tok_keys_find(s->tok, &name, TOK_PROTECT, out_found, e);
    if (code == ERR_NOT_FOUND) /* to make it is no advice where the token has no elliptic curves */
        TRY(tok_flow_works(s->tok, TOK_FLOW_AUDIT, e));
    return code;
}

enum err_code tok_audit_point(struct tok_session *s, uint8_t out_point[TOK_POINT_BYTES], struct err *e)
{
    struct tok_found found;
    char label[TOK_LABEL_BYTES];
    CK_OBJECT_HANDLE public_key;
    uint8_t value[TOK_POINT_BYTES + 16];
    CK_ATTRIBUTE row = {CKA_EC_POINT, value, sizeof value};
    TRY(find_audit_key(s, &found, e));
    tok_key_label(&found.name, label);
    TRY(tok_pair_public(s, label, &public_key, e));
    TRY(tok_rv(s->fn->C_GetAttributeValue(s->handle, public_key, &row, 1), "C_GetAttributeValue", e));
    return read_point(value, row.ulValueLen, out_point, e);
}

enum err_code tok_audit_sign(struct tok_session *s, const uint8_t digest[TOK_DIGEST_BYTES],
                             uint8_t out_signature[TOK_SIGNATURE_BYTES], struct err *e)
{
    struct tok_found found;
    CK_MECHANISM ecdsa = {.mechanism = CKM_ECDSA};
    uint8_t signature[TOK_SIGNATURE_BYTES];
    size_t len = 0;
    TRY(find_audit_key(s, &found, e));
    TRY(tok_sign(s, &ecdsa, found.handle, digest, TOK_DIGEST_BYTES, signature, sizeof signature, &len, e));
    if (len != sizeof signature)
        return err_set(e, ERR_UNSUPPORTED, "the token's signature has %zu bytes, not %zu", len,
                       sizeof signature);
    memcpy(out_signature, signature, sizeof signature);
    return ERR_OK;
}

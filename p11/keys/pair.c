/* Key pairs: the audit key that signs, the transport and component keys under which keys travel in. */
#include "p11/keys/pair.h"
#include "p11/keys/make.h"
#include "p11/object/object.h"
#include "p11/object/template.h"

#include <string.h>

#define PUBLIC_EXPONENT_BYTES 3

static void name_both(struct tok_template *public_t, struct tok_template *private_t, const char *label)
{
    struct tok_template *const both[] = {public_t, private_t};
    for (size_t i = 0; i < 2; i++) {
        tok_template_bool(both[i], CKA_TOKEN, true);
        tok_template_bool(both[i], CKA_PRIVATE, i == 1);
        tok_template_bytes(both[i], CKA_LABEL, label, strlen(label));
        tok_template_bytes(both[i], CKA_ID, label, strlen(label));
    }
    tok_template_bool(private_t, CKA_SENSITIVE, true);
    tok_template_bool(private_t, CKA_EXTRACTABLE, false);
}

static enum err_code generate(struct tok_session *rw, CK_MECHANISM_TYPE type, struct tok_template *public_t,
                              struct tok_template *private_t, struct err *e)
{
    CK_MECHANISM mechanism = {.mechanism = type};
    CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE, private_key = CK_INVALID_HANDLE;
    return tok_rv(rw->fn->C_GenerateKeyPair(rw->handle, &mechanism, public_t->rows, public_t->count,
                                            private_t->rows, private_t->count, &public_key, &private_key),
                  "C_GenerateKeyPair", e);
}

const CK_BYTE tok_curve_p256[10] = {0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07};

static enum err_code generate_audit(struct tok_session *rw, const char *label, struct err *e)
{
    struct tok_template public_t = {0}, private_t = {0};
    name_both(&public_t, &private_t, label);
    tok_template_bool(&public_t, CKA_VERIFY, true);
    tok_template_bytes(&public_t, CKA_EC_PARAMS, tok_curve_p256, sizeof tok_curve_p256);
    tok_template_bool(&private_t, CKA_SIGN, true);
    tok_template_bool(&private_t, CKA_DERIVE, false);
    return generate(rw, CKM_EC_KEY_PAIR_GEN, &public_t, &private_t, e);
}

static enum err_code generate_rsa(struct tok_session *rw, const struct tok_key_name *name, const char *label,
                                  struct err *e)
{
    static const CK_BYTE exponent[PUBLIC_EXPONENT_BYTES] = {0x01, 0x00, 0x01};
    static const CK_ATTRIBUTE_TYPE usages[] = {CKA_SIGN, CKA_UNWRAP, CKA_DECRYPT, CKA_DERIVE};
    const bool transport = name->role == TOK_TRANSPORT;
    struct tok_template public_t = {0}, private_t = {0};
    name_both(&public_t, &private_t, label);
    tok_template_number(&public_t, CKA_MODULUS_BITS, 3072);
    tok_template_bytes(&public_t, CKA_PUBLIC_EXPONENT, exponent, sizeof exponent);
    tok_template_bool(&public_t, CKA_ENCRYPT, true); /* components are enciphered on this host too */
    tok_template_bool(&public_t, CKA_WRAP, transport);
    tok_template_bool(&public_t, CKA_VERIFY, false);
    for (size_t i = 0; i < sizeof usages / sizeof usages[0]; i++)
        tok_template_bool(&private_t, usages[i], usages[i] == (transport ? CKA_UNWRAP : CKA_DECRYPT));
    return generate(rw, CKM_RSA_PKCS_KEY_PAIR_GEN, &public_t, &private_t, e);
}

enum err_code tok_pair_generate(struct tok_session *rw, const struct tok_key_name *name, const char *label,
                                struct err *e)
{
    return name->role == TOK_AUDIT ? generate_audit(rw, label, e) : generate_rsa(rw, name, label, e);
}

enum err_code tok_pair_public(struct tok_session *s, const char *label, CK_OBJECT_HANDLE *out_key,
                              struct err *e)
{
    CK_OBJECT_HANDLE objects[4];
    size_t count = 0;
    TRY(tok_objects_labelled(s, label, objects, 4, &count, e));
    for (size_t i = 0; i < count; i++) {
        CK_OBJECT_CLASS class = 0;
        CK_ATTRIBUTE row = {CKA_CLASS, &class, sizeof class};
        if (s->fn->C_GetAttributeValue(s->handle, objects[i], &row, 1) != CKR_OK || class != CKO_PUBLIC_KEY)
            continue;
        *out_key = objects[i];
        return ERR_OK;
    }
    return err_set(e, ERR_NOT_FOUND, "the token has no public key beside %s", label);
}

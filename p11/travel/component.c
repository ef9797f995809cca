#include "p11/tok.h"
#include "p11/travel/form.h"
#include "p11/travel/oaep.h"

static enum err_code find_component_key(struct tok *tok, enum tok_purpose purpose,
                                        struct tok_found *out_found, struct err *e)
{
    const struct tok_key_name name = {.role = TOK_COMPONENT, .suite = TOK_RSA_3072};
    return tok_keys_find(tok, &name, purpose, out_found, e);
}

enum err_code tok_component_grade(struct tok *tok, enum tok_grade *out_grade, struct err *e)
{
    const char *way;
    return tok_way_chosen(tok, TOK_FLOW_COMPONENT, &way, out_grade, e);
}

enum err_code tok_component_open(struct tok *tok, const struct tok_key_name *name, const uint8_t *component,
                                 size_t len, struct secret *out_value, uint8_t out_kcv[3], struct err *e)
{
    const size_t want = tok_key_bytes(name->role, name->suite);
    struct tok_found key;
    struct tok_session *s = NULL;
    AUTO(secret) value = {0};
    if (len != TOK_RSA_BYTES)
        return err_set(e, ERR_INPUT, "component has %zu bytes; under RSA-3072 it has %d", len, TOK_RSA_BYTES);
    TRY(find_component_key(tok, TOK_OPEN, &key, e));
    TRY(secret_init(&value, e));
    TRY(tok_session_take(tok, &s, e));
    const enum err_code code = tok_oaep_decrypt(s, key.handle, component, &value, e);
    tok_session_give(s);
    TRY(travel_name_failure(code, e));
    if (value.len != want)
        return err_set(e, ERR_INPUT, "length: the component has %zu bytes; this key has %zu", value.len,
                       want);
    TRY(tok_value_kcv(tok, name->suite, &value, out_kcv, e));
    *out_value = value;
    value = (struct secret){0};
    return ERR_OK;
}

enum err_code tok_component_seal(struct tok *tok, const struct secret *value,
                                 uint8_t out_component[TOK_RSA_BYTES], struct err *e)
{
    struct tok_found key;
    struct tok_object public_key = {0};
    struct tok_session *s = NULL;
    TRY(find_component_key(tok, TOK_PROTECT, &key, e));
    TRY(tok_session_take(tok, &s, e));
    enum err_code code = tok_pair_import_public(s, key.handle, &public_key, e);
    if (code == ERR_OK)
        code = tok_oaep_encrypt(s, public_key.handle, value, out_component, e);
    tok_object_drop(&public_key);
    tok_session_give(s);
    return code;
}

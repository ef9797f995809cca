#include "p11/keys/make.h"
#include "p11/object/template.h"
#include "p11/tok.h"
#include "p11/travel/form.h"
#include "p11/travel/key_block_token.h"
#include "p11/travel/oaep.h"

#include <string.h>

struct importing {
    struct tok *tok;
    const struct tok_import *request;
    struct tok_found under;
    const char *way;
    struct tok_imported out;
};

static void tell_checked(struct importing *x, const uint8_t kcv[TOK_KCV_BYTES])
{
    x->out.info =
        (struct tok_key_info){.name = x->request->name, .has_kcv = true, .state = x->request->state};
    tok_key_label(&x->request->name, x->out.info.label);
    memcpy(x->out.info.kcv, kcv, TOK_KCV_BYTES);
}

/* A value that this process holds. */
static enum err_code import_value(struct importing *x, struct secret *value, struct err *e)
{
    const struct tok_import *const r = x->request;
    const size_t want = tok_key_bytes(r->name.role, r->name.suite);
    uint8_t kcv[TOK_KCV_BYTES];
    if (value->len != want)
        return err_set(e, ERR_INPUT, "length: the key has %zu bytes; a %s key of suite %s has %zu",
                       value->len, tok_role_name(r->name.role), tok_suite_name(r->name.suite), want);
    TRY(tok_key_check_value(&r->name, value, e));
    TRY(tok_value_kcv(x->tok, r->name.suite, value, kcv, e));
    TRY(tok_expect_kcv(kcv, r->kcv, e));
    tell_checked(x, kcv);
    return r->check_only ? ERR_OK : tok_key_import(x->tok, &r->name, value, r->state, &x->out.info, e);
}

static enum err_code import_by_unwrap(struct importing *x, const CK_MECHANISM *mechanism, struct err *e)
{
    const struct tok_import *const r = x->request;
    const struct tok_unwrap unwrap = {.mechanism = *mechanism,
                                      .key = x->under.handle,
                                      .wrapped = r->wrapped,
                                      .len = r->len,
                                      .expected_kcv = r->kcv};
    uint8_t kcv[TOK_KCV_BYTES];
    if (!r->check_only)
        return tok_key_unwrap(x->tok, &r->name, r->state, &unwrap, &x->out.info, e);
    TRY(tok_key_try_unwrap(x->tok, &r->name, &unwrap, kcv, e));
    tell_checked(x, kcv);
    return ERR_OK;
}

/* The length of what is wrapped, without its value: as a throw-away that may leave the token once, wrapped by
 * RFC 3394 under a throw-away key that nobody knows. Tokens do not tell the length of what they unwrap. */
static enum err_code measure_wrapped(struct tok_session *s, CK_MECHANISM *mechanism,
                                     const struct importing *x, CK_ULONG *out_len, struct err *e)
{
    CK_MECHANISM generate = {.mechanism = CKM_AES_KEY_GEN}, wrap = {.mechanism = CKM_AES_KEY_WRAP};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    CK_BYTE wrapped[SECRET_CAPACITY];
    CK_ULONG len = sizeof wrapped;
    AUTO(tok_object) kek = {0};
    AUTO(tok_object) value = {0};
    struct tok_template t;
    tok_template_secret(&t, CKK_AES, TOK_USES(CKA_WRAP));
    tok_template_number(&t, CKA_VALUE_LEN, 32);
    TRY(tok_rv(s->fn->C_GenerateKey(s->handle, &generate, t.rows, t.count, &handle), "C_GenerateKey", e));
    kek = (struct tok_object){.session = s, .handle = handle};
    tok_template_secret(&t, CKK_GENERIC_SECRET, TOK_USES(CKA_EXTRACTABLE));
    TRY(tok_rv(s->fn->C_UnwrapKey(s->handle, mechanism, x->under.handle,
                                  (CK_BYTE_PTR)(uintptr_t)x->request->wrapped, x->request->len, t.rows,
                                  t.count, &handle),
               "C_UnwrapKey", e));
    value = (struct tok_object){.session = s, .handle = handle};
    TRY(tok_rv(s->fn->C_WrapKey(s->handle, &wrap, kek.handle, value.handle, wrapped, &len), "C_WrapKey", e));
    *out_len = len - 8;
    return ERR_OK;
}

/* OAEP carries any length, and tokens make a key of what comes. */
static enum err_code check_wrapped_length(struct importing *x, CK_MECHANISM *mechanism, struct err *e)
{
    const struct tok_import *const r = x->request;
    const size_t want = tok_key_bytes(r->name.role, r->name.suite);
    struct tok_session *s = NULL;
    CK_ULONG len = 0;
    TRY(tok_session_take(x->tok, &s, e));
    const enum err_code code = measure_wrapped(s, mechanism, x, &len, e);
    tok_session_give(s);
    TRY(code);
    return len == want ? ERR_OK
                       : err_set(e, ERR_INPUT, "length: %lu bytes were wrapped; a %s key of suite %s has %zu",
                                 len, tok_role_name(r->name.role), tok_suite_name(r->name.suite), want);
}

static enum err_code import_oaep(struct importing *x, struct err *e)
{
    CK_MECHANISM mechanism;
    CK_RSA_PKCS_OAEP_PARAMS parameters;
    tok_oaep(&mechanism, &parameters);
    if (x->request->len != TOK_RSA_BYTES)
        return err_set(e, ERR_INPUT, "wrapped has %zu bytes; under RSA-3072 it has %d", x->request->len,
                       TOK_RSA_BYTES);
    TRY(travel_refuse_halved(&x->request->name, e));
    TRY(travel_name_failure(check_wrapped_length(x, &mechanism, e), e));
    return travel_name_failure(import_by_unwrap(x, &mechanism, e), e);
}

static enum err_code import_aes_kw(struct importing *x, struct err *e)
{
    const CK_MECHANISM mechanism = {.mechanism = CKM_AES_KEY_WRAP};
    const size_t want = tok_key_bytes(x->request->name.role, x->request->name.suite) + 8;
    TRY(travel_refuse_halved(&x->request->name, e));
    if (x->request->len != want)
        return err_set(e, ERR_INPUT, "wrapped has %zu bytes; this key has %zu when it is wrapped by RFC 3394",
                       x->request->len, want);
    return travel_name_failure(import_by_unwrap(x, &mechanism, e), e);
}

/* ECB shows equal halves. Whoever repeats half of another key's cryptogram would learn the check value of a
 * single DES key, which can be sought from it; what is refused here is never opened. */
static enum err_code refuse_equal_halves(const struct tok_import *r, struct err *e)
{
    return r->len == 16 && secret_equal(r->wrapped, r->wrapped + 8, 8)
               ? err_set(e, ERR_INPUT,
                         "both halves of the cryptogram are equal: a key of equal halves is single DES")
               : ERR_OK;
}

static enum err_code import_tdes(struct importing *x, struct err *e)
{
    CK_MECHANISM mechanism = {.mechanism = CKM_DES3_ECB};
    struct tok_session *s = NULL;
    AUTO(secret) value = {0};
    const size_t want = tok_key_bytes(x->request->name.role, x->request->name.suite);
    if (x->request->len != want)
        return err_set(e, ERR_INPUT, "wrapped has %zu bytes; the cryptogram of this key has %zu",
                       x->request->len, want);
    TRY(refuse_equal_halves(x->request, e));
    if (x->request->kcv == NULL)
        return err_set(e, ERR_INPUT, "kcv is missing: a cryptogram has nothing else that tells a wrong key");
    if (tok_way_is(x->way, TOK_WAY_UNWRAP) && !travel_is_halved(&x->request->name))
        return travel_name_failure(import_by_unwrap(x, &mechanism, e), e);
    TRY(travel_pass_here(x->tok, &x->request->name, &x->out.grade, e));
    TRY(secret_init(&value, e));
    TRY(tok_session_take(x->tok, &s, e));
    const enum err_code code =
        tok_decrypt(s, &mechanism, x->under.handle, x->request->wrapped, want, value.bytes, e);
    tok_session_give(s);
    TRY(code);
    value.len = want;
    return import_value(x, &value, e);
}

static enum err_code import_block(struct importing *x, struct err *e)
{
    const struct tok_import *const r = x->request;
    const struct key_block_kbpk kbpk = {x->under.handle, travel_kbpk_bytes(&x->under)};
    struct key_block block;
    struct tok_session *s = NULL;
    AUTO(secret) value = {0};
    TRY(key_block_parse(r->key_block, &block, e));
    if (block.header.version != (r->format == TOK_TR31_B ? 'B' : 'D'))
        return err_set(e, ERR_INPUT, "header: it is of version %c, which is not the format that was said",
                       block.header.version);
    TRY(tok_session_take(x->tok, &s, e));
    const enum err_code code = key_block_open(s, &kbpk, &block, &value, e);
    tok_session_give(s);
    TRY(code);
    TRY(key_block_check_use(&block.header, r->name.role, r->name.suite,
                            e)); /* the header is authentic by now */
    x->out.header = block.header;
    x->out.has_header = true;
    return import_value(x, &value, e);
}

enum err_code tok_key_import_wrapped(struct tok *tok, const struct tok_import *r,
                                     struct tok_imported *out_imported, struct err *e)
{
    static enum err_code (*const imports[])(struct importing * x, struct err * e) = {
        [TOK_RSA_OAEP] = import_oaep, [TOK_AES_KW] = import_aes_kw, [TOK_TDES_CRYPTOGRAM] = import_tdes,
        [TOK_TR31_B] = import_block,  [TOK_TR31_D] = import_block,
    };
    struct importing x = {.tok = tok, .request = r};
    TRY(tok_key_check_name(&r->name, e));
    TRY(travel_check_under(r->format, &r->name, &r->under, e));
    if (tok_role_is_pair(r->name.role))
        return err_set(e, ERR_UNSUPPORTED, "%s keys are generated in the token, never loaded",
                       tok_role_name(r->name.role));
    if (travel_forms[r->format].block ? r->key_block == NULL : r->wrapped == NULL)
        return err_set(e, ERR_INPUT, "the %s is missing",
                       travel_forms[r->format].block ? "key block" : "wrapped key");
    TRY(tok_way_chosen(tok, travel_forms[r->format].import, &x.way, &x.out.grade, e));
    TRY(tok_keys_find(tok, &r->under, TOK_OPEN, &x.under, e));
    TRY(imports[r->format](&x, e));
    *out_imported = x.out;
    return ERR_OK;
}

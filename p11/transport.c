#include "p11/transport.h"

#include "p11/key_block_token.h"
#include "p11/keymake.h"
#include "p11/pay.h"
#include "p11/state.h"
#include "p11/template.h"
#include "p11/transport_ways.h"
#include "p11/working.h"

#include <string.h>

/* ---- The key that it travels under ---- */

static const struct form_row {
    enum tok_flow import, export;
    enum tok_role under;
    bool tdes; /* the key above is of suite TDES; else AES, or RSA */
    bool block;
} forms[] = {
    [TOK_RSA_OAEP] = {TOK_FLOW_IMPORT_OAEP, TOK_FLOW_COUNT, TOK_TRANSPORT, false, false},
    [TOK_AES_KW] = {TOK_FLOW_IMPORT_AES_KW, TOK_FLOW_EXPORT_AES_KW, TOK_ZONE_MASTER, false, false},
    [TOK_TDES_CRYPTOGRAM] = {TOK_FLOW_IMPORT_TDES, TOK_FLOW_EXPORT_TDES, TOK_ZONE_MASTER, true, false},
    [TOK_TR31_B] = {TOK_FLOW_KEY_BLOCK_B, TOK_FLOW_KEY_BLOCK_B, TOK_ZONE_MASTER, true, true},
    [TOK_TR31_D] = {TOK_FLOW_KEY_BLOCK_D, TOK_FLOW_KEY_BLOCK_D, TOK_ZONE_MASTER, false, true},
};

/* NIST SP 800-57 part 1, table 2. */
static unsigned strength_bits(enum tok_suite suite)
{
    return suite == TOK_TDES ? 112 : suite == TOK_AES_128 ? 128 : 256;
}

static enum err_code check_under(enum tok_key_format format, const struct tok_key_name *name,
                                 const struct tok_key_name *under, struct err *e)
{
    if (format < TOK_RSA_OAEP || format > TOK_TR31_D)
        return err_set(e, ERR_INPUT, "format %d does not exist", (int)format);
    const struct form_row *const form = &forms[format];
    if (under->role != form->under)
        return err_set(e, ERR_INPUT, "under: this format takes a %s key, not %s", tok_role_name(form->under),
                       tok_role_name(under->role));
    if (form->under != TOK_ZONE_MASTER)
        return ERR_OK;
    if ((under->suite == TOK_TDES) != form->tdes)
        return err_set(e, ERR_INPUT, "under: this format takes a zone master key of %s",
                       form->tdes ? "suite tdes" : "an AES suite");
    if (strength_bits(under->suite) < strength_bits(name->suite))
        return err_set(e, ERR_DENIED,
                       "under: a key of suite %s does not travel under one of suite %s, which is weaker",
                       tok_suite_name(name->suite), tok_suite_name(under->suite));
    if (strcmp(under->zone, name->zone) != 0)
        return err_set(e, ERR_DENIED, "under: a key of zone '%s' does not travel under zone '%s'", name->zone,
                       under->zone);
    return ERR_OK;
}

static size_t kbpk_bytes(const struct tok_found *under)
{
    return tok_key_bytes(under->name.role, under->name.suite);
}

/* ---- In ---- */

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

/* Tokens say a wrong key or a changed wrapping in many ways; who waits for the key hears one. */
static enum err_code name_failure(enum err_code code, struct err *e)
{
    const bool vague = e->native == CKR_GENERAL_ERROR || e->native == CKR_FUNCTION_FAILED; /* SoftHSM's */
    if (code == ERR_OK || e->native == 0 || (code == ERR_UNAVAILABLE && !vague))
        return code; /* ours, or the token's own trouble, which the recovery ladder has to see */
    if (code != ERR_INPUT && code != ERR_UNSUPPORTED && code != ERR_CHECK && code != ERR_UNAVAILABLE)
        return code;
    e->code = ERR_CHECK;
    err_prefix(e, "wrapping: it does not open under this key; it was changed, or is of another key");
    return ERR_CHECK;
}

/* Whether the way is in the token or not, a key that has to be halved here passes through this process. */
static bool is_halved(const struct tok_key_name *name)
{
    return name->role == TOK_ZONE_MAC && name->suite == TOK_TDES;
}

static enum err_code refuse_halved(const struct tok_key_name *name, struct err *e)
{
    return is_halved(name) ? err_set(e, ERR_UNSUPPORTED,
                                     "a %s key of suite %s has its left half beside it, which only a "
                                     "cryptogram or a key block gives",
                                     tok_role_name(name->role), tok_suite_name(name->suite))
                           : ERR_OK;
}

static enum err_code pass_through_here(struct tok *tok, const struct tok_key_name *name,
                                       enum tok_grade *out_grade, struct err *e)
{
    if (tok->exposure == TOK_EXPOSURE_IN_TOKEN)
        return err_set(e, ERR_DENIED,
                       "policy keeps every key in the token; a %s key of suite %s would pass "
                       "through this process's memory",
                       tok_role_name(name->role), tok_suite_name(name->suite));
    *out_grade = TOK_PROCESS_MEMORY;
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
    TRY(refuse_halved(&x->request->name, e));
    TRY(name_failure(check_wrapped_length(x, &mechanism, e), e));
    return name_failure(import_by_unwrap(x, &mechanism, e), e);
}

static enum err_code import_aes_kw(struct importing *x, struct err *e)
{
    const CK_MECHANISM mechanism = {.mechanism = CKM_AES_KEY_WRAP};
    const size_t want = tok_key_bytes(x->request->name.role, x->request->name.suite) + 8;
    TRY(refuse_halved(&x->request->name, e));
    if (x->request->len != want)
        return err_set(e, ERR_INPUT, "wrapped has %zu bytes; this key has %zu when it is wrapped by RFC 3394",
                       x->request->len, want);
    return name_failure(import_by_unwrap(x, &mechanism, e), e);
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
    if (tok_way_is(x->way, TOK_WAY_UNWRAP) && !is_halved(&x->request->name))
        return name_failure(import_by_unwrap(x, &mechanism, e), e);
    TRY(pass_through_here(x->tok, &x->request->name, &x->out.grade, e));
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
    const struct key_block_kbpk kbpk = {x->under.handle, kbpk_bytes(&x->under)};
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
    TRY(check_under(r->format, &r->name, &r->under, e));
    if (tok_role_is_pair(r->name.role))
        return err_set(e, ERR_UNSUPPORTED, "%s keys are generated in the token, never loaded",
                       tok_role_name(r->name.role));
    if (forms[r->format].block ? r->key_block == NULL : r->wrapped == NULL)
        return err_set(e, ERR_INPUT, "the %s is missing",
                       forms[r->format].block ? "key block" : "wrapped key");
    TRY(tok_way_of(tok, forms[r->format].import, &x.way, &x.out.grade, e));
    TRY(tok_keys_find(tok, &r->under, TOK_OPEN, &x.under, e));
    TRY(imports[r->format](&x, e));
    *out_imported = x.out;
    return ERR_OK;
}

/* ---- Out ---- */

/* Where the token cannot wrap, or the form is a block: the value is the token's random, here. */
static enum err_code random_value(struct tok_session *s, const struct tok_key_name *name,
                                  struct secret *out_value, struct err *e)
{
    TRY(secret_init(out_value, e));
    out_value->len = tok_key_bytes(name->role, name->suite);
    TRY(tok_random(s, out_value->bytes, out_value->len, e));
    if (name->suite == TOK_TDES)
        tok_force_odd_parity(out_value->bytes, out_value->len);
    return ERR_OK;
}

static enum err_code seal_value(struct tok_session *s, const struct tok_export *r,
                                const struct tok_found *under, const struct secret *value,
                                struct tok_exported *out, struct err *e)
{
    CK_MECHANISM ecb = {.mechanism = CKM_DES3_ECB};
    const struct key_block_kbpk kbpk = {under->handle, kbpk_bytes(under)};
    struct tok_key_block_header header = {.version = r->format == TOK_TR31_B ? 'B' : 'D'};
    if (!forms[r->format].block) {
        out->len = value->len;
        return tok_encrypt(s, &ecb, under->handle, value->bytes, value->len, out->wrapped, e);
    }
    key_block_describe(r->name.role, r->name.suite, &header);
    return key_block_make(s, &kbpk, &header, value, out->key_block, sizeof out->key_block, e);
}

static enum err_code export_value(struct tok *tok, const struct tok_export *r, const struct tok_found *under,
                                  struct tok_exported *out, struct err *e)
{
    struct tok_session *s = NULL;
    AUTO(secret) value = {0};
    TRY(tok_session_take(tok, &s, e));
    enum err_code code = random_value(s, &r->name, &value, e);
    if (code == ERR_OK)
        code = seal_value(s, r, under, &value, out, e);
    tok_session_give(s);
    TRY(code);
    return tok_key_import(tok, &r->name, &value, r->state, &out->info, e);
}

enum err_code tok_key_generate_exported(struct tok *tok, const struct tok_export *r,
                                        struct tok_exported *out_exported, struct err *e)
{
    struct tok_exported out = {0};
    struct tok_found under;
    const char *way;
    TRY(tok_key_check_name(&r->name, e));
    if (r->name.zone[0] == '\0' || r->name.role == TOK_ZONE_MASTER)
        return err_set(e, ERR_DENIED, "only a zone's PIN, MAC and data keys are handed out");
    TRY(check_under(r->format, &r->name, &r->under, e));
    if (forms[r->format].export == TOK_FLOW_COUNT)
        return err_set(e, ERR_INPUT, "format: a key is not handed out under the token's own transport key");
    TRY(tok_way_of(tok, forms[r->format].export, &way, &out.grade, e));
    TRY(tok_keys_find(tok, &r->under, TOK_PROTECT, &under, e));
    out.under_version = under.name.version;
    if (r->format == TOK_AES_KW)
        TRY(refuse_halved(&r->name, e));
    const bool in_token = tok_way_is(way, TOK_WAY_WRAP) && !is_halved(&r->name);
    if (!in_token)
        TRY(pass_through_here(tok, &r->name, &out.grade, e));
    if (r->check_only) {
        *out_exported = out;
        return ERR_OK;
    }
    if (in_token) {
        const struct tok_wrap wrap = {r->format == TOK_AES_KW ? CKM_AES_KEY_WRAP : CKM_DES3_ECB,
                                      under.handle};
        TRY(tok_key_make_wrapped(tok, &r->name, r->state, &wrap, &out.info, out.wrapped, &out.len, e));
    } else {
        TRY(export_value(tok, r, &under, &out, e));
    }
    *out_exported = out;
    return ERR_OK;
}

/* ---- Components ---- */

static enum err_code find_component_key(struct tok *tok, enum tok_purpose purpose,
                                        struct tok_found *out_found, struct err *e)
{
    const struct tok_key_name name = {.role = TOK_COMPONENT, .suite = TOK_RSA_3072};
    return tok_keys_find(tok, &name, purpose, out_found, e);
}

enum err_code tok_component_grade(struct tok *tok, enum tok_grade *out_grade, struct err *e)
{
    const char *way;
    return tok_way_of(tok, TOK_FLOW_COMPONENT, &way, out_grade, e);
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
    TRY(name_failure(code, e));
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

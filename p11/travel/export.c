#include "p11/keys/make.h"
#include "p11/object/object.h"
#include "p11/tok.h"
#include "p11/travel/form.h"
#include "p11/travel/key_block_token.h"

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
    const struct key_block_kbpk kbpk = {under->handle, travel_kbpk_bytes(under)};
    struct tok_key_block_header header = {.version = r->format == TOK_TR31_B ? 'B' : 'D'};
    if (!travel_forms[r->format].block) {
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
    TRY(travel_check_under(r->format, &r->name, &r->under, e));
    if (travel_forms[r->format].export == TOK_FLOW_COUNT)
        return err_set(e, ERR_INPUT, "format: a key is not handed out under the token's own transport key");
    TRY(tok_way_chosen(tok, travel_forms[r->format].export, &way, &out.grade, e));
    TRY(tok_keys_find(tok, &r->under, TOK_PROTECT, &under, e));
    out.under_version = under.name.version;
    if (r->format == TOK_AES_KW)
        TRY(travel_refuse_halved(&r->name, e));
    const bool in_token = tok_way_is(way, TOK_WAY_WRAP) && !travel_is_halved(&r->name);
    if (!in_token)
        TRY(travel_pass_here(tok, &r->name, &out.grade, e));
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

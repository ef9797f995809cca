/* Working keys for a card, and the ways to them. Source: the patent's sign-in (S401 to S406); RFC 3394; for
 * the chain way NIST SP 800-38B, whose subkey is cancelled so that a CMAC of two blocks becomes two
 * encryptions in a row. */
#include "p11/flow/flows.h"

#include "base/clock.h"
#include "base/secret.h"
#include "p11/flow/blob.h"
#include "p11/flow/blob_form.h"
#include "p11/flow/diversify.h"
#include "p11/flow/working.h"
#include "p11/module/session.h"
#include "p11/object/template.h"

#include <string.h>

#define DES_BLOCK_BYTES 8

void tok_made_drop(struct tok_made *made)
{
    tok_object_drop(&made->key);
    tok_object_drop(&made->left);
    secret_wipe(made, sizeof *made);
}

/* The new key may be wrapped into its blob and show its check value, and nothing else. */
static const CK_ATTRIBUTE_TYPE fresh_tdes[] = {CKA_ENCRYPT, CKA_EXTRACTABLE, CK_UNAVAILABLE_INFORMATION};
static const CK_ATTRIBUTE_TYPE fresh_aes[] = {CKA_SIGN, CKA_EXTRACTABLE, CK_UNAVAILABLE_INFORMATION};

static enum err_code generate(struct tok_session *s, CK_KEY_TYPE type, struct tok_object *out_key,
                              struct err *e)
{
    const bool tdes = type == CKK_DES2;
    CK_MECHANISM mechanism = {.mechanism = tdes ? CKM_DES2_KEY_GEN : CKM_AES_KEY_GEN};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    struct tok_template t;
    tok_template_secret(&t, type, tdes ? fresh_tdes : fresh_aes);
    if (!tdes)
        tok_template_number(&t, CKA_VALUE_LEN, 16);
    TRY(tok_rv(s->fn->C_GenerateKey(s->handle, &mechanism, t.rows, t.count, &handle), "C_GenerateKey", e));
    *out_key = (struct tok_object){.session = s, .handle = handle};
    return ERR_OK;
}

static enum err_code wrap_under(struct tok_session *s, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE tmk,
                                struct tok_made *made, size_t want, struct err *e)
{
    CK_MECHANISM mechanism = {.mechanism = type};
    CK_ULONG len = sizeof made->cryptogram;
    TRY(tok_rv(s->fn->C_WrapKey(s->handle, &mechanism, tmk, made->key.handle, made->cryptogram, &len),
               "C_WrapKey", e));
    if (len != want)
        return err_set(e, ERR_UNSUPPORTED, "the token wrapped a working key to %lu bytes, not %zu", len,
                       want);
    made->cryptogram_len = want;
    return ERR_OK;
}

/* ---- wrap way ---- */

/* C1||C1 under the TMK is K1||K1. */
static enum err_code unwrap_twice(struct tok_session *s, CK_OBJECT_HANDLE tmk, const uint8_t *cryptogram,
                                  struct tok_object *out_key, struct err *e)
{
    uint8_t twice[2UL * DES_BLOCK_BYTES];
    CK_MECHANISM ecb = {.mechanism = CKM_DES3_ECB};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    struct tok_template t;
    memcpy(twice, cryptogram, DES_BLOCK_BYTES);
    memcpy(twice + DES_BLOCK_BYTES, cryptogram, DES_BLOCK_BYTES);
    tok_template_secret(&t, CKK_DES2, fresh_tdes);
    TRY(tok_rv(s->fn->C_UnwrapKey(s->handle, &ecb, tmk, twice, sizeof twice, t.rows, t.count, &handle),
               "C_UnwrapKey", e));
    *out_key = (struct tok_object){.session = s, .handle = handle};
    return ERR_OK;
}

/* A double-length key is generated and wrapped. A single-length one is whatever a random cryptogram deciphers
 * to: as random as a generated one, and no token needs to know single DES. */
enum err_code tok_working_wrap(struct tok_session *s, CK_OBJECT_HANDLE tmk, unsigned key_bytes,
                               bool with_left, struct tok_made *out_made, struct err *e)
{
    AUTO(tok_made) made = {0};
    if (key_bytes == DES_BLOCK_BYTES) {
        TRY(tok_random(s, made.cryptogram, DES_BLOCK_BYTES, e));
        made.cryptogram_len = DES_BLOCK_BYTES;
        TRY(unwrap_twice(s, tmk, made.cryptogram, &made.key, e));
    } else {
        TRY(generate(s, CKK_DES2, &made.key, e));
        TRY(wrap_under(s, CKM_DES3_ECB, tmk, &made, 2UL * DES_BLOCK_BYTES, e));
        if (with_left)
            TRY(unwrap_twice(s, tmk, made.cryptogram, &made.left, e));
    }
    *out_made = made;
    made = (struct tok_made){0};
    return ERR_OK;
}

/* ---- chain way ---- */

static enum err_code derive_working(struct tok_session *s, CK_OBJECT_HANDLE tmk, const uint8_t data[16],
                                    struct tok_object *out_key, struct err *e)
{
    const struct tok_derive_request request = {
        .base_suite = TOK_TDES, .base = tmk, .data = data, .len = 16, .type = CKK_DES2, .uses = fresh_tdes};
    return tok_derive_data(s, &request, out_key, e);
}

/* S = L << 1 (xor 1B when L's top bit is set), L = E_TMK(0): CMAC's subkey for a whole last block. */
static enum err_code cmac_subkey(struct tok_session *s, CK_OBJECT_HANDLE tmk,
                                 uint8_t out_subkey[DES_BLOCK_BYTES], struct err *e)
{
    uint8_t l[DES_BLOCK_BYTES];
    TRY(tok_object_kcv(s, tmk, TOK_TDES, l, sizeof l, e));
    for (size_t i = 0; i < sizeof l; i++)
        out_subkey[i] = (uint8_t)(l[i] << 1 | (i + 1 < sizeof l ? l[i + 1] >> 7 : 0));
    out_subkey[7] = (uint8_t)(out_subkey[7] ^ ((l[0] & 0x80) != 0 ? 0x1B : 0));
    secret_wipe(l, sizeof l);
    return ERR_OK;
}

/* CMAC(TMK, R || S) = E(E(R) xor S xor S) = E(E(R)): the cryptogram of E(R) under the TMK. */
static enum err_code chain_cryptogram(struct tok_session *s, CK_OBJECT_HANDLE tmk, const uint8_t *random,
                                      size_t key_bytes, uint8_t *out_cryptogram, struct err *e)
{
    CK_MECHANISM cmac = {.mechanism = CKM_DES3_CMAC};
    uint8_t message[2UL * DES_BLOCK_BYTES];
    enum err_code code = cmac_subkey(s, tmk, message + DES_BLOCK_BYTES, e);
    for (size_t at = 0; code == ERR_OK && at < key_bytes; at += DES_BLOCK_BYTES) {
        size_t len = 0;
        memcpy(message, random + at, DES_BLOCK_BYTES);
        code =
            tok_sign(s, &cmac, tmk, message, sizeof message, out_cryptogram + at, DES_BLOCK_BYTES, &len, e);
        if (code == ERR_OK && len != DES_BLOCK_BYTES)
            code = err_set(e, ERR_UNSUPPORTED, "the token's CMAC has %zu bytes", len);
    }
    secret_wipe(message, sizeof message);
    return code;
}

/* WK = E_TMK(R) by derivation; R is wiped, and gives nothing without the TMK. */
static enum err_code chain(struct tok_session *s, CK_OBJECT_HANDLE tmk, const uint8_t random[16],
                           bool with_left, struct tok_made *made, struct err *e)
{
    uint8_t twice[2UL * DES_BLOCK_BYTES];
    TRY(derive_working(s, tmk, random, &made->key, e));
    if (with_left) {
        memcpy(twice, random, DES_BLOCK_BYTES);
        memcpy(twice + DES_BLOCK_BYTES, random, DES_BLOCK_BYTES);
        const enum err_code code = derive_working(s, tmk, twice, &made->left, e);
        secret_wipe(twice, sizeof twice);
        TRY(code);
    }
    return chain_cryptogram(s, tmk, random, made->cryptogram_len, made->cryptogram, e);
}

enum err_code tok_working_chain(struct tok_session *s, CK_OBJECT_HANDLE tmk, unsigned key_bytes,
                                bool with_left, struct tok_made *out_made, struct err *e)
{
    AUTO(tok_made) made = {.cryptogram_len = key_bytes};
    uint8_t random[2UL * DES_BLOCK_BYTES];
    TRY(tok_random(s, random, sizeof random, e));
    if (key_bytes == DES_BLOCK_BYTES) /* K||K */
        memcpy(random + DES_BLOCK_BYTES, random, DES_BLOCK_BYTES);
    const enum err_code code = chain(s, tmk, random, with_left && key_bytes == 16, &made, e);
    secret_wipe(random, sizeof random);
    TRY(code);
    *out_made = made;
    made = (struct tok_made){0};
    return ERR_OK;
}

/* ---- AES ---- */

enum err_code tok_working_aes(struct tok_session *s, CK_OBJECT_HANDLE kek, struct tok_made *out_made,
                              struct err *e)
{
    AUTO(tok_made) made = {0};
    TRY(generate(s, CKK_AES, &made.key, e));
    TRY(wrap_under(s, CKM_AES_KEY_WRAP, kek, &made, 24, e));
    *out_made = made;
    made = (struct tok_made){0};
    return ERR_OK;
}

/* ---- The flow ---- */

static enum err_code check_request(const struct tok_working_request *r, struct err *e)
{
    const bool tdes = r->suite == TOK_TDES;
    if (r->usage != TOK_PIK && r->usage != TOK_MAK && r->usage != TOK_TDK)
        return err_set(e, ERR_INPUT, "a working key is a PIK, a MAK or a TDK");
    if (r->suite < TOK_TDES || r->suite > TOK_AES_256)
        return err_set(e, ERR_INPUT, "suite %d does not exist", (int)r->suite);
    if (r->key_bytes != 16 && !(tdes && r->key_bytes == 8))
        return err_set(e, ERR_INPUT, "a working key of suite %s has no %u bytes", tok_suite_name(r->suite),
                       r->key_bytes);
    if (r->mac_algorithm != 0 &&
        (r->usage != TOK_MAK || !tok_mac_fits(r->suite, r->key_bytes, r->mac_algorithm)))
        return err_set(e, ERR_INPUT, "a %s of suite %s and %u bytes does not serve MAC algorithm %d",
                       tok_usage_name((int)r->usage), tok_suite_name(r->suite), r->key_bytes,
                       (int)r->mac_algorithm);
    if (r->wrap_version > TOK_WRAP_MAX || (r->wrap_version == TOK_WRAP_USAGE && tdes))
        return err_set(e, ERR_INPUT, "suite %s has no wrap version %u", tok_suite_name(r->suite),
                       r->wrap_version);
    return ERR_OK;
}

/* The TMK wraps nothing: a PIK's cryptogram that is given to a card as a TDK's is under another key. */
static enum err_code make_by_usage(struct tok_session *s, const struct tok_working_request *r,
                                   struct tok_made *out_made, enum tok_grade *out_grade, struct err *e)
{
    const char *way = NULL;
    AUTO(tok_object) tmk = {0};
    AUTO(tok_object) kek = {0};
    const struct tok_child_request child = {.psam_number = r->psam_number,
                                            .suite = r->suite,
                                            .domain = TOK_DOMAIN_TMK,
                                            .master_version = r->master_version,
                                            .use = TOK_CHILD_DERIVES};
    TRY(tok_way_chosen(s->tok, TOK_FLOW_WORKING_KEY_USAGE, &way, out_grade, e));
    TRY(tok_derive_child(s, &child, &tmk, e));
    TRY(tok_derive_kek(s, tmk.handle, r->suite, (int)r->usage, &kek, e));
    return tok_working_aes(s, kek.handle, out_made, e);
}

static enum err_code make(struct tok_session *s, const struct tok_working_request *r,
                          struct tok_made *out_made, enum tok_grade *out_grade, struct err *e)
{
    if (r->wrap_version == TOK_WRAP_USAGE)
        return make_by_usage(s, r, out_made, out_grade, e);
    const char *way = NULL;
    AUTO(tok_object) tmk = {0};
    const struct tok_child_request child = {.psam_number = r->psam_number,
                                            .suite = r->suite,
                                            .domain = TOK_DOMAIN_TMK,
                                            .master_version = r->master_version,
                                            .use = TOK_CHILD_WRAPS};
    const bool tdes = r->suite == TOK_TDES;
    const bool with_left = r->usage == TOK_MAK && r->key_bytes == 16;
    TRY(tok_way_chosen(s->tok, tdes ? TOK_FLOW_WORKING_KEY_TDES : TOK_FLOW_WORKING_KEY_AES, &way, out_grade,
                       e));
    TRY(tok_derive_child(s, &child, &tmk, e));
    if (!tdes)
        return tok_working_aes(s, tmk.handle, out_made, e);
    if (tok_way_is(way, TOK_WAY_CHAIN))
        return tok_working_chain(s, tmk.handle, r->key_bytes, with_left, out_made, e);
    return tok_working_wrap(s, tmk.handle, r->key_bytes, with_left, out_made, e);
}

enum err_code tok_sign_in_new(struct tok_session *s, uint8_t out_sign_in[TOK_SIGN_IN_BYTES], struct err *e)
{
    uint8_t sign_in[TOK_SIGN_IN_BYTES];
    TRY(tok_random(s, sign_in, sizeof sign_in, e));
    sign_in[0] |= 1; /* zeros are no sign-in */
    memcpy(out_sign_in, sign_in, sizeof sign_in);
    return ERR_OK;
}

/* What only form 2 says. */
static enum err_code fill_binding(struct tok_session *s, const struct tok_working_request *r,
                                  struct tok_blob_info *info, struct err *e)
{
    info->form = TOK_BLOB_FORM;
    info->mac_algorithm = r->mac_algorithm;
    if (r->usage == TOK_MAK && r->mac_algorithm == 0)
        info->mac_algorithm = tok_mac_of_suite(r->suite);
    if (r->sign_in == NULL)
        return tok_sign_in_new(s, info->sign_in, e);
    memcpy(info->sign_in, r->sign_in, sizeof info->sign_in);
    return ERR_OK;
}

enum err_code tok_working_key(struct tok_session *s, const struct tok_working_request *request,
                              struct tok_working_key *out_key, struct err *e)
{
    AUTO(tok_made) made = {0};
    struct tok_working_key key = {0};
    struct tok_blob_info info = {.suite = request->suite,
                                 .usage = request->usage,
                                 .key_bytes = request->key_bytes,
                                 .master_version = request->master_version,
                                 .created_ms = clock_wall_ms()};
    TRY(check_request(request, e));
    TRY(tok_check_psam_number(request->psam_number, e));
    memcpy(info.psam_number, request->psam_number, strlen(request->psam_number) + 1);
    TRY(fill_binding(s, request, &info, e));
    TRY(make(s, request, &made, &key.grade, e));
    const struct tok_blob_keys keys = {.key = made.key.handle, .left = made.left.handle};
    struct tok_blob_view view;
    TRY(tok_blob_seal(s, keys, &info, key.blob, &key.blob_len, e));
    TRY(tok_blob_parse(key.blob, key.blob_len, &view, e));
    memcpy(key.kcv, view.info.kcv, sizeof key.kcv);
    memcpy(key.cryptogram, made.cryptogram, made.cryptogram_len);
    key.cryptogram_len = made.cryptogram_len;
    *out_key = key;
    return ERR_OK;
}

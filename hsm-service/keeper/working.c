#include "hsm-service/keeper/cases.h"
#include "hsm-service/keeper/convert.h"

#define KEYS_MOST       3  /* PIK, MAK, TDK */
#define KEY_BYTES_GIVEN 16 /* key_bytes 0 */

/* Single DES is for a MAK at most, and there policy says. */
static enum err_code check_bytes(const struct keeper_policy *policy,
                                 const struct tok_working_request *request, struct err *e)
{
    if (request->key_bytes == 16)
        return ERR_OK;
    if (request->key_bytes != 8 || request->suite != TOK_TDES || request->usage != TOK_MAK)
        return err_set(e, ERR_INPUT, "key_bytes is %u; a %s of suite %s must have 16", request->key_bytes,
                       convert_usage_name(request->usage), tok_suite_name(request->suite));
    if (policy->tdes_mak_bytes_min <= 8)
        return ERR_OK;
    return err_set(e, ERR_DENIED,
                   "key_bytes is 8, and policy.tdes_mak_bytes_min is 16; ask for a MAK of 16 bytes");
}

/* The one algorithm of a MAK; p11 has the suite's where none is named. */
static enum err_code convert_bound_mac(const HsmWorkingSpec *spec, struct tok_working_request *request,
                                       struct err *e)
{
    const enum tok_suite suite = request->suite;
    size_t mac_bytes;
    if (spec->mac_algorithm == POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_UNSPECIFIED)
        return ERR_OK;
    if (request->usage != TOK_MAK)
        return err_set(e, ERR_INPUT, "mac_algorithm is given, but usage is not MAK: only a MAK has one");
    if (convert_mac_algorithm(spec->mac_algorithm, &request->mac_algorithm, &mac_bytes, e) != ERR_OK)
        return err_context(e, "mac_algorithm");
    if (tok_mac_fits(suite, request->key_bytes, request->mac_algorithm))
        return ERR_OK;
    return err_set(e, ERR_INPUT, "mac_algorithm is %s; a MAK of %u bytes and suite %s serves %s",
                   convert_mac_name(request->mac_algorithm), request->key_bytes, tok_suite_name(suite),
                   suite != TOK_TDES         ? "AES_CMAC"
                   : request->key_bytes == 8 ? "UNIONPAY_ECB, X9_9, X9_19 and ISO9797_1"
                                             : "UNIONPAY_ECB, X9_19 and ISO9797_1");
}

static enum err_code convert_spec(const struct keeper_policy *policy, const HsmWorkingSpec *spec,
                                  struct tok_working_request *request, struct err *e)
{
    TRY(convert_usage(spec->usage, &request->usage, e));
    if (request->usage == TOK_TMK)
        return err_set(e, ERR_INPUT, "usage is TMK, which is no working key; it must be PIK, MAK or TDK");
    request->key_bytes = spec->key_bytes == 0 ? KEY_BYTES_GIVEN : spec->key_bytes;
    TRY(check_bytes(policy, request, e));
    return convert_bound_mac(spec, request, e);
}

/* All specs are read before the first key is made. */
static enum err_code convert_request(const struct keeper_policy *policy, const HsmWorkingRequest *in,
                                     struct tok_working_request requests[KEYS_MOST], struct err *e)
{
    struct tok_working_request common = {.psam_number = in->psam_number,
                                         .master_version = in->master_version};
    TRY(convert_psam_number(in->psam_number, e));
    TRY(convert_suite(in->suite, &common.suite, e));
    TRY(convert_version(in->master_version, "master_version", false, e));
    TRY(convert_wrap_version(in->wrap_version, common.suite, &common.wrap_version, e));
    if (in->n_keys < 1 || in->n_keys > KEYS_MOST)
        return err_set(e, ERR_INPUT, "keys has %zu items; it must have 1 to %d", in->n_keys, KEYS_MOST);
    for (size_t i = 0; i < in->n_keys; i++) {
        requests[i] = common;
        if (convert_spec(policy, in->keys[i], &requests[i], e) != ERR_OK)
            return err_context(e, "keys[%zu]", i);
        for (size_t before = 0; before < i; before++)
            if (requests[before].usage == requests[i].usage)
                return err_set(e, ERR_INPUT, "keys[%zu] has the usage of keys[%zu]", i, before);
    }
    return ERR_OK;
}

static enum err_code make_key(struct keeper_call *call, const struct tok_working_request *request,
                              HsmWorkingKey *out_key, Posward__Types__V1__Grade *grade, struct err *e)
{
    struct tok_working_key key = {0};
    struct tok_blob_versions versions;
    call->operations++;
    TRY(tok_working_key(call->session, request, &key, e));
    TRY(tok_blob_versions(call->tok, key.blob, key.blob_len, &versions, e));
    out_key->storage_version = versions.storage;
    out_key->tag_version = versions.tag;
    out_key->usage = convert_usage_back(request->usage);
    *grade = convert_weaker(*grade, convert_grade(key.grade));
    TRY(arena_copy(call->arena, key.cryptogram, key.cryptogram_len, &out_key->cryptogram, e));
    TRY(arena_copy(call->arena, key.kcv, sizeof key.kcv, &out_key->kcv, e));
    return arena_copy(call->arena, key.blob, key.blob_len, &out_key->blob, e);
}

enum err_code case_working_keys(struct keeper_call *call, const ProtobufCMessage *request,
                                ProtobufCMessage *response, struct err *e)
{
    const HsmWorkingRequest *const in = (const HsmWorkingRequest *)request;
    HsmWorkingResponse *const out = (HsmWorkingResponse *)response;
    struct tok_working_request requests[KEYS_MOST] = {0};
    uint8_t sign_in[TOK_SIGN_IN_BYTES];
    TRY(convert_request(call->policy, in, requests, e));
    TRY(tok_sign_in_new(call->session, sign_in, e));

    HsmWorkingKey **const keys = arena_take(call->arena, in->n_keys * sizeof(HsmWorkingKey *));
    if (keys == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    for (size_t i = 0; i < in->n_keys; i++) {
        ProtobufCMessage *key = NULL;
        TRY(case_message(call, &posward__hsm__v1__working_key__descriptor, &key, e));
        keys[i] = (HsmWorkingKey *)key;
        requests[i].sign_in = sign_in; /* what a transaction will know them by as keys of one sign-in */
        TRY(make_key(call, &requests[i], keys[i], &out->grade, e));
    }
    out->n_keys = in->n_keys;
    out->keys = keys;
    return ERR_OK;
}

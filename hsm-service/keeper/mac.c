#include "hsm-service/keeper/blob_rule.h"
#include "hsm-service/keeper/convert.h"

/* A shorter MAC is guessed too soon; 4 characters of UnionPay's are 2 bytes. p11 holds this too. */
#define MAC_LEAST          4
#define MAC_LEAST_UNIONPAY 8

/* What both requests have. */
static enum err_code convert_request(const HsmMacRequest *in, struct tok_mac_request *out_request,
                                     size_t *out_mac_bytes, struct err *e)
{
    struct tok_mac_request request = {.data = in->data.data, .len = in->data.len};
    TRY(convert_key_ref(in->key, "key", &request.key, e));
    TRY(convert_mac_algorithm(in->algorithm, &request.algorithm, out_mac_bytes, e));
    TRY(convert_length(in->data.len, "data", 1, TOK_DATA_BYTES, e));
    *out_request = request;
    return ERR_OK;
}

/* A blob's MAK serves one algorithm: under another, a MAC may be the cipher of a chosen block. */
static enum err_code check_key(const struct keeper_call *call, const struct tok_mac_request *request,
                               struct err *e)
{
    struct tok_blob_info info;
    TRY(blob_rule_ref(call, &request->key, &info, e));
    if (info.usage != TOK_MAK || info.mac_algorithm == request->algorithm)
        return ERR_OK; /* a zone's key serves all; p11 refuses another usage */
    return err_set(
        e, ERR_DENIED,
        "the MAK was made for %s and does not serve %s; mac_algorithm of GenerateWorkingKeys chooses",
        convert_mac_name(info.mac_algorithm), convert_mac_name(request->algorithm));
}

enum err_code case_generate_mac(struct keeper_call *call, const ProtobufCMessage *request,
                                ProtobufCMessage *response, struct err *e)
{
    HsmMacResponse *const out = (HsmMacResponse *)response;
    struct tok_mac_request make;
    struct tok_mac_value mac;
    size_t mac_bytes;
    TRY(convert_request((const HsmMacRequest *)request, &make, &mac_bytes, e));
    TRY(check_key(call, &make, e));
    make.key.out_zone_version = &out->zone_version;
    call->operations++;
    TRY(tok_mac_make(call->session, &make, &mac, e));
    out->grade = convert_grade(mac.grade);
    out->reseal_advised = case_is_stale(call, &make.key);
    return arena_copy(call->arena, mac.bytes, mac.len, &out->mac, e);
}

enum err_code case_verify_mac(struct keeper_call *call, const ProtobufCMessage *request,
                              ProtobufCMessage *response, struct err *e)
{
    const HsmVerifyRequest *const in = (const HsmVerifyRequest *)request;
    HsmVerifyResponse *const out = (HsmVerifyResponse *)response;
    HsmMacRequest fields = POSWARD__HSM__V1__GENERATE_MAC_REQUEST__INIT;
    struct tok_mac_request check;
    size_t mac_bytes;
    fields.key = in->key;
    fields.algorithm = in->algorithm;
    fields.data = in->data;
    TRY(convert_request(&fields, &check, &mac_bytes, e));
    const size_t least = check.algorithm == TOK_MAC_UNIONPAY ? MAC_LEAST_UNIONPAY : MAC_LEAST;
    TRY(convert_length(in->mac.len, "mac", least, mac_bytes, e));
    check.mac = in->mac.data;
    check.mac_len = in->mac.len;
    check.key.out_zone_version = &out->zone_version;
    TRY(check_key(call, &check, e));

    bool matches = false;
    enum tok_grade grade;
    call->operations++;
    TRY(tok_mac_check(call->session, &check, &matches, &grade, e));
    out->matches = matches;
    out->grade = convert_grade(grade);
    out->reseal_advised = case_is_stale(call, &check.key);
    return ERR_OK;
}

#include "hsm-service/keeper/cases.h"
#include "hsm-service/keeper/convert.h"

/* A shorter MAC is guessed too soon; 4 characters of UnionPay's are 2 bytes. p11 holds this too. */
#define MAC_LEAST          4
#define MAC_LEAST_UNIONPAY 8

enum err_code case_generate_mac(struct keeper_call *call, const ProtobufCMessage *request,
                                ProtobufCMessage *response, struct err *e)
{
    const HsmMacRequest *const in = (const HsmMacRequest *)request;
    HsmMacResponse *const out = (HsmMacResponse *)response;
    struct tok_key_ref key;
    enum tok_mac algorithm;
    size_t mac_bytes;
    TRY(convert_key_ref(in->key, "key", &key, e));
    TRY(convert_mac_algorithm(in->algorithm, &algorithm, &mac_bytes, e));
    TRY(convert_length(in->data.len, "data", 1, TOK_DATA_BYTES, e));

    uint8_t mac[TOK_MAC_BYTES];
    size_t len = 0;
    enum tok_grade grade;
    call->operations++;
    TRY(tok_mac_make(call->session, algorithm, &key, in->data.data, in->data.len, mac, &len, &grade, e));
    out->grade = convert_grade(grade);
    return arena_copy(call->arena, mac, len, &out->mac, e);
}

enum err_code case_verify_mac(struct keeper_call *call, const ProtobufCMessage *request,
                              ProtobufCMessage *response, struct err *e)
{
    const HsmVerifyRequest *const in = (const HsmVerifyRequest *)request;
    HsmVerifyResponse *const out = (HsmVerifyResponse *)response;
    struct tok_key_ref key;
    enum tok_mac algorithm;
    size_t mac_bytes;
    TRY(convert_key_ref(in->key, "key", &key, e));
    TRY(convert_mac_algorithm(in->algorithm, &algorithm, &mac_bytes, e));
    TRY(convert_length(in->data.len, "data", 1, TOK_DATA_BYTES, e));
    const size_t least = algorithm == TOK_MAC_UNIONPAY ? MAC_LEAST_UNIONPAY : MAC_LEAST;
    TRY(convert_length(in->mac.len, "mac", least, mac_bytes, e));

    bool matches = false;
    enum tok_grade grade;
    call->operations++;
    TRY(tok_mac_check(call->session, algorithm, &key, in->data.data, in->data.len, in->mac.data, in->mac.len,
                      &matches, &grade, e));
    out->matches = matches;
    out->grade = convert_grade(grade);
    return ERR_OK;
}

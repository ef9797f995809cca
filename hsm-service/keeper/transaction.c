#include "hsm-service/keeper/cases.h"
#include "hsm-service/keeper/convert.h"

/* Verify the MAC; *out_go_on is false when it does not match. */
static enum err_code check_mac(struct keeper_call *call, const HsmTransactionRequest *in,
                               HsmTransactionResponse *out, bool *out_go_on, struct err *e)
{
    ProtobufCMessage *part = NULL;
    *out_go_on = true;
    if (in->mac == NULL)
        return ERR_OK;
    TRY(case_message(call, &posward__hsm__v1__verify_mac_response__descriptor, &part, e));
    if (case_verify_mac(call, &in->mac->base, part, e) != ERR_OK)
        return err_context(e, "mac");
    out->mac = (HsmVerifyResponse *)part;
    out->grade = convert_weaker(out->grade, out->mac->grade);
    out->reseal_advised |= out->mac->reseal_advised;
    *out_go_on = out->mac->matches;
    return ERR_OK;
}

static enum err_code translate_pin(struct keeper_call *call, const HsmTransactionRequest *in,
                                   HsmTransactionResponse *out, struct err *e)
{
    ProtobufCMessage *part = NULL;
    if (in->pin == NULL)
        return ERR_OK;
    TRY(case_message(call, &posward__hsm__v1__translate_pin_response__descriptor, &part, e));
    if (case_translate_pin(call, &in->pin->base, part, e) != ERR_OK)
        return err_context(e, "pin");
    out->pin = (HsmPinResponse *)part;
    out->grade = convert_weaker(out->grade, out->pin->grade);
    out->reseal_advised |= out->pin->reseal_advised;
    return ERR_OK;
}

static enum err_code decipher_track(struct keeper_call *call, const HsmTransactionRequest *in,
                                    HsmTransactionResponse *out, struct err *e)
{
    ProtobufCMessage *part = NULL;
    if (in->track == NULL)
        return ERR_OK;
    TRY(case_message(call, &posward__hsm__v1__decrypt_data_response__descriptor, &part, e));
    if (case_decrypt(call, &in->track->base, part, e) != ERR_OK)
        return err_context(e, "track");
    out->track = (HsmDecryptResponse *)part;
    out->grade = convert_weaker(out->grade, out->track->grade);
    out->reseal_advised |= out->track->reseal_advised;
    return ERR_OK;
}

/* With a MAC that does not match nothing else is done: a forged message learns nothing about its PIN block.
 */
enum err_code case_transaction(struct keeper_call *call, const ProtobufCMessage *request,
                               ProtobufCMessage *response, struct err *e)
{
    const HsmTransactionRequest *const in = (const HsmTransactionRequest *)request;
    HsmTransactionResponse *const out = (HsmTransactionResponse *)response;
    bool go_on = true;
    if (in->mac == NULL && in->pin == NULL && in->track == NULL)
        return err_set(e, ERR_INPUT, "a transaction needs at least one of mac, pin and track");
    TRY(check_mac(call, in, out, &go_on, e));
    if (!go_on)
        return ERR_OK;
    TRY(translate_pin(call, in, out, e));
    return decipher_track(call, in, out, e);
}

#include "base/secret.h"
#include "hsm-service/ipc.h"
#include "hsm-service/keeper/blob_rule.h"
#include "hsm-service/keeper/cases.h"
#include "hsm-service/keeper/convert.h"
#include "iso8583/card.h"

#include <string.h>

static size_t block_bytes(enum tok_pin_format format)
{
    return format == TOK_PIN_4 ? 16 : 8;
}

/* A key that is not proven is nobody's: its blob only says whose it is. */
static bool is_proven(struct keeper_call *call, const struct tok_key_ref *source)
{
    struct tok_blob_info info;
    struct err e = {0};
    return source->blob == NULL ||
           tok_blob_info(call->session, source->blob, source->blob_len, &info, &e) == ERR_OK;
}

/* What the front counts before it lets the answer go. */
static void note_use(struct keeper_call *call, const struct tok_pin_request *pin, enum err_code code)
{
    char account[ISO_ACCOUNT_DIGITS + 1];
    if (code != ERR_OK && (code != ERR_CHECK || !is_proven(call, &pin->source)))
        return;
    iso_card_account(pin->pan, account);
    struct ipc_pin_use use = {.item = call->item,
                              .decoded = pin->source_format != pin->destination_format,
                              .failed = code == ERR_CHECK};
    memcpy(use.account, account, sizeof use.account);
    ipc_pin_use_pack(&use, call->pin_uses + call->pin_use_count++ * IPC_PIN_USE_BYTES);
    secret_wipe(account, sizeof account);
}

enum err_code pin_translate(struct keeper_call *call, struct tok_pin_request *pin, HsmPinResponse *out,
                            struct err *e)
{
    uint8_t block[16];
    size_t len = 0;
    enum tok_grade grade;
    if (call->pin_use_count == IPC_PIN_USES_MAX) /* what cannot be counted is not done */
        return err_set(e, ERR_INTERNAL, "more PIN operations than a batch has items");
    pin->source.out_zone_version = &out->source_zone_version;
    pin->destination.out_zone_version = &out->destination_zone_version;
    call->operations++;
    const enum err_code code = tok_pin_translate(call->session, pin, block, &len, &grade, e);
    note_use(call, pin, code);
    TRY(code);
    out->grade = convert_grade(grade);
    out->reseal_advised = case_is_stale(call, &pin->source) || case_is_stale(call, &pin->destination);
    return arena_copy(call->arena, block, len, &out->block, e);
}

enum err_code case_translate_pin(struct keeper_call *call, const ProtobufCMessage *request,
                                 ProtobufCMessage *response, struct err *e)
{
    const HsmPinRequest *const in = (const HsmPinRequest *)request;
    struct tok_pin_request pin = {.pan = in->pan, .block = in->block.data, .block_len = in->block.len};
    TRY(convert_key_ref(in->source, "source", &pin.source, e));
    TRY(convert_key_ref(in->destination, "destination", &pin.destination, e));
    TRY(convert_pin_format(in->source_format, "source_format", &pin.source_format, e));
    TRY(convert_pin_format(in->destination_format, "destination_format", &pin.destination_format, e));
    TRY(convert_pan(in->pan, e));
    const size_t needed = block_bytes(pin.source_format);
    TRY(convert_length(in->block.len, "block", needed, needed, e));
    TRY(blob_rule_ref(call, &pin.source, NULL, e)); /* no blob is a destination */
    return pin_translate(call, &pin, (HsmPinResponse *)response, e);
}

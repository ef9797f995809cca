#include "hsm-service/keeper/cases.h"
#include "hsm-service/keeper/convert.h"

#define CHALLENGE_AES  8
#define CHALLENGE_PBOC 4

/* The version that is meant by 0. 0 is left where there is no such key: p11 says which one is missing. */
static unsigned resolve(struct keeper_call *call, unsigned version, enum tok_role role, bool tdes)
{
    return version != 0 ? version : tok_keys_current(call->tok, role, tdes ? TOK_TDES : TOK_AES_256, "");
}

static enum err_code convert_request(struct keeper_call *call, const HsmDiversifyRequest *in,
                                     struct tok_card_request *out_request, struct err *e)
{
    struct tok_card_request request = {
        .psam_number = in->psam_number, .challenge = in->challenge.data, .challenge_len = in->challenge.len};
    TRY(convert_psam_number(in->psam_number, e));
    TRY(convert_suite(in->suite, &request.suite, e));
    TRY(convert_version(in->master_version, "master_version", true, e));
    TRY(convert_profile(in->profile, &request.profile, e));
    TRY(convert_wrap_version(in->wrap_version, request.suite, &request.wrap_version, e));
    TRY(convert_version(in->control_version, "control_version", true, e));
    const bool pboc = request.profile == TOK_CARD_PBOC;
    if (pboc && request.suite != TOK_TDES)
        return err_set(e, ERR_INPUT, "profile PBOC takes suite TDES only");
    const size_t needed = pboc ? CHALLENGE_PBOC : CHALLENGE_AES;
    TRY(convert_length(in->challenge.len, "challenge", needed, needed, e));
    request.master_version = resolve(call, in->master_version, TOK_PSAM_MASTER, request.suite == TOK_TDES);
    request.control_version = resolve(call, in->control_version, TOK_CARD_CONTROL, pboc);
    *out_request = request;
    return ERR_OK;
}

enum err_code case_diversify(struct keeper_call *call, const ProtobufCMessage *request,
                             ProtobufCMessage *response, struct err *e)
{
    HsmDiversifyResponse *const out = (HsmDiversifyResponse *)response;
    struct tok_card_request card = {0};
    TRY(convert_request(call, (const HsmDiversifyRequest *)request, &card, e));

    struct tok_card_script script = {0};
    struct tok_blob_versions versions;
    call->operations++;
    TRY(tok_card_script(call->session, &card, &script, e));
    ProtobufCBinaryData *const apdus = arena_take(call->arena, sizeof *apdus);
    if (apdus == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    TRY(arena_copy(call->arena, script.apdu, script.apdu_len, &apdus[0], e));
    TRY(arena_copy(call->arena, script.kcv, sizeof script.kcv, &out->kcv, e));
    TRY(arena_copy(call->arena, script.blob, script.blob_len, &out->tmk_blob, e));
    TRY(tok_blob_versions(call->tok, script.blob, script.blob_len, &versions, e));
    out->control_version = card.control_version;
    out->storage_version = versions.storage;
    out->tag_version = versions.tag;
    out->apdus = apdus;
    out->n_apdus = 1;
    out->master_version = card.master_version;
    out->grade = convert_grade(script.grade);
    return ERR_OK;
}

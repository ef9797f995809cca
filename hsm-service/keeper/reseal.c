#include "base/clock.h"
#include "hsm-service/keeper/cases.h"
#include "hsm-service/keeper/convert.h"
#include "rpc/status.h"

#define BLOBS_MOST 256

static enum err_code reseal_one(struct keeper_call *call, const ProtobufCBinaryData *blob,
                                HsmResealResult *out, struct err *e)
{
    struct tok_resealed resealed;
    if (clock_monotonic_ms() >= call->deadline_ms)
        return err_set(e, ERR_TIMEOUT, "the deadline passed before this blob's turn");
    call->operations++;
    TRY(tok_blob_reseal(call->session, blob->data, blob->len, &resealed, e));
    TRY(arena_copy(call->arena, resealed.blob, resealed.blob_len, &out->blob, e));
    out->changed = resealed.changed;
    out->storage_version = resealed.versions.storage;
    out->tag_version = resealed.versions.tag;
    out->grade = POSWARD__TYPES__V1__GRADE__GRADE_IN_TOKEN;
    return ERR_OK;
}

/* A blob's failure is its own; a token that went away is everybody's, and the call is run once more. */
static enum err_code answer_one(struct keeper_call *call, const ProtobufCBinaryData *blob,
                                HsmResealResult *out, struct err *e)
{
    struct err own = {0};
    const enum err_code code = reseal_one(call, blob, out, &own);
    if (code == ERR_OK)
        return ERR_OK;
    if (code == ERR_UNAVAILABLE) {
        *e = own;
        return code;
    }
    out->status = rpc_status_of(own.code);
    return arena_text(call->arena, own.note, &out->message, e);
}

enum err_code case_reseal(struct keeper_call *call, const ProtobufCMessage *request,
                          ProtobufCMessage *response, struct err *e)
{
    const HsmResealRequest *const in = (const HsmResealRequest *)request;
    HsmResealResponse *const out = (HsmResealResponse *)response;
    if (in->n_blobs < 1 || in->n_blobs > BLOBS_MOST)
        return err_set(e, ERR_INPUT, "blobs has %zu items; it must have 1 to %d", in->n_blobs, BLOBS_MOST);
    HsmResealResult **const results = arena_take(call->arena, in->n_blobs * sizeof(HsmResealResult *));
    if (results == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    for (size_t i = 0; i < in->n_blobs; i++) {
        ProtobufCMessage *result = NULL;
        TRY(case_message(call, &posward__hsm__v1__reseal_result__descriptor, &result, e));
        results[i] = (HsmResealResult *)result;
        TRY(answer_one(call, &in->blobs[i], results[i], e));
    }
    out->n_results = in->n_blobs;
    out->results = results;
    return ERR_OK;
}

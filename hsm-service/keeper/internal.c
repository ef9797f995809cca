#include "hsm-service/keeper/internal.h"

#include "hsm-service/ipc.h"
#include "hsm-service/keeper/order.h"

static enum err_code sign_once(struct keeper_call *call, const uint8_t *digest, uint8_t *out_answer,
                               struct err *e)
{
    if (call->session == NULL)
        TRY(tok_session_take(call->tok, &call->session, e));
    TRY(tok_audit_point(call->session, out_answer, e));
    return tok_audit_sign(call->session, digest, out_answer + TOK_POINT_BYTES, e);
}

static enum err_code sign(struct keeper_call *call, const uint8_t *body, size_t len,
                          ProtobufCBinaryData *out_answer, struct err *e)
{
    if (len != TOK_DIGEST_BYTES)
        return err_set(e, ERR_INPUT, "a digest has %d bytes, not %zu", TOK_DIGEST_BYTES, len);
    uint8_t *const answer = arena_take(call->arena, TOK_POINT_BYTES + TOK_SIGNATURE_BYTES);
    if (answer == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    call->operations++;
    enum err_code code = sign_once(call, body, answer, e);
    if (code == ERR_UNAVAILABLE && call->session != NULL) {
        tok_session_discard(call->session);
        call->session = NULL;
        code = sign_once(call, body, answer, e);
    }
    call->token_away |= code == ERR_UNAVAILABLE;
    if (call->session != NULL)
        tok_session_give(call->session);
    call->session = NULL;
    TRY(code);
    *out_answer = (ProtobufCBinaryData){.len = TOK_POINT_BYTES + TOK_SIGNATURE_BYTES, .data = answer};
    return ERR_OK;
}

enum err_code internal_serve(struct keeper_call *call, unsigned index, const uint8_t *body, size_t len,
                             ProtobufCBinaryData *out_answer, struct err *e)
{
    if (index == IPC_SIGN_CHECKPOINT)
        return sign(call, body, len, out_answer, e);
    if (index == IPC_KEY_ORDER)
        return order_serve(call, body, len, out_answer, e);
    return err_set(e, ERR_UNSUPPORTED, "a keeper has no internal method %u", index);
}

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

static uint8_t *put(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        *at++ = (uint8_t)(value >> 8 * (bytes - 1 - i));
    return at;
}

static void tell_health(const struct tok_health *health, uint8_t out_answer[IPC_HEALTH_BYTES])
{
    uint8_t *at = out_answer;
    const uint64_t small[] = {health->sessions,      health->sessions_idle, health->relogins,
                              health->reinitialised, health->cached,        health->cache_room};
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
        at = put(at, small[i], 4);
    at = put(at, health->cache_hits, 8);
    (void)put(at, health->cache_misses, 8);
}

static enum err_code probe_once(struct keeper_call *call, struct err *e)
{
    if (call->session == NULL)
        TRY(tok_session_take(call->tok, &call->session, e));
    return tok_probe(call->session, e);
}

/* The session on top of the stack: the others show when they are taken. */
static enum err_code probe(struct keeper_call *call, ProtobufCBinaryData *out_answer, struct err *e)
{
    struct tok_health health;
    uint8_t *const answer = arena_take(call->arena, IPC_HEALTH_BYTES);
    if (answer == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    enum err_code code = probe_once(call, e);
    if (code == ERR_UNAVAILABLE && call->session != NULL) {
        tok_session_discard(call->session);
        call->session = NULL;
        code = probe_once(call, e);
    }
    call->token_away |= code == ERR_UNAVAILABLE;
    if (call->session != NULL)
        tok_session_give(call->session);
    call->session = NULL;
    TRY(code);
    tok_health(call->tok, &health);
    tell_health(&health, answer);
    *out_answer = (ProtobufCBinaryData){.len = IPC_HEALTH_BYTES, .data = answer};
    return ERR_OK;
}

enum err_code internal_serve(struct keeper_call *call, unsigned index, const uint8_t *body, size_t len,
                             ProtobufCBinaryData *out_answer, struct err *e)
{
    if (index == IPC_SIGN_CHECKPOINT)
        return sign(call, body, len, out_answer, e);
    if (index == IPC_PROBE)
        return probe(call, out_answer, e);
    if (index == IPC_KEY_ORDER)
        return order_serve(call, body, len, out_answer, e);
    return err_set(e, ERR_UNSUPPORTED, "a keeper has no internal method %u", index);
}

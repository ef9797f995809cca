#include "hsm-service/keeper/internal.h"
#include "p11/tok.h"

#include "hsm-service/ipc.h"
#include "hsm-service/keeper/order.h"

typedef enum err_code (*session_fn)(struct tok_session *s, const uint8_t *body, uint8_t *out_answer,
                                    struct err *e);

static enum err_code run_once(struct keeper_call *call, session_fn run, const uint8_t *body,
                              uint8_t *out_answer, struct err *e)
{
    if (call->session == NULL)
        TRY(tok_session_take(call->tok, &call->session, e));
    return run(call->session, body, out_answer, e);
}

/* As for gRPC's methods: once more when the session died. */
static enum err_code on_session(struct keeper_call *call, session_fn run, const uint8_t *body,
                                uint8_t *out_answer, struct err *e)
{
    enum err_code code = run_once(call, run, body, out_answer, e);
    if (code == ERR_UNAVAILABLE && call->session != NULL) {
        tok_session_discard(call->session);
        call->session = NULL;
        code = run_once(call, run, body, out_answer, e);
    }
    call->token_away |= code == ERR_UNAVAILABLE;
    if (call->session != NULL)
        tok_session_give(call->session);
    call->session = NULL;
    return code;
}

static enum err_code take_answer(struct keeper_call *call, size_t len, ProtobufCBinaryData *out_answer,
                                 struct err *e)
{
    uint8_t *const answer = arena_take(call->arena, len);
    if (answer == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    *out_answer = (ProtobufCBinaryData){.len = len, .data = answer};
    return ERR_OK;
}

static enum err_code sign_digest(struct tok_session *s, const uint8_t *body, uint8_t *out_answer,
                                 struct err *e)
{
    TRY(tok_audit_point(s, out_answer, e));
    return tok_audit_sign(s, body, out_answer + TOK_POINT_BYTES, e);
}

static enum err_code sign(struct keeper_call *call, const uint8_t *body, size_t len,
                          ProtobufCBinaryData *out_answer, struct err *e)
{
    if (len != TOK_DIGEST_BYTES)
        return err_set(e, ERR_INPUT, "a digest has %d bytes, not %zu", TOK_DIGEST_BYTES, len);
    TRY(take_answer(call, TOK_POINT_BYTES + TOK_SIGNATURE_BYTES, out_answer, e));
    call->operations++;
    return on_session(call, sign_digest, body, out_answer->data, e);
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

static enum err_code probe_token(struct tok_session *s, const uint8_t *body, uint8_t *out_answer,
                                 struct err *e)
{
    (void)body;
    (void)out_answer;
    return tok_probe(s, e);
}

static enum err_code probe(struct keeper_call *call, ProtobufCBinaryData *out_answer, struct err *e)
{
    struct tok_health health;
    TRY(take_answer(call, IPC_HEALTH_BYTES, out_answer, e));
    TRY(on_session(call, probe_token, NULL, NULL, e));
    tok_health(call->tok, &health);
    tell_health(&health, out_answer->data);
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

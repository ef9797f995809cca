#include "base/log.h"
#include "hsm-service/ipc.h"
#include "hsm-service/keeper/cases.h"
#include "p11/tok.h"

enum err_code case_message(struct keeper_call *call, const ProtobufCMessageDescriptor *descriptor,
                           ProtobufCMessage **out_message, struct err *e)
{
    ProtobufCMessage *const message = arena_take(call->arena, descriptor->sizeof_message);
    if (message == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    protobuf_c_message_init(descriptor, message);
    *out_message = message;
    return ERR_OK;
}

enum err_code case_unpack(struct keeper_call *call, const ProtobufCMessageDescriptor *descriptor,
                          const uint8_t *body, size_t len, ProtobufCMessage **out_message, struct err *e)
{
    ProtobufCMessage *const message =
        protobuf_c_message_unpack(descriptor, &call->arena->allocator, len, body);
    if (message == NULL && call->arena->exhausted)
        return err_set(e, ERR_LIMIT, "the message unpacks to more memory than a request may use");
    if (message == NULL)
        return err_set(e, ERR_INPUT, "the message is not a %s", descriptor->name);
    *out_message = message;
    return ERR_OK;
}

enum err_code case_pack(struct keeper_call *call, const ProtobufCMessage *message,
                        ProtobufCBinaryData *out_answer, struct err *e)
{
    const size_t len = protobuf_c_message_get_packed_size(message);
    if (len > IPC_BODY_BYTES)
        return err_set(e, ERR_LIMIT,
                       "the answer would have %zu bytes, at most %d are sent; ask for less at once", len,
                       IPC_BODY_BYTES);
    uint8_t *const bytes = arena_take(call->arena, len);
    if (bytes == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    *out_answer = (ProtobufCBinaryData){.len = protobuf_c_message_pack(message, bytes), .data = bytes};
    return ERR_OK;
}

static enum err_code run_once(struct keeper_call *call, const struct keeper_use *use,
                              const ProtobufCMessage *request, ProtobufCMessage **out_answer, struct err *e)
{
    ProtobufCMessage *answer = NULL;
    if (use->needs_session && call->session == NULL)
        TRY(tok_session_take(call->tok, &call->session, e));
    TRY(case_message(call, use->answer, &answer, e));
    TRY(use->run(call, request, answer, e));
    *out_answer = answer;
    return ERR_OK;
}

enum err_code case_run(struct keeper_call *call, const struct keeper_use *use,
                       const ProtobufCMessage *request, ProtobufCMessage **out_answer, struct err *e)
{
    if (call->token_away)
        return err_set(e, ERR_UNAVAILABLE, "the token went away during this call");
    enum err_code code = run_once(call, use, request, out_answer, e);
    if (code == ERR_DENIED && call->session != NULL && !tok_session_alive(call->session))
        code = ERR_UNAVAILABLE; /* SoftHSM: once the login is gone, no key permits any use */
    if (code == ERR_UNAVAILABLE && call->session != NULL) {
        tok_session_discard(call->session);
        call->session = NULL;
        code = run_once(call, use, request, out_answer, e);
    }
    log_event(LOG_DEBUG, "operation done", LOG_STR("answer", use->answer->short_name),
              LOG_STR("result", err_name(code)));
    call->token_away |= code == ERR_UNAVAILABLE; /* a batch succeeds though its items did not */
    return code;
}

bool case_is_stale(const struct keeper_call *call, const struct tok_key_ref *ref)
{
    struct tok_blob_versions versions;
    return ref->blob != NULL &&
           tok_blob_versions(call->tok, ref->blob, ref->blob_len, &versions, NULL) == ERR_OK &&
           !versions.current;
}

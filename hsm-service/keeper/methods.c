#include "hsm-service/keeper/methods.h"
#include "p11/tok.h"

#include "base/log.h"
#include "hsm-service/ipc.h"
#include "hsm-service/keeper/internal.h"

#include <string.h>

enum method_needs { NEEDS_SESSION, NEEDS_NOTHING };

static const struct method_row {
    const char *name; /* as in the .proto */
    keeper_case run;
    enum method_needs needs;
} data_plane[] =
    {
        {"DiversifyCardKey", case_diversify, NEEDS_SESSION},
        {"GenerateWorkingKeys", case_working_keys, NEEDS_SESSION},
        {"GenerateMac", case_generate_mac, NEEDS_SESSION},
        {"VerifyMac", case_verify_mac, NEEDS_SESSION},
        {"TranslatePin", case_translate_pin, NEEDS_SESSION},
        {"EncryptData", case_encrypt, NEEDS_SESSION},
        {"DecryptData", case_decrypt, NEEDS_SESSION},
        {"ProcessTransaction", case_transaction, NEEDS_SESSION},
        {"ProcessBatch", case_batch, NEEDS_SESSION},
        {"ResealBlobs", case_reseal, NEEDS_SESSION},
        {0},
},
  control[] = {
      {"GetTokenReport", case_token_report, NEEDS_NOTHING},
      {"ListKeys", case_list_keys, NEEDS_NOTHING},
      {0},
};

static const struct service_row {
    enum ipc_service id;
    const ProtobufCServiceDescriptor *service;
    const struct method_row *methods; /* ends with a row without a name */
} services[] = {
    {IPC_DATA_PLANE, &posward__hsm__v1__data_plane__descriptor, data_plane},
    {IPC_CONTROL, &posward__hsm__v1__control__descriptor, control},
};

struct found_method {
    const struct method_row *row;
    const ProtobufCMethodDescriptor *descriptor;
};

static bool find_method(uint16_t method, struct found_method *out_found)
{
    const unsigned index = method & 0xFF;
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        const ProtobufCServiceDescriptor *const service = services[i].service;
        if ((unsigned)services[i].id != method >> 8 || index >= service->n_methods)
            continue;
        for (const struct method_row *row = services[i].methods; row->name != NULL; row++)
            if (strcmp(row->name, service->methods[index].name) == 0) {
                *out_found = (struct found_method){row, &service->methods[index]};
                return true;
            }
    }
    return false;
}

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

enum err_code methods_serve(struct keeper_call *call, uint16_t method, const uint8_t *body, size_t len,
                            ProtobufCBinaryData *out_answer, struct err *e)
{
    struct found_method found;
    ProtobufCMessage *request = NULL, *answer = NULL;
    if (method >> 8 == IPC_INTERNAL)
        return internal_serve(call, method & 0xFF, body, len, out_answer, e);
    if (!find_method(method, &found))
        return err_set(e, ERR_UNSUPPORTED, "a keeper does not serve method %04x", method);
    TRY(case_unpack(call, found.descriptor->input, body, len, &request, e));
    const struct keeper_use use = {found.row->run, found.descriptor->output,
                                   found.row->needs == NEEDS_SESSION};
    const enum err_code code = case_run(call, &use, request, &answer, e);
    if (call->session != NULL)
        tok_session_give(call->session);
    call->session = NULL;
    TRY(code);
    return case_pack(call, answer, out_answer, e);
}

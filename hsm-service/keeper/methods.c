#include "hsm-service/keeper/methods.h"

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

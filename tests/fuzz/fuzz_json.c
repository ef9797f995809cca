/* JSON into a message with every kind of field, and back: what is read must be writable. */
#include "rpc/json.h"

#include <kinds.pb-c.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *const json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    if (json != NULL &&
        rpc_json_to_message(json, &posward__kinds__v1__all__descriptor, &message, &e) == ERR_OK) {
        json_t *again = NULL;
        if (rpc_json_from_message(message, true, &again, &e) != ERR_OK)
            __builtin_trap();
        json_decref(again);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    json_decref(json);
    return 0;
}

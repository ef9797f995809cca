#include "rpc/server_state.h"
#include "rpc/status.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FILES 64 /* of one answer: a file and what it imports */

typedef Grpc__Reflection__V1__ServerReflectionRequest request_t;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_t;
typedef Google__Protobuf__FileDescriptorProto file_t;

struct files {
    const file_t *items[MAX_FILES];
    size_t count;
};

static void add_file(const file_t *file, struct files *files)
{
    if (file == NULL || files->count == MAX_FILES)
        return;
    for (size_t i = 0; i < files->count; i++)
        if (files->items[i] == file)
            return;
    files->items[files->count++] = file;
}

/* The file asked for first, then everything that it imports, directly or not. */
static void add_imports(const struct rpc_index *index, struct files *files)
{
    for (size_t done = 0; done < files->count; done++)
        for (size_t i = 0; i < files->items[done]->n_dependency; i++)
            add_file(rpc_index_file(index, files->items[done]->dependency[i]), files);
}

typedef void (*send_fn)(const response_t *response, struct rpc_call *call);

static void send_error(response_t *response, enum err_code code, const char *text, struct rpc_call *call,
                       send_fn send)
{
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    error.error_code = rpc_status_of(code);
    error.error_message = (char *)text;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response->error_response = &error;
    send(response, call);
    response->error_response = NULL;
}

static void send_file(response_t *response, const file_t *file, struct rpc_call *call, send_fn send)
{
    if (file == NULL) {
        send_error(response, ERR_NOT_FOUND, "no such file or symbol here", call, send);
        return;
    }
    const struct rpc_index *index = &call->server->index;
    struct files files = {0};
    add_file(file, &files);
    add_imports(index, &files);
    ProtobufCBinaryData packed[MAX_FILES];
    for (size_t i = 0; i < files.count; i++) {
        packed[i].len = google__protobuf__file_descriptor_proto__get_packed_size(files.items[i]);
        packed[i].data = malloc(packed[i].len);
        if (packed[i].data == NULL)
            abort();
        google__protobuf__file_descriptor_proto__pack(files.items[i], packed[i].data);
    }
    Grpc__Reflection__V1__FileDescriptorResponse body = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    body.n_file_descriptor_proto = files.count;
    body.file_descriptor_proto = packed;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response->file_descriptor_response = &body;
    send(response, call);
    response->file_descriptor_response = NULL;
    for (size_t i = 0; i < files.count; i++)
        free(packed[i].data);
}

/* No file here extends a message, so that the list of a known one is empty. */
static void send_extension_numbers(response_t *response, const char *type, struct rpc_call *call,
                                   send_fn send)
{
    if (!rpc_index_is_message(&call->server->index, type)) {
        send_error(response, ERR_NOT_FOUND, "no such message type here", call, send);
        return;
    }
    Grpc__Reflection__V1__ExtensionNumberResponse body =
        GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
    body.base_type_name = (char *)type;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    response->all_extension_numbers_response = &body;
    send(response, call);
    response->all_extension_numbers_response = NULL;
}

/* Methods are sorted by path, so those of one service stand together. */
static size_t list_names(const struct rpc_server *server, Grpc__Reflection__V1__ServiceResponse *out_items)
{
    size_t count = 0;
    for (size_t i = 0; i < server->method_count; i++) {
        const char *path = server->methods[i].path + 1;
        const size_t len = strcspn(path, "/");
        const bool known = count > 0 && strlen(out_items[count - 1].name) == len &&
                           strncmp(out_items[count - 1].name, path, len) == 0;
        if (known)
            continue;
        grpc__reflection__v1__service_response__init(&out_items[count]);
        out_items[count].name = strndup(path, len);
        if (out_items[count].name == NULL)
            abort();
        count++;
    }
    return count;
}

static void send_list(response_t *response, struct rpc_call *call, send_fn send)
{
    Grpc__Reflection__V1__ServiceResponse *items = calloc(RPC_MAX_METHODS, sizeof *items);
    Grpc__Reflection__V1__ServiceResponse **pointers = calloc(RPC_MAX_METHODS, sizeof(void *));
    if (items == NULL || pointers == NULL)
        abort();
    Grpc__Reflection__V1__ListServiceResponse body = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    body.n_service = list_names(call->server, items);
    for (size_t i = 0; i < body.n_service; i++)
        pointers[i] = &items[i];
    body.service = pointers;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response->list_services_response = &body;
    send(response, call);
    response->list_services_response = NULL;
    for (size_t i = 0; i < body.n_service; i++)
        free(items[i].name);
    free(pointers);
    free(items);
}

static void answer(const request_t *request, struct rpc_call *call, send_fn send)
{
    const struct rpc_index *index = &call->server->index;
    response_t response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    response.valid_host = request->host;
    response.original_request = (request_t *)request;
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        send_file(&response, rpc_index_file(index, request->file_by_filename), call, send);
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        send_file(&response, rpc_index_file_of(index, request->file_containing_symbol), call, send);
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        send_list(&response, call, send);
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        send_extension_numbers(&response, request->all_extension_numbers_of_type, call, send);
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
        send_error(&response, ERR_NOT_FOUND, "there are no extensions here", call, send);
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST__NOT_SET:
    case _GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST__CASE_IS_INT_SIZE:
        break;
    }
    send_error(&response, ERR_INPUT, "the request asks for nothing that is known here", call, send);
}

static void send_v1(const response_t *response, struct rpc_call *call)
{
    rpc_answer(&response->base, call);
}

/* v1alpha is v1 under another package name: the same bytes on the wire. NULL when out of memory. */
static ProtobufCMessage *rename_message(const ProtobufCMessage *message, const ProtobufCMessageDescriptor *as)
{
    const size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(len + 1);
    if (bytes == NULL)
        return NULL;
    protobuf_c_message_pack(message, bytes);
    ProtobufCMessage *renamed = protobuf_c_message_unpack(as, NULL, len, bytes);
    free(bytes);
    return renamed;
}

static void send_v1alpha(const response_t *response, struct rpc_call *call)
{
    ProtobufCMessage *renamed =
        rename_message(&response->base, &grpc__reflection__v1alpha__server_reflection_response__descriptor);
    if (renamed == NULL)
        abort();
    rpc_answer(renamed, call);
    protobuf_c_message_free_unpacked(renamed, NULL);
}

static void info_v1(Grpc__Reflection__V1__ServerReflection_Service *service, const request_t *request,
                    Grpc__Reflection__V1__ServerReflectionResponse_Closure closure, void *closure_data)
{
    (void)service;
    if (request == NULL)
        closure(NULL, closure_data);
    else
        answer(request, rpc_call_of(closure_data), send_v1);
}

static void info_v1alpha(Grpc__Reflection__V1alpha__ServerReflection_Service *service,
                         const Grpc__Reflection__V1alpha__ServerReflectionRequest *request,
                         Grpc__Reflection__V1alpha__ServerReflectionResponse_Closure closure,
                         void *closure_data)
{
    (void)service;
    if (request == NULL) {
        closure(NULL, closure_data);
        return;
    }
    ProtobufCMessage *renamed =
        rename_message(&request->base, &grpc__reflection__v1__server_reflection_request__descriptor);
    if (renamed == NULL)
        abort();
    answer((const request_t *)renamed, rpc_call_of(closure_data), send_v1alpha);
    protobuf_c_message_free_unpacked(renamed, NULL);
}

void rpc_reflection_init(struct rpc_server *server)
{
    server->reflection = (struct rpc_reflection){
        .v1 = {.base = GRPC__REFLECTION__V1__SERVER_REFLECTION__BASE_INIT, .server_reflection_info = info_v1},
        .v1alpha = {.base = GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION__BASE_INIT,
                    .server_reflection_info = info_v1alpha},
    };
}

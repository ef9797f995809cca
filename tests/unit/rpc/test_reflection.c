#include "google/protobuf/descriptor.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"
#include "tests/support/echo_server.h"

#include <string.h>

typedef Grpc__Reflection__V1__ServerReflectionRequest request_t;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_t;

#define ASK_FILE   GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME
#define ASK_SYMBOL GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL
#define ASK_LIST   GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES
#define ASK_EXTENSION                                                                                        \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION
#define ASK_NUMBERS                                                                                          \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE
#define GOT_NUMBERS                                                                                          \
    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE
#define GOT_FILES GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE
#define GOT_LIST  GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE
#define GOT_ERROR GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE

static struct echo echo;
static struct rpc_stream *stream;

static void start(void)
{
    struct err e = {0};
    echo_start(&echo, NULL);
    ck_assert_ok(rpc_stream_open(echo.channel, &grpc__reflection__v1__server_reflection__descriptor,
                                 "ServerReflectionInfo", NULL, NULL, &stream, &e),
                 e);
}

static void stop(void)
{
    rpc_stream_free(stream);
    echo_stop(&echo);
}

static response_t *ask(const request_t *request)
{
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_stream_send(stream, &request->base, &e), e);
    ck_assert_ok(rpc_stream_next(stream, 5000, &message, &e), e);
    return (response_t *)message;
}

static response_t *ask_text(Grpc__Reflection__V1__ServerReflectionRequest__MessageRequestCase what,
                            const char *text)
{
    request_t request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    request.message_request_case = what;
    request.file_by_filename = (char *)text; /* all texts share the place */
    return ask(&request);
}

static void drop(response_t *response)
{
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
}

START_TEST(services_are_listed)
{
    static const char *const names[] = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                                        "grpc.reflection.v1alpha.ServerReflection", "posward.test.v1.Echo"};
    response_t *response = ask_text(ASK_LIST, "*");
    ck_assert_int_eq(response->message_response_case, GOT_LIST);
    ck_assert_uint_eq(response->list_services_response->n_service, 4);
    for (size_t i = 0; i < 4; i++)
        ck_assert_str_eq(response->list_services_response->service[i]->name, names[i]);
    drop(response);
}
END_TEST

/* Symbol (or file), and the file that comes first. NULL: NOT_FOUND. */
static const struct {
    bool by_name;
    const char *ask, *file;
} file_rows[] = {
    {true, "echo.proto", "echo.proto"},
    {true, "posward/posp/v1/posp.proto", "posward/posp/v1/posp.proto"},
    {true, "google/protobuf/descriptor.proto", "google/protobuf/descriptor.proto"},
    {true, "none.proto", NULL},
    {true, "", NULL},
    {false, "posward.test.v1.Echo", "echo.proto"},
    {false, "posward.test.v1.Echo.Say", "echo.proto"},
    {false, "posward.test.v1.EchoRequest", "echo.proto"},
    {false, "posward.test.v1.EchoRequest.text", "echo.proto"},
    {false, "grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto"},
    {false, "grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING", "grpc/health/v1/health.proto"},
    {false, "google.protobuf.DescriptorProto.ExtensionRange", "google/protobuf/descriptor.proto"},
    {false, "posward.test.v1.Echo.", NULL},
    {false, "posward.test.v1.EchoReques", NULL},
    {false, "posward.test.v1", NULL},
    {false, "", NULL},
};

START_TEST(files_are_found)
{
    response_t *response = ask_text(file_rows[_i].by_name ? ASK_FILE : ASK_SYMBOL, file_rows[_i].ask);
    if (file_rows[_i].file == NULL) {
        ck_assert_int_eq(response->message_response_case, GOT_ERROR);
        ck_assert_int_eq(response->error_response->error_code, 5);
        drop(response);
        return;
    }
    ck_assert_int_eq(response->message_response_case, GOT_FILES);
    const ProtobufCBinaryData first = response->file_descriptor_response->file_descriptor_proto[0];
    Google__Protobuf__FileDescriptorProto *file =
        google__protobuf__file_descriptor_proto__unpack(NULL, first.len, first.data);
    ck_assert_ptr_nonnull(file);
    ck_assert_str_eq(file->name, file_rows[_i].file);
    ck_assert_uint_gt(response->file_descriptor_response->n_file_descriptor_proto, file->n_dependency);
    google__protobuf__file_descriptor_proto__free_unpacked(file, NULL);
    drop(response);
}
END_TEST

START_TEST(what_is_not_there_is_an_error_response)
{
    request_t request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    response_t *response = ask(&request);
    ck_assert_int_eq(response->error_response->error_code, 3);
    drop(response);
    Grpc__Reflection__V1__ExtensionRequest extension = GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;
    request.message_request_case = ASK_EXTENSION;
    request.file_containing_extension = &extension;
    response = ask(&request);
    ck_assert_int_eq(response->message_response_case, GOT_ERROR);
    ck_assert_int_eq(response->error_response->error_code, 5);
    drop(response);
}
END_TEST

/* Type, and whether it is a message that is known here. */
static const struct {
    const char *type;
    bool known;
} type_rows[] = {
    {"posward.test.v1.EchoRequest", true},
    {"google.protobuf.FieldOptions", true},
    {"google.protobuf.DescriptorProto.ExtensionRange", true},
    {"grpc.health.v1.HealthCheckResponse.ServingStatus", false}, /* an enum */
    {"posward.test.v1.EchoRequest.text", false},
    {"posward.test.v1.Echo", false},
    {"posward.test.v1.EchoReques", false},
    {"EchoRequest", false},
    {"", false},
};

START_TEST(known_type_has_no_extensions)
{
    response_t *response = ask_text(ASK_NUMBERS, type_rows[_i].type);
    if (type_rows[_i].known) {
        ck_assert_int_eq(response->message_response_case, GOT_NUMBERS);
        ck_assert_str_eq(response->all_extension_numbers_response->base_type_name, type_rows[_i].type);
        ck_assert_uint_eq(response->all_extension_numbers_response->n_extension_number, 0);
    } else {
        ck_assert_int_eq(response->message_response_case, GOT_ERROR);
        ck_assert_int_eq(response->error_response->error_code, 5);
    }
    drop(response);
}
END_TEST

START_TEST(v1alpha_answers_the_same)
{
    struct rpc_stream *alpha = NULL;
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    Grpc__Reflection__V1alpha__ServerReflectionRequest request =
        GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__INIT;
    request.message_request_case =
        GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
    request.list_services = (char *)"";
    ck_assert_ok(rpc_stream_open(echo.channel, &grpc__reflection__v1alpha__server_reflection__descriptor,
                                 "ServerReflectionInfo", NULL, NULL, &alpha, &e),
                 e);
    ck_assert_ok(rpc_stream_send(alpha, &request.base, &e), e);
    ck_assert_ok(rpc_stream_send_end(alpha, &e), e);
    ck_assert_ok(rpc_stream_next(alpha, 5000, &message, &e), e);
    ck_assert_uint_eq(
        ((Grpc__Reflection__V1alpha__ServerReflectionResponse *)message)->list_services_response->n_service,
        4);
    protobuf_c_message_free_unpacked(message, NULL);
    ck_assert_ok(rpc_stream_next(alpha, 5000, &message, &e), e);
    ck_assert_ptr_null(message);
    rpc_stream_free(alpha);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("reflection");
    TCase *tc = tcase_create("reflection");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, services_are_listed);
    tcase_add_loop_test(tc, files_are_found, 0, sizeof file_rows / sizeof file_rows[0]);
    tcase_add_test(tc, what_is_not_there_is_an_error_response);
    tcase_add_loop_test(tc, known_type_has_no_extensions, 0, sizeof type_rows / sizeof type_rows[0]);
    tcase_add_test(tc, v1alpha_answers_the_same);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

#include "rpc/payload.h"

#include "echo.pb-c.h"
#include "tests/support/suite.h"

#include <grpc/grpc.h>
#include <string.h>

#define REQUEST (&posward__test__v1__echo_request__descriptor)

/* `bytes` as a payload of two slices. */
static enum err_code unpack(const uint8_t *bytes, size_t len, size_t cut, size_t max_bytes,
                            ProtobufCMessage **out, struct err *e)
{
    grpc_slice slices[] = {grpc_slice_from_copied_buffer((const char *)bytes, cut),
                           grpc_slice_from_copied_buffer((const char *)bytes + cut, len - cut)};
    grpc_byte_buffer *payload = grpc_raw_byte_buffer_create(slices, 2);
    const enum err_code code = payload_unpack(payload, REQUEST, max_bytes, out, e);
    grpc_byte_buffer_destroy(payload);
    grpc_slice_unref(slices[0]);
    grpc_slice_unref(slices[1]);
    return code;
}

static size_t pack_sample(uint8_t out_bytes[128])
{
    uint8_t filling[] = {1, 2, 3};
    Posward__Test__V1__EchoRequest request = POSWARD__TEST__V1__ECHO_REQUEST__INIT;
    request.text = (char *)"some text";
    request.delay_ms = 70000;
    request.filling = (ProtobufCBinaryData){sizeof filling, filling};
    return posward__test__v1__echo_request__pack(&request, out_bytes);
}

START_TEST(message_in_two_slices_unpacks)
{
    uint8_t bytes[128];
    const size_t len = pack_sample(bytes);
    for (size_t cut = 0; cut <= len; cut++) {
        ProtobufCMessage *message = NULL;
        struct err e = {0};
        ck_assert_ok(unpack(bytes, len, cut, 1024, &message, &e), e);
        ck_assert_str_eq(((Posward__Test__V1__EchoRequest *)message)->text, "some text");
        protobuf_c_message_free_unpacked(message, NULL);
    }
}
END_TEST

START_TEST(message_cut_at_every_byte_is_refused_or_shorter)
{
    uint8_t bytes[128];
    const size_t len = pack_sample(bytes);
    size_t refused = 0;
    for (size_t end = 0; end < len; end++) {
        ProtobufCMessage *message = NULL;
        struct err e = {0};
        const enum err_code code = unpack(bytes, end, end / 2, 1024, &message, &e);
        if (code == ERR_OK) {
            ck_assert_uint_eq(protobuf_c_message_get_packed_size(message), end);
            protobuf_c_message_free_unpacked(message, NULL);
            continue;
        }
        ck_assert_int_eq(code, ERR_INPUT);
        ck_assert_ptr_null(message);
        refused++;
    }
    ck_assert_uint_eq(refused,
                      len - 3); /* three fields: nothing, the first, the first two are whole messages */
}
END_TEST

START_TEST(limits_hold_for_bytes_and_for_memory)
{
    uint8_t bytes[3000];
    for (size_t i = 0; i < sizeof bytes; i += 3)
        memcpy(bytes + i, "\xA0\x06\x00", 3); /* an unknown field */
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_int_eq(unpack(bytes, sizeof bytes, 10, sizeof bytes - 1, &message, &e), ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(e.note, "over the limit of 2999"));
    ck_assert_int_eq(unpack(bytes, sizeof bytes, 10, sizeof bytes, &message, &e), ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(e.note, "more memory"));
    ck_assert_ptr_null(message);
    ck_assert_ok(unpack(bytes, 300, 10, sizeof bytes, &message, &e), e);
    protobuf_c_message_free_unpacked(message, NULL);
    ck_assert_int_eq(payload_unpack(NULL, REQUEST, 10, &message, &e), ERR_INPUT);
}
END_TEST

static const struct {
    const char *text;
    size_t len;
    const char *wanted; /* NULL: it is text */
} texts[] = {
    {"", 0, NULL},
    {"T0000001", 8, NULL},
    {"\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80", 9, NULL},
    {"T0000001\0x", 10, "text holds a NUL byte"},
    {"\0", 1, "text holds a NUL byte"},
    {"\xFF\xFE", 2, "text is not UTF-8"},
    {"\xC0\x80", 2, "text is not UTF-8"},         /* an overlong NUL */
    {"\xE0\x80\xAF", 3, "text is not UTF-8"},     /* an overlong '/' */
    {"\xED\xA0\x80", 3, "text is not UTF-8"},     /* a surrogate */
    {"\xF4\x90\x80\x80", 4, "text is not UTF-8"}, /* behind U+10FFFF */
    {"a\xC3", 2, "text is not UTF-8"},
    {"\xF0\x9F\x98", 3, "text is not UTF-8"},
    {"\x80", 1, "text is not UTF-8"},
};

START_TEST(strings_are_utf8_without_nul)
{
    uint8_t bytes[32] = {0};
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(REQUEST, "text");
    bytes[0] = (uint8_t)(field->id << 3 | 2);
    bytes[1] = (uint8_t)texts[_i].len;
    memcpy(bytes + 2, texts[_i].text, texts[_i].len);
    const enum err_code code = unpack(bytes, 2 + texts[_i].len, 1, 1024, &message, &e);
    if (texts[_i].wanted == NULL) {
        ck_assert_ok(code, e);
        protobuf_c_message_free_unpacked(message, NULL);
        return;
    }
    ck_assert_int_eq(code, ERR_INPUT);
    ck_assert_str_eq(e.note, texts[_i].wanted);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("payload");
    TCase *tc = tcase_create("payload");
    tcase_add_test(tc, message_in_two_slices_unpacks);
    tcase_add_test(tc, message_cut_at_every_byte_is_refused_or_shorter);
    tcase_add_test(tc, limits_hold_for_bytes_and_for_memory);
    tcase_add_loop_test(tc, strings_are_utf8_without_nul, 0, (int)(sizeof texts / sizeof texts[0]));
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

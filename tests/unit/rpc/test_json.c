#include "rpc/json.h"
#include "tests/support/suite.h"

#include <kinds.pb-c.h>
#include <stdio.h>
#include <string.h>

static const ProtobufCMessageDescriptor *const all = &posward__kinds__v1__all__descriptor;

static enum err_code read_text(const char *text, ProtobufCMessage **out, struct err *e)
{
    json_error_t why;
    json_t *const json = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    ck_assert_msg(json != NULL, "%s: %s", why.text, text);
    const enum err_code code = rpc_json_to_message(json, all, out, e);
    json_decref(json);
    return code;
}

static char *write_text(const ProtobufCMessage *message, bool with_defaults)
{
    json_t *json = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_json_from_message(message, with_defaults, &json, &e), e);
    char *const text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

/* In the order of the fields, as the encoder writes. */
static const char *const round_trips[] = {
    "{}",
    "{\"i32\":-2147483648,\"s32\":-1,\"sf32\":7,\"u32\":4294967295,\"f32\":1}",
    "{\"i64\":\"-9223372036854775808\",\"s64\":\"-1\",\"sf64\":\"9223372036854775807\","
    "\"u64\":\"18446744073709551615\",\"f64\":\"1\"}",
    "{\"real\":1.5,\"longReal\":-2.25}",
    "{\"real\":\"NaN\",\"longReal\":\"-Infinity\"}",
    "{\"yes\":true,\"colour\":\"COLOUR_DARK_BLUE\",\"text\":\"a\\\"\\u00e9\\n\",\"rawBytes\":\"AP+A\"}",
    "{\"colour\":77}",
    "{\"inner\":{}}",
    "{\"inner\":{\"name\":\"n\",\"keyCheckValue\":\"3q2+7w==\",\"colour\":\"COLOUR_RED\"}}",
    "{\"numbers\":[1,0,-3],\"texts\":[\"\",\"b\"],\"raws\":[\"AA==\",\"\"],\"inners\":[{},{\"name\":\"x\"}],"
    "\"colours\":[\"COLOUR_RED\",\"COLOUR_UNSPECIFIED\"],\"flags\":[true,false],\"bigNumbers\":[\"0\",\"5\"]"
    "}",
    "{\"choiceText\":\"\"}",
    "{\"choiceInner\":{\"name\":\"q\"}}",
    "{\"choiceNumber\":0}",
    "{\"self\":{\"self\":{\"i32\":1}}}",
};

/* Through JSON, the message and the wire, and back to the same JSON. */
START_TEST(json_round_trips)
{
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_ok(read_text(round_trips[_i], &message, &e), e);
    const size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *const packed = malloc(len + 1);
    ck_assert_uint_eq(protobuf_c_message_pack(message, packed), len);
    ProtobufCMessage *const again = protobuf_c_message_unpack(all, NULL, len, packed);
    ck_assert_ptr_nonnull(again);
    json_t *const want = json_loads(round_trips[_i], 0, NULL);
    char *const want_text = json_dumps(want, JSON_COMPACT);
    char *const first = write_text(message, false), *const second = write_text(again, false);
    ck_assert_str_eq(first, want_text);
    ck_assert_str_eq(second, want_text);
    free(first);
    free(second);
    free(want_text);
    json_decref(want);
    free(packed);
    protobuf_c_message_free_unpacked(message, NULL);
    protobuf_c_message_free_unpacked(again, NULL);
}
END_TEST

START_TEST(json_accepts_other_spellings)
{
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_ok(read_text("{\"raw_bytes\":\"_w\",\"long_real\":3,\"i64\":12,\"i32\":\"-4\",\"colour\":1,"
                           "\"text\":null,\"inner\":null,\"numbers\":null,\"choice_text\":null}",
                           &message, &e),
                 e);
    char *const text = write_text(message, false);
    ck_assert_str_eq(
        text, "{\"i32\":-4,\"i64\":\"12\",\"longReal\":3.0,\"colour\":\"COLOUR_RED\",\"rawBytes\":\"/w==\"}");
    free(text);
    protobuf_c_message_free_unpacked(message, NULL);
}
END_TEST

START_TEST(json_puts_defaults_in_when_asked)
{
    Posward__Kinds__V1__Inner inner = POSWARD__KINDS__V1__INNER__INIT;
    char *text = write_text(&inner.base, true);
    ck_assert_str_eq(text, "{\"name\":\"\",\"keyCheckValue\":\"\",\"colour\":\"COLOUR_UNSPECIFIED\"}");
    free(text);
    Posward__Kinds__V1__All message = POSWARD__KINDS__V1__ALL__INIT;
    text = write_text(&message.base, true);
    ck_assert_ptr_nonnull(strstr(text, "\"numbers\":[]"));
    ck_assert_ptr_nonnull(strstr(text, "\"u64\":\"0\""));
    ck_assert_ptr_null(strstr(text, "\"inner\""));
    ck_assert_ptr_null(strstr(text, "choice"));
    free(text);
}
END_TEST

static const struct {
    const char *text, *note;
} refused[] = {
    {"[]", "must be an object: {...}"},
    {"{\"nam\":1}", "All has no field 'nam'"},
    {"{\"txt\":1}", "All has no field 'txt'; did you mean 'text'?"},
    {"{\"rawBites\":1}", "All has no field 'rawBites'; did you mean 'rawBytes'?"},
    {"{\"rawBytes\":\"\",\"raw_bytes\":\"\"}", "raw_bytes: given under both of its names"},
    {"{\"i32\":2147483648}", "i32: 2147483648 is out of range"},
    {"{\"i32\":1.5}", "i32: must be a whole number"},
    {"{\"i32\":\"1x\"}", "i32: '1x' is not a whole number in range"},
    {"{\"i64\":\"9223372036854775808\"}", "i64: '9223372036854775808' is not a whole number in range"},
    {"{\"u32\":-1}", "u32: must be a whole number of 0 or more"},
    {"{\"u32\":4294967296}", "u32: 4294967296 is out of range"},
    {"{\"u64\":\"-1\"}", "u64: '-1' is not a whole number of 0 or more"},
    {"{\"u64\":\"18446744073709551616\"}", "u64: '18446744073709551616' is not a whole number of 0 or more"},
    {"{\"u64\":\"\"}", "u64: '' is not a whole number of 0 or more"},
    {"{\"real\":1e39}", "real: out of a float's range"},
    {"{\"real\":\"0x1\"}", "real: must be a number"},
    {"{\"yes\":1}", "yes: must be true or false"},
    {"{\"colour\":\"COLOR_RED\"}", "colour: 'COLOR_RED' is no Colour; did you mean 'COLOUR_RED'?"},
    {"{\"text\":1}", "text: must be text"},
    {"{\"raws\":[\"AA==\",\"A\"]}", "raws[1]: 1 characters cannot be base64"},
    {"{\"raw_bytes\":7}", "raw_bytes: must be base64 text"},
    {"{\"inners\":[{},{\"name\":\"x\",\"colour\":\"BLUE\"}]}", "inners[1].colour: 'BLUE' is no Colour"},
    {"{\"inners\":{}}", "inners: must be a list"},
    {"{\"inners\":[null]}", "inners[0]: must be an object: {...}"},
    {"{\"self\":{\"inner\":{\"keyCheckValue\":\"*\"}}}",
     "self.inner.key_check_value: 1 characters cannot be base64"},
    {"{\"choiceText\":\"a\",\"choiceNumber\":1}",
     "choice_number: another choice of the same oneof is given too"},
};

START_TEST(json_refuses_and_names_the_field)
{
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_int_eq(read_text(refused[_i].text, &message, &e), ERR_INPUT);
    ck_assert_ptr_null(message);
    ck_assert_str_eq(e.note, refused[_i].note);
}
END_TEST

static void nest(char *text, int levels)
{
    text[0] = '\0';
    for (int i = 0; i < levels; i++)
        strcat(text, "{\"self\":");
    strcat(text, "{}");
    for (int i = 0; i < levels; i++)
        strcat(text, "}");
}

START_TEST(json_limits_depth_both_ways)
{
    char text[1024];
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    nest(text, RPC_JSON_MAX_DEPTH);
    ck_assert_ok(read_text(text, &message, &e), e);
    /* One level more than can be read: it must not be written either. */
    Posward__Kinds__V1__All outer = POSWARD__KINDS__V1__ALL__INIT;
    outer.self = (Posward__Kinds__V1__All *)message;
    json_t *json = NULL;
    ck_assert_int_eq(rpc_json_from_message(&outer.base, false, &json, &e), ERR_INPUT);
    ck_assert_ptr_null(json);
    protobuf_c_message_free_unpacked(message, NULL);
    message = NULL;
    nest(text, RPC_JSON_MAX_DEPTH + 1);
    ck_assert_int_eq(read_text(text, &message, &e), ERR_INPUT);
    ck_assert_ptr_null(message);
}
END_TEST

START_TEST(json_limits_items)
{
    json_t *const json = json_object(), *const list = json_array();
    json_object_set_new(json, "numbers", list);
    for (int i = 0; i < RPC_JSON_MAX_ITEMS; i++)
        json_array_append_new(list, json_integer(i));
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_json_to_message(json, all, &message, &e), e);
    protobuf_c_message_free_unpacked(message, NULL);
    message = NULL;
    json_array_append_new(list, json_integer(1));
    ck_assert_int_eq(rpc_json_to_message(json, all, &message, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "numbers: 65537 items; at most 65536 are read");
    json_decref(json);
}
END_TEST

START_TEST(json_refuses_to_write_what_is_not_utf8)
{
    Posward__Kinds__V1__All message = POSWARD__KINDS__V1__ALL__INIT;
    char bad[] = "\xff";
    message.text = bad;
    json_t *json = NULL;
    struct err e = {0};
    ck_assert_int_eq(rpc_json_from_message(&message.base, false, &json, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "text: text that is not UTF-8");
}
END_TEST

START_TEST(json_refuses_text_with_a_nul)
{
    json_t *const json = json_object();
    json_object_set_new(json, "text", json_stringn("a\0b", 3));
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_int_eq(rpc_json_to_message(json, all, &message, &e), ERR_INPUT);
    json_decref(json);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("json");
    TCase *tc = tcase_create("json");
    tcase_add_loop_test(tc, json_round_trips, 0, (int)(sizeof round_trips / sizeof round_trips[0]));
    tcase_add_test(tc, json_accepts_other_spellings);
    tcase_add_test(tc, json_puts_defaults_in_when_asked);
    tcase_add_loop_test(tc, json_refuses_and_names_the_field, 0, (int)(sizeof refused / sizeof refused[0]));
    tcase_add_test(tc, json_limits_depth_both_ways);
    tcase_add_test(tc, json_limits_items);
    tcase_add_test(tc, json_refuses_to_write_what_is_not_utf8);
    tcase_add_test(tc, json_refuses_text_with_a_nul);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

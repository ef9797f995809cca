/* Options to a request and a message to text, over every kind of field. */
#include "rpc/json.h"
#include "run/cli_internal.h"
#include "tests/support/suite.h"

#include <kinds.pb-c.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_WORDS 24

static const ProtobufCMessageDescriptor *const all = &posward__kinds__v1__all__descriptor;

/* `line` is split at blanks; words do not hold any. */
static enum err_code read_line(const char *line, ProtobufCMessage **out, struct err *e)
{
    char copy[1024], *words[MAX_WORDS + 1] = {NULL}, *rest = NULL;
    snprintf(copy, sizeof copy, "%s", line);
    size_t n = 0;
    for (char *word = strtok_r(copy, " ", &rest); word != NULL && n < MAX_WORDS;
         word = strtok_r(NULL, " ", &rest))
        words[n++] = word;
    return cli_request_read(all, "text", words, out, e);
}

static const struct {
    const char *line, *json;
} accepted[] = {
    {"", "{}"},
    {"hello --i32 -5 --u64 18446744073709551615 --real 1.5",
     "{\"i32\":-5,\"u64\":\"18446744073709551615\",\"real\":1.5,\"text\":\"hello\"}"},
    {"--text=hello --i32=-5", "{\"i32\":-5,\"text\":\"hello\"}"},
    {"--text= --i32 1", "{\"i32\":1}"},
    {"--yes --i32 1", "{\"i32\":1,\"yes\":true}"},
    {"--yes false", "{}"},
    {"--i32 1 --yes", "{\"i32\":1,\"yes\":true}"},
    {"--colour dark-blue", "{\"colour\":\"COLOUR_DARK_BLUE\"}"},
    {"--colour RED", "{\"colour\":\"COLOUR_RED\"}"},
    {"--colour COLOUR_RED", "{\"colour\":\"COLOUR_RED\"}"},
    {"--raw-bytes DEADbeef", "{\"rawBytes\":\"3q2+7w==\"}"},
    {"--raws 00 --raws ff", "{\"raws\":[\"AA==\",\"/w==\"]}"},
    {"--numbers 1 --numbers -2 --texts a --colours red --colours dark-blue",
     "{\"numbers\":[1,-2],\"texts\":[\"a\"],\"colours\":[\"COLOUR_RED\",\"COLOUR_DARK_BLUE\"]}"},
    {"--inner.name x --inner.key-check-value 00 --inner.colour red",
     "{\"inner\":{\"name\":\"x\",\"keyCheckValue\":\"AA==\",\"colour\":\"COLOUR_RED\"}}"},
    {"--self.self.i32 7", "{\"self\":{\"self\":{\"i32\":7}}}"},
    {"--inner {\"name\":\"x\"} --inner.colour red", "{\"inner\":{\"name\":\"x\",\"colour\":\"COLOUR_RED\"}}"},
    {"--inners {\"name\":\"x\"} --inners {}", "{\"inners\":[{\"name\":\"x\"},{}]}"},
    {"--choice-number 3", "{\"choiceNumber\":3}"},
};

START_TEST(request_takes_options)
{
    ProtobufCMessage *message = NULL;
    json_t *json = NULL;
    struct err e = {0};
    ck_assert_ok(read_line(accepted[_i].line, &message, &e), e);
    ck_assert_ok(rpc_json_from_message(message, false, &json, &e), e);
    char *const text = json_dumps(json, JSON_COMPACT);
    ck_assert_str_eq(text, accepted[_i].json);
    free(text);
    json_decref(json);
    protobuf_c_message_free_unpacked(message, NULL);
}
END_TEST

static const struct {
    const char *line, *note;
} refused[] = {
    {"--txt x", "unknown option --txt; did you mean --text?"},
    {"--raw-bites 00", "unknown option --raw-bites; did you mean --raw-bytes?"},
    {"--zzzzzzzz x", "unknown option --zzzzzzzz; see --help"},
    {"--inner.nme x", "unknown option --nme; did you mean --name?"},
    {"--text.name x", "--text has no fields of its own"},
    {"--inners.name x", "--inners has no fields of its own"},
    {"--text", "--text needs a value"},
    {"one two", "'two' is one argument too many; see --help"},
    {"one --text two", "--text: given twice"},
    {"--i32 1 --i32 2", "--i32: given twice"},
    {"--i32 1x", "i32: '1x' is not a whole number in range"},
    {"--u32 -1", "u32: '-1' is not a whole number of 0 or more"},
    {"--yes=maybe", "--yes: must be true or false"},
    {"--colour green", "--colour: 'green' is none of red, dark-blue"},
    {"--raw-bytes 0", NULL},
    {"--raw-bytes 0g", "--raw-bytes: character 2 is not a hex digit"},
    {"--raw-bytes @/nowhere/x", "--raw-bytes: /nowhere/x: No such file or directory"},
    {"--inner {", NULL},
    {"--inner [] --inner.name x", "--inner: must be an object: {...}"},
    {"--choice-text a --choice-number 3", "choice_number: another choice of the same oneof is given too"},
};

START_TEST(request_refuses)
{
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_int_ne(read_line(refused[_i].line, &message, &e), ERR_OK);
    ck_assert_ptr_null(message);
    if (refused[_i].note != NULL)
        ck_assert_str_eq(e.note, refused[_i].note);
}
END_TEST

START_TEST(request_reads_bytes_from_a_file)
{
    char path[64], line[96];
    suite_scratch_name("bytes", path, sizeof path);
    const int fd = mkstemp(path);
    ck_assert_int_eq(write(fd, "\0\xff", 2), 2);
    close(fd);
    snprintf(line, sizeof line, "--raw-bytes @%s", path);
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_ok(read_line(line, &message, &e), e);
    const ProtobufCBinaryData bytes = ((Posward__Kinds__V1__All *)message)->raw_bytes;
    ck_assert_uint_eq(bytes.len, 2);
    ck_assert_mem_eq(bytes.data, "\0\xff", 2);
    protobuf_c_message_free_unpacked(message, NULL);
    unlink(path);
}
END_TEST

static void expect_text(const char *line, const char *want)
{
    ProtobufCMessage *message = NULL;
    struct err e = {0};
    ck_assert_ok(read_line(line, &message, &e), e);
    char *text = NULL;
    size_t len = 0;
    FILE *const out = open_memstream(&text, &len);
    ck_assert_ok(cli_print_text(message, "", out, &e), e);
    fclose(out);
    ck_assert_msg(strstr(text, want) != NULL, "not \"%s\" in:\n%s", want, text);
    free(text);
    protobuf_c_message_free_unpacked(message, NULL);
}

START_TEST(print_writes_lines_and_tables)
{
    expect_text("--raw-bytes 00ff --colour dark-blue --yes --i64 -3",
                "i64: -3\ns64: 0\nsf64: 0\nu64: 0\nf64: 0\nreal: 0\nlong_real: 0\nyes: true\n"
                "colour: dark-blue\nraw_bytes: 00FF\n");
    expect_text("--inner.name x --inner.key-check-value 0A", "inner.name: x\ninner.key_check_value: 0A\n");
    expect_text("--numbers 1 --numbers 2", "numbers: 1, 2\n");
    expect_text("--choice-number 0", "choice_number: 0\n");
    expect_text("--text a\x1b[31m\xc3\xa9", "text: a\\x1b[31m\\xc3\\xa9\n");
    expect_text("--inners {\"name\":\"a\",\"colour\":\"COLOUR_RED\"} --inners {\"name\":\"longer\"}",
                "NAME    COLOUR\na       red\nlonger  unspecified\n");
    expect_text("--inners {\"key_check_value\":\"AAE=\"}",
                "KEY_CHECK_VALUE  COLOUR\n0001             unspecified\n");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cli_request");
    TCase *tc = tcase_create("cli_request");
    tcase_add_loop_test(tc, request_takes_options, 0, (int)(sizeof accepted / sizeof accepted[0]));
    tcase_add_loop_test(tc, request_refuses, 0, (int)(sizeof refused / sizeof refused[0]));
    tcase_add_test(tc, request_reads_bytes_from_a_file);
    tcase_add_test(tc, print_writes_lines_and_tables);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

/* The real posward-posv over loopback: every RPC, bad input of each, orderly end and kill -9. */
#include "tests/support/daemon.h"
#include "tests/support/suite.h"

#include <posward/posv/v1/posv.pb-c.h>
#include <string.h>

#define SERVICE         &posward__posv__v1__registry__descriptor
#define CARD_A          "62010000001234567890"
#define CARD_B          "62010000001234567906"
#define A1              "\"terminalId\": \"A0000001\""
#define CARD_OF(number) "\"psamNumber\": \"" number "\", \"suite\": \"SUITE_TDES\", \"masterVersion\": 1"
#define REGISTER_A1     "{" A1 ", \"merchantId\": \"898100012345678\", " CARD_OF(CARD_A) "}"

static const char config[] = "listen: 127.0.0.1:0\n"
                             "tls:\n  insecure: true\n"
                             "metrics:\n  listen: 127.0.0.1:0\n"
                             "store:\n  path: @FOLDER@/posv.db\n"
                             "watch:\n  heartbeat_ms: 100\n";

static struct daemon posv;

static void set_up(void)
{
    daemon_init(&posv, "posward-posv");
    daemon_start(&posv, config);
}

static void tear_down(void)
{
    daemon_drop(&posv);
}

static json_t *must(const char *method, const char *request)
{
    struct err e = {0};
    json_t *response = NULL;
    ck_assert_ok(daemon_call(&posv, SERVICE, method, request, &response, &e), e);
    return response;
}

static void expect_text(json_t *response, const char *key, const char *value)
{
    const char *got = json_string_value(json_object_get(response, key));
    ck_assert_msg(got != NULL && strcmp(got, value) == 0, "%s is '%s', not '%s'", key, got, value);
}

static void must_give(const char *method, const char *request, const char *key, const char *value)
{
    json_t *response = must(method, request);
    expect_text(response, key, value);
    json_decref(response);
}

START_TEST(life_of_a_device)
{
    must_give("RegisterDevice", REGISTER_A1, "state", "DEVICE_STATE_ACTIVE");
    must_give("GetDevice", "{" A1 "}", "psamNumber", CARD_A);
    must_give("GetDevice", "{\"psamNumber\": \"" CARD_A "\"}", "terminalId", "A0000001");
    must_give("SuspendDevice", "{" A1 ", \"reason\": \"stolen?\"}", "reason", "stolen?");
    must_give("ResumeDevice", "{" A1 "}", "state", "DEVICE_STATE_ACTIVE");
    must_give("ReplaceCard", "{" A1 ", " CARD_OF(CARD_B) "}", "psamNumber", CARD_B);
    must_give("RetireDevice", "{" A1 "}", "revision", "5");
    json_t *status = must("GetStatus", "{}");
    expect_text(status, "revision", "5");
    expect_text(status, "devicesRetired", "1");
    expect_text(status, "devicesActive", "0");
    json_decref(status);
}
END_TEST

START_TEST(list_walks_all_pages)
{
    char request[400], token[100] = "";
    for (int i = 0; i < 25; i++) {
        snprintf(
            request, sizeof request,
            "{\"terminalId\": \"A%07d\", \"merchantId\": \"898100012345678\", \"psamNumber\": \"6201%016d\","
            " \"suite\": \"SUITE_AES_128\", \"masterVersion\": 2}",
            i, i);
        json_decref(must("RegisterDevice", request));
    }
    size_t seen = 0;
    do {
        snprintf(request, sizeof request,
                 "{\"pageSize\": 7, \"suite\": \"SUITE_AES_128\", \"pageToken\": \"%s\"}", token);
        json_t *page = must("ListDevices", request);
        json_t *devices = json_object_get(page, "devices");
        for (size_t i = 0; i < json_array_size(devices); i++) {
            char expected[9];
            snprintf(expected, sizeof expected, "A%07zu", seen++);
            expect_text(json_array_get(devices, i), "terminalId", expected);
        }
        snprintf(token, sizeof token, "%s", json_string_value(json_object_get(page, "nextPageToken")));
        json_decref(page);
    } while (token[0] != '\0');
    ck_assert_uint_eq(seen, 25);
}
END_TEST

/* Larger than the limit of requests, which does not bind answers. */
START_TEST(page_of_1000_full_devices_arrives)
{
    char request[400], reason[101];
    memset(reason, 'r', 100);
    reason[100] = '\0';
    for (int i = 0; i < 1000; i++) {
        snprintf(
            request, sizeof request,
            "{\"terminalId\": \"A%07d\", \"merchantId\": \"898100012345678\", \"psamNumber\": \"6201%016d\","
            " \"suite\": \"SUITE_TDES\", \"masterVersion\": 1}",
            i, i);
        json_decref(must("RegisterDevice", request));
        snprintf(request, sizeof request, "{\"terminalId\": \"A%07d\", \"reason\": \"%s\"}", i, reason);
        json_decref(must("SuspendDevice", request));
    }
    json_t *page = must("ListDevices", "{\"pageSize\": 1000}");
    ck_assert_uint_eq(json_array_size(json_object_get(page, "devices")), 1000);
    expect_text(page, "nextPageToken", "");
    json_decref(page);
}
END_TEST

static const struct {
    const char *method, *request;
    enum err_code code;
    const char *note;
} bad_inputs[] = {
    {"RegisterDevice", "{}", ERR_INPUT, "terminal_id is missing"},
    {"RegisterDevice", "{\"terminalId\": \"A000001\"}", ERR_INPUT,
     "terminal_id must be 8 characters A-Z a-z 0-9, got 7"},
    {"RegisterDevice", "{\"terminalId\": \"A00000\\u00e9\"}", ERR_INPUT, "character 7 is 0xC3"},
    {"RegisterDevice", "{\"terminalId\": \"A0000002\"}", ERR_INPUT, "merchant_id is missing"},
    {"RegisterDevice", "{\"terminalId\": \"A0000002\", \"merchantId\": \"898100012345678\"}", ERR_INPUT,
     "psam_number is missing"},
    {"RegisterDevice",
     "{\"terminalId\": \"A0000002\", \"merchantId\": \"898100012345678\", \"psamNumber\": \"" CARD_B "\"}",
     ERR_INPUT, "suite is missing"},
    {"RegisterDevice",
     "{\"terminalId\": \"A0000002\", \"merchantId\": \"898100012345678\", \"psamNumber\": \"" CARD_B
     "\", \"suite\": 9, \"masterVersion\": 1}",
     ERR_INPUT, "got number 9"},
    {"RegisterDevice",
     "{\"terminalId\": \"A0000002\", \"merchantId\": \"898100012345678\", \"psamNumber\": \"" CARD_B
     "\", \"suite\": \"SUITE_TDES\", \"masterVersion\": 300}",
     ERR_INPUT, "master_version must be 1 to 255, got 300"},
    {"RegisterDevice", REGISTER_A1, ERR_EXISTS, "identical"},
    {"RegisterDevice",
     "{\"terminalId\": \"A0000002\", \"merchantId\": \"898100012345678\", " CARD_OF(CARD_A) "}", ERR_EXISTS,
     "is in terminal A0000001"},
    {"ReplaceCard", "{" A1 "}", ERR_INPUT, "psam_number is missing"},
    {"ReplaceCard", "{\"terminalId\": \"A0000009\", " CARD_OF(CARD_B) "}", ERR_NOT_FOUND,
     "terminal A0000009 is not registered"},
    {"ReplaceCard", "{" A1 ", " CARD_OF(CARD_A) "}", ERR_EXISTS, "already"},
    {"SuspendDevice", "{}", ERR_INPUT, "terminal_id is missing"},
    {"SuspendDevice", "{\"terminalId\": \"A0000009\"}", ERR_NOT_FOUND, "not registered"},
    {"SuspendDevice", "{" A1 ", \"reason\": \"line\\nbreak\"}", ERR_INPUT, "character 5 is 0x0A"},
    {"ResumeDevice", "{" A1 "}", ERR_STATE, "is ACTIVE and cannot be resumed"},
    {"ResumeDevice", "{\"terminalId\": \"A 000009\"}", ERR_INPUT, "character 2 is 0x20"},
    {"RetireDevice", "{\"terminalId\": \"A0000009\"}", ERR_NOT_FOUND, "not registered"},
    {"GetDevice", "{}", ERR_INPUT, "exactly one of terminal_id and psam_number, got none"},
    {"GetDevice", "{" A1 ", \"psamNumber\": \"" CARD_A "\"}", ERR_INPUT, "got both"},
    {"GetDevice", "{\"psamNumber\": \"12\"}", ERR_INPUT, "16 to 20 decimal digits, got 2"},
    {"GetDevice", "{\"psamNumber\": \"" CARD_B "\"}", ERR_NOT_FOUND, "is in no terminal"},
    {"ListDevices", "{\"pageSize\": 1001}", ERR_INPUT, "page_size must be at most 1000, got 1001"},
    {"ListDevices", "{\"pageToken\": \"00\"}", ERR_INPUT, "page_token is not one"},
    {"ListDevices", "{\"state\": 7}", ERR_INPUT, "state must be ACTIVE"},
    {"ListDevices", "{\"suite\": 7}", ERR_INPUT, "suite must be TDES"},
    {"ListDevices", "{\"merchantId\": \"1\"}", ERR_INPUT, "merchant_id must be 15"},
    {"ListDevices", "{\"terminalPrefix\": \"123456789\"}", ERR_INPUT, "terminal_prefix must be at most 8"},
};

START_TEST(bad_input_is_named_and_changes_nothing)
{
    json_decref(must("RegisterDevice", REGISTER_A1));
    for (size_t i = 0; i < sizeof bad_inputs / sizeof bad_inputs[0]; i++) {
        struct err e = {0};
        const enum err_code code =
            daemon_call(&posv, SERVICE, bad_inputs[i].method, bad_inputs[i].request, NULL, &e);
        ck_assert_msg(code == bad_inputs[i].code, "%s %s: %s: %s", bad_inputs[i].method,
                      bad_inputs[i].request, err_name(code), e.note);
        ck_assert_msg(strstr(e.note, bad_inputs[i].note) != NULL, "%s %s: '%s' lacks '%s'",
                      bad_inputs[i].method, bad_inputs[i].request, e.note, bad_inputs[i].note);
    }
    must_give("GetStatus", "{}", "revision", "1");
}
END_TEST

START_TEST(killed_service_comes_back_with_all_it_answered)
{
    for (int round = 0; round < 3; round++) {
        char request[300], revision[20];
        for (int i = 0; i < 20; i++) {
            snprintf(request, sizeof request,
                     "{\"terminalId\": \"K%03d%04d\", \"merchantId\": \"898100012345678\","
                     " \"psamNumber\": \"6201%03d%013d\", \"suite\": \"SUITE_TDES\", \"masterVersion\": 1}",
                     round, i, round, i);
            json_decref(must("RegisterDevice", request));
        }
        daemon_kill(&posv);
        daemon_start(&posv, config);
        snprintf(revision, sizeof revision, "%d", 20 * (round + 1));
        must_give("GetStatus", "{}", "revision", revision);
        must_give("GetStatus", "{}", "devicesActive", revision);
    }
}
END_TEST

START_TEST(metrics_count_devices_by_state)
{
    json_decref(must("RegisterDevice", REGISTER_A1));
    char *text = daemon_metrics(&posv);
    static const char *const lines[] = {"posward_posv_devices{state=\"active\"} 1\n",
                                        "posward_posv_devices{state=\"retired\"} 0\n",
                                        "posward_posv_revision 1\n", "posward_posv_watchers 0\n"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        ck_assert_msg(strstr(text, lines[i]) != NULL, "no line %s in %s", lines[i], text);
    free(text);
}
END_TEST

START_TEST(orderly_end_has_status_0)
{
    ck_assert_int_eq(daemon_stop(&posv, NULL), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("posv");
    TCase *tc = tcase_create("posv");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, life_of_a_device);
    tcase_add_test(tc, list_walks_all_pages);
    tcase_add_test(tc, page_of_1000_full_devices_arrives);
    tcase_add_test(tc, bad_input_is_named_and_changes_nothing);
    tcase_add_test(tc, killed_service_comes_back_with_all_it_answered);
    tcase_add_test(tc, metrics_count_devices_by_state);
    tcase_add_test(tc, orderly_end_has_status_0);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

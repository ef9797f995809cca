/* Issuing, step by step: a real card process, the real posward-posv, and a CardKeys service that can be made
 * to err. */
#include "apdu/status.h"
#include "issuer/issue.h"
#include "issuer/reader.h"
#include "tests/support/card_keys.h"
#include "tests/support/daemon.h"
#include "tests/support/suite.h"

#include <posward/posv/v1/posv.pb-c.h>
#include <string.h>
#include <sys/stat.h>

#define NUMBER       "62010000001234567890"
#define OTHER_NUMBER "62010000001234567906"
#define MERCHANT     "898100012345678"
#define TDES         POSWARD__TYPES__V1__SUITE__SUITE_TDES
#define AES_128      POSWARD__TYPES__V1__SUITE__SUITE_AES_128
#define AES_256      POSWARD__TYPES__V1__SUITE__SUITE_AES_256

static const char posv_config[] = "listen: 127.0.0.1:0\n"
                                  "tls:\n  insecure: true\n"
                                  "metrics:\n  listen: ''\n"
                                  "drain:\n  lame_duck_ms: 0\n"
                                  "store:\n  path: @FOLDER@/posv.db\n";

static struct daemon card_process, posv;
static struct card_keys keys;
static struct rpc_channel *posp;
static char reader[40];
static char told[2048];
static uint32_t wrap_version; /* of the order; 0: by the suite */

static void write_component(const char *name, const char *hex, char out_path[DAEMON_PATH_BYTES])
{
    daemon_path(&card_process, name, out_path);
    FILE *file = fopen(out_path, "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "%s\n", hex);
    fclose(file);
    ck_assert_int_eq(chmod(out_path, 0600), 0);
}

static void make_card(const char *number)
{
    char tdes[DAEMON_PATH_BYTES], aes[DAEMON_PATH_BYTES], file[DAEMON_PATH_BYTES], command[1024];
    write_component("tdes", CARD_KEYS_CONTROL_TDES, tdes);
    write_component("aes", CARD_KEYS_CONTROL_AES, aes);
    daemon_path(&card_process, "card", file);
    snprintf(
        command, sizeof command,
        "%s/bin/posward-psam new --card %s --psam-number %s --control-tdes %s --control-aes %s >/dev/null",
        getenv("POSWARD_BUILD"), file, number, tdes, aes);
    ck_assert_int_eq(system(command), 0);
    daemon_start_plain(&card_process,
                       (const char *const[]){"serve", "--card", file, "--listen", "127.0.0.1:0", NULL},
                       ": listening ");
    snprintf(reader, sizeof reader, "tcp:127.0.0.1:%d", card_process.port);
}

static void set_up(void)
{
    struct err e = {0};
    char target[32];
    daemon_init(&card_process, "posward-psam");
    make_card(NUMBER);
    daemon_init(&posv, "posward-posv");
    daemon_start(&posv, posv_config);
    card_keys_start(&keys);
    snprintf(target, sizeof target, "127.0.0.1:%d", keys.port);
    const struct rpc_channel_options options = {.target = target, .tls = {.insecure = true}};
    ck_assert_ok(rpc_channel_new(&options, &posp, &e), e);
    told[0] = '\0';
    wrap_version = 0;
}

static void tear_down(void)
{
    rpc_channel_free(posp);
    card_keys_stop(&keys);
    daemon_drop(&posv);
    daemon_drop(&card_process);
}

static void tell(void *context, const char *patent_step, const char *sentence)
{
    (void)context;
    const size_t used = strlen(told);
    snprintf(told + used, sizeof told - used, "%s %s\n", patent_step, sentence);
}

/* A card line that breaks at the n-th exchange, before the card hears it or after it has answered: a
 * decorator of the real line. */
struct breaking_line {
    struct card_link inner;
    int left;
    bool after;
};

static enum err_code breaking_power_on(void *state, uint8_t out_atr[CARD_ATR_MAX], size_t *out_len,
                                       struct err *e)
{
    struct breaking_line *line = state;
    return line->inner.transport->power_on(line->inner.state, out_atr, out_len, e);
}

static void breaking_power_off(void *state)
{
    (void)state;
}

static enum err_code breaking_exchange(void *state, const uint8_t *command, size_t len,
                                       uint8_t out_response[APDU_RESPONSE_MAX], size_t *out_len,
                                       struct err *e)
{
    struct breaking_line *line = state;
    const bool breaks = line->left-- == 0;
    if (breaks && !line->after)
        return err_set(e, ERR_IO, "the card was pulled out");
    TRY(line->inner.transport->exchange(line->inner.state, command, len, out_response, out_len, e));
    return breaks ? err_set(e, ERR_IO, "the card was pulled out") : ERR_OK;
}

static void breaking_close(void *state)
{
    card_link_drop(&((struct breaking_line *)state)->inner);
}

static const struct card_transport breaking_transport = {.power_on = breaking_power_on,
                                                         .power_off = breaking_power_off,
                                                         .exchange = breaking_exchange,
                                                         .close = breaking_close};

static enum err_code issue_over(struct card_link *card, const char *profile_name,
                                Posward__Types__V1__Suite suite, const char *terminal_id,
                                struct issue_result *out_result, struct err *e)
{
    struct card_profile profile;
    TRY(card_profile_load(NULL, profile_name, &profile, e));
    const struct issue_order order = {.profile = &profile,
                                      .suite = suite,
                                      .wrap_version = wrap_version,
                                      .terminal_id = terminal_id,
                                      .merchant_id = terminal_id != NULL ? MERCHANT : NULL};
    const struct issue_parts parts = {
        .card = card, .posp = posp, .posv = posv.channel, .timeout_ms = 3000, .tell = tell};
    return issue_card(&order, &parts, out_result, e);
}

static enum err_code issue(const char *profile_name, Posward__Types__V1__Suite suite, const char *terminal_id,
                           struct issue_result *out_result, struct err *e)
{
    AUTO(card_link) card = {0};
    TRY(reader_open(reader, &card, e));
    return issue_over(&card, profile_name, suite, terminal_id, out_result, e);
}

static struct issue_result must_issue(Posward__Types__V1__Suite suite, const char *terminal_id)
{
    struct issue_result result;
    struct err e = {0};
    ck_assert_ok(issue("aes", suite, terminal_id, &result, &e), e);
    return result;
}

static void must_fail(Posward__Types__V1__Suite suite, const char *terminal_id, enum err_code code,
                      const char *note)
{
    struct issue_result result;
    struct err e = {0};
    ck_assert_int_eq(issue("aes", suite, terminal_id, &result, &e), code);
    ck_assert_msg(strstr(e.note, note) != NULL, "note is '%s', without '%s'", e.note, note);
}

/* What the card itself tells; false: no TMK. */
static bool card_tells(struct psam_key_info *out_info)
{
    AUTO(card_link) card = {0};
    struct apdu_response response;
    struct err e = {0};
    const struct apdu_command command = psam_get_key_info(PSAM_TMK);
    ck_assert_ok(reader_open(reader, &card, &e), e);
    ck_assert_ok(card_exchange(&card, &command, &response, &e), e);
    if (response.sw == SW_KEY_NOT_FOUND)
        return false;
    ck_assert_ok(psam_key_info_parse(&response, out_info, &e), e);
    return true;
}

static void register_device(const char *terminal_id, const char *number)
{
    char request[300];
    struct err e = {0};
    snprintf(request, sizeof request,
             "{\"terminalId\": \"%s\", \"merchantId\": \"" MERCHANT "\", \"psamNumber\": \"%s\","
             " \"suite\": \"SUITE_TDES\", \"masterVersion\": 1}",
             terminal_id, number);
    ck_assert_ok(
        daemon_call(&posv, &posward__posv__v1__registry__descriptor, "RegisterDevice", request, NULL, &e), e);
}

static const struct {
    const char *profile;
    Posward__Types__V1__Suite suite;
    uint32_t wrap_version;
    uint8_t algorithm;
} kinds[] = {{"aes", TDES, 0, 0x00},    {"aes", AES_128, 0, 0x12}, {"aes", AES_256, 0, 0x13},
             {"pboc", TDES, 0, 0x00},   {"aes", TDES, 1, 0x00},    {"aes", AES_128, 1, 0x02},
             {"aes", AES_256, 1, 0x03}, {"aes", AES_256, 2, 0x13}};

static uint32_t registered_wrap_version(const char *terminal_id)
{
    Posward__Posv__V1__GetDeviceRequest request = POSWARD__POSV__V1__GET_DEVICE_REQUEST__INIT;
    const struct rpc_call_options options = {.timeout_ms = 3000};
    ProtobufCMessage *response = NULL;
    struct err e = {0};
    request.terminal_id = (char *)terminal_id;
    ck_assert_ok(rpc_unary(posv.channel, &posward__posv__v1__registry__descriptor, "GetDevice", &request.base,
                           &options, &response, &e),
                 e);
    const uint32_t version = ((const Posward__Posv__V1__Device *)response)->wrap_version;
    protobuf_c_message_free_unpacked(response, NULL);
    return version;
}

START_TEST(each_profile_and_suite_is_written_and_verified)
{
    struct issue_result result;
    struct psam_key_info info;
    struct err e = {0};
    keys.master_version = 7;
    wrap_version = kinds[_i].wrap_version;
    ck_assert(!card_tells(&info));
    ck_assert_ok(issue(kinds[_i].profile, kinds[_i].suite, "A0000001", &result, &e), e);
    ck_assert_str_eq(result.psam_number, NUMBER);
    ck_assert_uint_eq(result.master_version, 7);
    ck_assert_int_eq(result.registration, ISSUE_REGISTERED);
    ck_assert_int_eq(result.revision, 1);
    ck_assert_int_eq(result.grade, POSWARD__TYPES__V1__GRADE__GRADE_IN_TOKEN);
    ck_assert(card_tells(&info));
    ck_assert_uint_eq(info.header.version, 7);
    ck_assert_uint_eq(info.header.algorithm, kinds[_i].algorithm);
    ck_assert_uint_eq(result.wrap_version, (kinds[_i].algorithm & 0x10) != 0 ? 2 : 1);
    ck_assert_uint_eq(registered_wrap_version("A0000001"), result.wrap_version);
    ck_assert_uint_eq(result.kcv_bytes, PSAM_KCV_BYTES);
    ck_assert_mem_eq(info.kcv, result.kcv, PSAM_KCV_BYTES);
    ck_assert_int_eq(keys.requested, 1);
    ck_assert_int_eq(keys.confirmed, 1);
}
END_TEST

START_TEST(steps_are_told_in_the_patents_order)
{
    static const char *const order[] = {
        "S301 the card in the reader has PSAM number " NUMBER,
        "S307 terminal A0000001 can take this card",
        "S301-S304 the TMK was derived from the number (aes-128, master version 1)",
        "[IN_TOKEN]",
        "S305 the card took 1 command\n",
        "S305 the card tells KCV ",
        "S305 POSP keeps the card as written",
        "S307 terminal A0000001 of merchant " MERCHANT " is registered (revision 1)"};
    must_issue(AES_128, "A0000001");
    const char *rest = told;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        const char *place = strstr(rest, order[i]);
        ck_assert_msg(place != NULL, "'%s' is not told, or too early, in:\n%s", order[i], told);
        rest = place;
    }
}
END_TEST

START_TEST(without_a_terminal_nothing_is_registered)
{
    const struct issue_result result = must_issue(TDES, NULL);
    ck_assert_int_eq(result.registration, ISSUE_UNREGISTERED);
    ck_assert_ptr_null(strstr(told, "S307"));
}
END_TEST

START_TEST(second_run_leaves_the_device_as_it_is)
{
    must_issue(TDES, "A0000001");
    const struct issue_result again = must_issue(TDES, "A0000001");
    ck_assert_int_eq(again.registration, ISSUE_WAS_REGISTERED);
    ck_assert_int_eq(again.revision, 1);
}
END_TEST

START_TEST(card_issued_again_brings_its_entry_up_to_date)
{
    must_issue(TDES, "A0000001");
    keys.master_version = 2;
    const struct issue_result newer = must_issue(TDES, "A0000001");
    ck_assert_int_eq(newer.registration, ISSUE_UPDATED);
    ck_assert_int_eq(newer.revision, 2);
    const struct issue_result other = must_issue(AES_256, "A0000001");
    ck_assert_int_eq(other.registration, ISSUE_UPDATED);
    ck_assert_int_eq(other.revision, 3);
    wrap_version = 1;
    ck_assert_int_eq(must_issue(AES_256, "A0000001").revision, 4);
    ck_assert_int_eq(must_issue(AES_256, "A0000001").registration, ISSUE_WAS_REGISTERED);
}
END_TEST

START_TEST(terminal_with_another_card_is_seen_before_the_card_is_written)
{
    struct psam_key_info info;
    register_device("A0000001", OTHER_NUMBER);
    must_fail(TDES, "A0000001", ERR_EXISTS, "terminal A0000001 has card " OTHER_NUMBER);
    register_device("A0000002", NUMBER);
    must_fail(TDES, "A0000003", ERR_EXISTS, "card " NUMBER " is in terminal A0000002");
    must_fail(TDES, "A 000003", ERR_INPUT, "terminal_id must be 8 characters");
    ck_assert_int_eq(keys.requested, 0);
    ck_assert(!card_tells(&info));
}
END_TEST

START_TEST(suite_that_does_not_fit_the_profile_is_refused)
{
    struct issue_result result;
    struct err e = {0};
    ck_assert_int_eq(issue("pboc", AES_128, NULL, &result, &e), ERR_INPUT);
    ck_assert_str_eq(e.note, "card profile pboc does not take suite aes-128");
}
END_TEST

START_TEST(wrap_version_that_the_suite_has_not_is_refused)
{
    wrap_version = 2;
    must_fail(TDES, NULL, ERR_INPUT, "--wrap-version is 2; with suite tdes it must be 1");
    wrap_version = 3;
    must_fail(AES_128, NULL, ERR_INPUT, "--wrap-version is 3; with suite aes-128 it must be 1 or 2");
    ck_assert_int_eq(keys.requested, 0);
}
END_TEST

/* Services that are not up to date drop the field: seen before a terminal is registered that could not sign
 * in. */
START_TEST(services_of_before_are_seen)
{
    struct psam_key_info info;
    keys.no_wrap_version = 1;
    must_fail(AES_256, "A0000001", ERR_UNSUPPORTED, "POSP made a key of wrap version 1, not 2: update POSP");
    ck_assert(!card_tells(&info));
    keys.no_wrap_version = 0;
    keys.old_hsm = 1;
    must_fail(AES_256, "A0000001", ERR_CHECK,
              "the card holds a TMK of wrap version 1, not 2: update the HSM service");
    ck_assert_int_eq(keys.confirmed, 0);
    wrap_version = 1;
    keys.no_wrap_version = 1;
    must_issue(AES_256, "A0000001");
}
END_TEST

START_TEST(card_that_refuses_the_wrap_version_gets_a_hint)
{
    keys.wrong_algorithm = 1;
    must_fail(AES_256, NULL, ERR_CHECK,
              "if this card knows wrap version 1 only, issue with --wrap-version 1");
    wrap_version = 1;
    struct issue_result result;
    struct err e = {0};
    ck_assert_int_eq(issue("aes", AES_256, NULL, &result, &e), ERR_CHECK);
    ck_assert_ptr_null(strstr(e.note, "--wrap-version"));
}
END_TEST

START_TEST(wrong_mac_names_the_status_word_and_leaves_the_card)
{
    struct psam_key_info info;
    struct issue_result result;
    struct err e = {0};
    keys.wrong_mac = 1;
    ck_assert_int_eq(issue("aes", TDES, NULL, &result, &e), ERR_CHECK);
    ck_assert_msg(strstr(e.note, "S305, writing the key: card command 1 of 1") != NULL, "%s", e.note);
    ck_assert_msg(strstr(e.note, "9302") != NULL, "%s", e.note);
    ck_assert_int_eq(e.native, SW_MAC_WRONG);
    ck_assert(!card_tells(&info));
    ck_assert_int_eq(keys.confirmed, 0);
    keys.wrong_mac = 0;
    must_issue(TDES, NULL);
}
END_TEST

START_TEST(kcv_that_differs_is_not_confirmed)
{
    keys.wrong_kcv = 1;
    must_fail(TDES, "A0000001", ERR_CHECK,
              "S305, verifying the key: the KCV that the card tells is not that");
    ck_assert_int_eq(keys.confirmed, 0);
    keys.wrong_kcv = 0;
    ck_assert_int_eq(must_issue(TDES, "A0000001").registration, ISSUE_REGISTERED);
}
END_TEST

START_TEST(failures_of_posp_say_where_and_whether_to_try_again)
{
    keys.refuse = ERR_DENIED;
    must_fail(TDES, NULL, ERR_DENIED, "S301-S304, requesting the key: POSP: refused as the test wants it");
    keys.refuse = ERR_OK;
    keys.no_commands = 1;
    must_fail(TDES, NULL, ERR_INTERNAL, "POSP sent 0 card commands");
    card_keys_stop(&keys);
    must_fail(TDES, NULL, ERR_UNAVAILABLE, "requesting the key (run the same command again)");
}
END_TEST

START_TEST(posv_away_is_seen_before_the_card_is_written)
{
    daemon_kill(&posv);
    const struct rpc_channel_options options = {.target = "127.0.0.1:1", .tls = {.insecure = true}};
    struct err e = {0};
    ck_assert_ok(rpc_channel_new(&options, &posv.channel, &e), e);
    must_fail(TDES, "A0000001", ERR_UNAVAILABLE,
              "S307, looking up the terminal (run the same command again)");
    ck_assert_int_eq(keys.requested, 0);
    rpc_channel_free(posv.channel);
    posv.channel = NULL;
}
END_TEST

#define EXCHANGES 4 /* number, challenge, write, verify */

START_TEST(card_pulled_out_anywhere_can_be_issued_again)
{
    struct err e = {0};
    struct issue_result result;
    struct breaking_line line = {.left = _i / 2, .after = _i % 2 != 0};
    ck_assert_ok(reader_open(reader, &line.inner, &e), e);
    struct card_link card = {.transport = &breaking_transport, .state = &line};
    ck_assert_int_eq(issue_over(&card, "aes", AES_128, "A0000001", &result, &e), ERR_IO);
    ck_assert_msg(strstr(e.note, "run the same command again") != NULL, "%s", e.note);
    card_link_drop(&card);
    ck_assert_int_eq(keys.confirmed, 0);
    ck_assert_int_eq(must_issue(AES_128, "A0000001").registration, ISSUE_REGISTERED);
}
END_TEST

START_TEST(no_card_in_the_reader_is_said)
{
    daemon_kill(&card_process);
    must_fail(TDES, NULL, ERR_UNAVAILABLE, "reader tcp:127.0.0.1:");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("issue");
    TCase *tc = tcase_create("issue");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, each_profile_and_suite_is_written_and_verified, 0,
                        sizeof kinds / sizeof kinds[0]);
    tcase_add_test(tc, steps_are_told_in_the_patents_order);
    tcase_add_test(tc, without_a_terminal_nothing_is_registered);
    tcase_add_test(tc, second_run_leaves_the_device_as_it_is);
    tcase_add_test(tc, card_issued_again_brings_its_entry_up_to_date);
    tcase_add_test(tc, terminal_with_another_card_is_seen_before_the_card_is_written);
    tcase_add_test(tc, suite_that_does_not_fit_the_profile_is_refused);
    tcase_add_test(tc, wrap_version_that_the_suite_has_not_is_refused);
    tcase_add_test(tc, services_of_before_are_seen);
    tcase_add_test(tc, card_that_refuses_the_wrap_version_gets_a_hint);
    tcase_add_test(tc, wrong_mac_names_the_status_word_and_leaves_the_card);
    tcase_add_test(tc, kcv_that_differs_is_not_confirmed);
    tcase_add_test(tc, failures_of_posp_say_where_and_whether_to_try_again);
    tcase_add_test(tc, posv_away_is_seen_before_the_card_is_written);
    tcase_add_loop_test(tc, card_pulled_out_anywhere_can_be_issued_again, 0, 2 * EXCHANGES);
    tcase_add_test(tc, no_card_in_the_reader_is_said);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

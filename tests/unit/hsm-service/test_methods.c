/* A keeper's methods on a token that fails on demand. */
#include "base/clock.h"
#include "hsm-service/ipc.h"
#include "hsm-service/keeper/methods.h"
#include "tests/support/null_token.h"
#include "tests/support/suite.h"

#include <string.h>

enum method { GENERATE_MAC = 2, PROCESS_BATCH = 8 }; /* index in the service's descriptor */

static struct tok *tok;
static struct arena arena;
static struct null_token_control *control;
static struct err e;
static int64_t deadline_ms;

static void set_up(void)
{
    deadline_ms = INT64_MAX;
    tok = null_token_open(1);
    control = null_token_control();
    ck_assert_ok(arena_init(&arena, &e), e);
}

static void tear_down(void)
{
    *control = (struct null_token_control){0};
    arena_drop(&arena);
    null_token_close(tok);
}

/* A UnionPay MAC by the zone's key: one C_Encrypt. */
struct mac_request {
    Posward__Hsm__V1__GenerateMacRequest message;
    Posward__Hsm__V1__KeyRef key;
    Posward__Hsm__V1__ZoneKey zone;
};

static void fill(struct mac_request *r)
{
    static char zone[] = "bank";
    static uint8_t data[8];
    posward__hsm__v1__generate_mac_request__init(&r->message);
    posward__hsm__v1__key_ref__init(&r->key);
    posward__hsm__v1__zone_key__init(&r->zone);
    r->zone.zone = zone;
    r->zone.suite = POSWARD__TYPES__V1__SUITE__SUITE_TDES;
    r->key.key_case = POSWARD__HSM__V1__KEY_REF__KEY_ZONE;
    r->key.zone = &r->zone;
    r->message.key = &r->key;
    r->message.algorithm = POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_UNIONPAY_ECB;
    r->message.data = (ProtobufCBinaryData){sizeof data, data};
}

static enum err_code serve(enum method index, const ProtobufCMessage *message, bool *out_away,
                           ProtobufCBinaryData *out_answer)
{
    uint8_t body[4096];
    static const struct keeper_policy policy = {.tdes_mak_bytes_min = 8};
    static uint8_t pin_uses[IPC_PIN_USES_MAX * IPC_PIN_USE_BYTES];
    struct keeper_call call = {.tok = tok,
                               .arena = &arena,
                               .policy = &policy,
                               .pin_uses = pin_uses,
                               .deadline_ms = deadline_ms};
    ck_assert_uint_le(protobuf_c_message_get_packed_size(message), sizeof body);
    const size_t len = protobuf_c_message_pack(message, body);
    const enum err_code code =
        methods_serve(&call, IPC_METHOD(IPC_DATA_PLANE, index), body, len, out_answer, &e);
    ck_assert_ptr_null(call.session);
    *out_away = call.token_away;
    return code;
}

static enum err_code mac(bool *out_away)
{
    struct mac_request request;
    ProtobufCBinaryData answer;
    fill(&request);
    const enum err_code code = serve(GENERATE_MAC, &request.message.base, out_away, &answer);
    arena_reset(&arena);
    return code;
}

static void break_encrypt(CK_RV rv, unsigned times, bool ends_sessions)
{
    *control = (struct null_token_control){
        .call = "C_Encrypt", .rv = rv, .times = times, .ends_sessions = ends_sessions};
}

START_TEST(session_that_dies_under_a_call_costs_no_answer)
{
    static const CK_RV deaths[] = {CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED,     CKR_DEVICE_REMOVED,
                                   CKR_DEVICE_ERROR,           CKR_KEY_HANDLE_INVALID, CKR_OPERATION_ACTIVE,
                                   CKR_USER_NOT_LOGGED_IN,     CKR_TOKEN_NOT_PRESENT};
    bool away = true;
    for (size_t i = 0; i < 2 * sizeof deaths / sizeof deaths[0]; i++) {
        break_encrypt(deaths[i / 2], 1, i % 2 == 1); /* one session, or the whole token with its login */
        ck_assert_ok(mac(&away), e);
        ck_assert(!away);
        ck_assert_uint_ge(control->made, 2);
        ck_assert_ok(mac(&away), e);
    }
}
END_TEST

START_TEST(token_that_stays_away_is_tried_twice_and_said_to_be_away)
{
    bool away = false;
    break_encrypt(CKR_DEVICE_REMOVED, 1000, false);
    ck_assert_int_eq(mac(&away), ERR_UNAVAILABLE);
    ck_assert(away);
    ck_assert_uint_eq(control->made, 2);
    control->times = 0;
    ck_assert_ok(mac(&away), e);
    ck_assert(!away);
}
END_TEST

START_TEST(last_try_of_the_pin_is_not_risked)
{
    static const CK_FLAGS flags[] = {CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED};
    bool away;
    for (size_t i = 0; i < 2; i++) {
        break_encrypt(CKR_TOKEN_NOT_PRESENT, 1, true);
        control->token_flags = flags[i];
        ck_assert_int_eq(mac(&away), ERR_UNAUTHENTICATED);
        control->token_flags = CKF_USER_PIN_COUNT_LOW;
        ck_assert_ok(mac(&away), e);
    }
}
END_TEST

START_TEST(refusal_of_the_token_is_not_tried_again)
{
    bool away = true;
    break_encrypt(CKR_KEY_FUNCTION_NOT_PERMITTED, 1, false);
    ck_assert_int_eq(mac(&away), ERR_DENIED);
    ck_assert_uint_eq(control->made, 1);
    ck_assert(!away);
}
END_TEST

static void batch(Posward__Hsm__V1__ProcessBatchResponse **out_answer, bool *out_away)
{
    struct mac_request request;
    Posward__Hsm__V1__ProcessBatchRequest message = POSWARD__HSM__V1__PROCESS_BATCH_REQUEST__INIT;
    Posward__Hsm__V1__BatchItem item = POSWARD__HSM__V1__BATCH_ITEM__INIT;
    Posward__Hsm__V1__BatchItem *items[] = {&item, &item, &item};
    ProtobufCBinaryData answer;
    fill(&request);
    item.operation_case = POSWARD__HSM__V1__BATCH_ITEM__OPERATION_GENERATE_MAC;
    item.generate_mac = &request.message;
    message.n_items = 3;
    message.items = items;
    ck_assert_ok(serve(PROCESS_BATCH, &message.base, out_away, &answer), e);
    *out_answer = posward__hsm__v1__process_batch_response__unpack(NULL, answer.len, answer.data);
    ck_assert_ptr_nonnull(*out_answer);
    ck_assert_uint_eq((*out_answer)->n_results, 3);
}

START_TEST(batch_goes_on_after_a_session_died)
{
    Posward__Hsm__V1__ProcessBatchResponse *answer;
    bool away = true;
    break_encrypt(CKR_SESSION_HANDLE_INVALID, 1, true);
    batch(&answer, &away);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(answer->results[i]->status, 0);
    ck_assert(!away);
    posward__hsm__v1__process_batch_response__free_unpacked(answer, NULL);
}
END_TEST

/* Else a keeper that gets batches only would never notice that its token is lost. */
START_TEST(batch_on_a_lost_token_says_so_and_stops_trying)
{
    Posward__Hsm__V1__ProcessBatchResponse *answer;
    bool away = false;
    break_encrypt(CKR_DEVICE_REMOVED, 1000, false);
    batch(&answer, &away);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(answer->results[i]->status, 14); /* UNAVAILABLE */
    ck_assert_uint_eq(control->made, 2);
    ck_assert(away);
    posward__hsm__v1__process_batch_response__free_unpacked(answer, NULL);
}
END_TEST

START_TEST(batch_ends_at_its_deadline)
{
    Posward__Hsm__V1__ProcessBatchResponse *answer;
    bool away;
    break_encrypt(CKR_OK, 0, false);
    deadline_ms = clock_monotonic_ms();
    batch(&answer, &away);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(answer->results[i]->status, 4); /* DEADLINE_EXCEEDED */
    ck_assert_uint_eq(control->made, 0);
    posward__hsm__v1__process_batch_response__free_unpacked(answer, NULL);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm methods");
    TCase *tc = tcase_create("retry");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, session_that_dies_under_a_call_costs_no_answer);
    tcase_add_test(tc, token_that_stays_away_is_tried_twice_and_said_to_be_away);
    tcase_add_test(tc, last_try_of_the_pin_is_not_risked);
    tcase_add_test(tc, refusal_of_the_token_is_not_tried_again);
    tcase_add_test(tc, batch_goes_on_after_a_session_died);
    tcase_add_test(tc, batch_on_a_lost_token_says_so_and_stops_trying);
    tcase_add_test(tc, batch_ends_at_its_deadline);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

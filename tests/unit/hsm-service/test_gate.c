/* The gate without processes: refused items and their results, rights applied to facts, PINs counted before
 * an answer leaves. */
#include "hsm-service/gate/admit.h"
#include "hsm-service/gate/permit.h"
#include "hsm-service/gate/refusals.h"
#include "hsm-service/gate/rights.h"
#include "posward/hsm/v1/hsm.pb-c.h"
#include "tests/support/suite.h"

#include <stdlib.h>
#include <string.h>

typedef Posward__Hsm__V1__BatchItem Item;
typedef Posward__Hsm__V1__BatchResult Result;
typedef Posward__Hsm__V1__ProcessBatchResponse Response;

#define ITEMS     5
#define BATCH     "ProcessBatch"
#define TRANSLATE "TranslatePin"

static struct err e;

static uint16_t method_of(const char *name)
{
    const ProtobufCServiceDescriptor *const service = &posward__hsm__v1__data_plane__descriptor;
    for (unsigned i = 0; i < service->n_methods; i++)
        if (strcmp(service->methods[i].name, name) == 0)
            return IPC_METHOD(IPC_DATA_PLANE, i);
    ck_abort_msg("no method %s", name);
}

/* ---- Refusals ---- */

static size_t pack_results(uint8_t *out_bytes)
{
    Response response = POSWARD__HSM__V1__PROCESS_BATCH_RESPONSE__INIT;
    Posward__Hsm__V1__GenerateMacResponse macs[ITEMS];
    uint8_t mac[200];
    Result results[ITEMS], *list[ITEMS];
    memset(mac, 0x5A, sizeof mac);
    for (int i = 0; i < ITEMS; i++) {
        posward__hsm__v1__batch_result__init(list[i] = &results[i]);
        posward__hsm__v1__generate_mac_response__init(&macs[i]);
        macs[i].mac = (ProtobufCBinaryData){(size_t)i * 50, mac}; /* one and two bytes of length */
        results[i].result_case = POSWARD__HSM__V1__BATCH_RESULT__RESULT_GENERATE_MAC;
        results[i].generate_mac = &macs[i];
    }
    response.n_results = ITEMS;
    response.results = list;
    return posward__hsm__v1__process_batch_response__pack(&response, out_bytes);
}

/* Every set of refused items: theirs say why and nothing else, the others are as they were. */
START_TEST(refused_results_are_replaced)
{
    uint8_t packed[2048];
    const size_t len = pack_results(packed);
    struct err why = {0};
    (void)err_set(&why, ERR_LIMIT, "too many; try again in 7 s");
    why.retry_ms = 6500;
    for (unsigned set = 1; set < 1U << ITEMS; set++) {
        struct refusals refusals = {0};
        uint8_t *bytes = NULL, bits[IPC_REFUSED_BYTES] = {0};
        size_t out_len = 0;
        for (unsigned i = ITEMS; i-- > 0;) /* in no special order, and some twice */
            for (unsigned twice = 0; twice < 2 && (set >> i & 1) != 0; twice++)
                ck_assert_ok(refusals_add(&refusals, (uint16_t)i, &why, &e), e);
        refusals_mark(&refusals, bits);
        ck_assert_uint_eq(bits[0], set);
        ck_assert_ok(refusals_apply(&refusals, (struct wire_bytes){packed, len}, &bytes, &out_len, &e), e);
        Response *const got = posward__hsm__v1__process_batch_response__unpack(NULL, out_len, bytes);
        ck_assert_ptr_nonnull(got);
        ck_assert_uint_eq(got->n_results, ITEMS);
        for (unsigned i = 0; i < ITEMS; i++) {
            const bool refused = (set >> i & 1) != 0;
            ck_assert(refusals_have(&refusals, (uint16_t)i) == refused);
            ck_assert_int_eq(got->results[i]->status, refused ? 8 : 0);
            ck_assert_int_eq(got->results[i]->retry_ms, refused ? 6500 : 0);
            ck_assert_str_eq(got->results[i]->message, refused ? why.note : "");
            ck_assert((got->results[i]->generate_mac == NULL) == refused);
            if (!refused)
                ck_assert_uint_eq(got->results[i]->generate_mac->mac.len, i * 50);
        }
        posward__hsm__v1__process_batch_response__free_unpacked(got, NULL);
        free(bytes);
        refusals_drop(&refusals);
    }
}
END_TEST

START_TEST(answer_without_a_refused_result_does_not_leave)
{
    uint8_t packed[2048], *bytes = NULL;
    const size_t len = pack_results(packed);
    struct refusals refusals = {0};
    struct err why = {0};
    size_t out_len = 0;
    (void)err_set(&why, ERR_DENIED, "no");
    ck_assert_ok(refusals_add(&refusals, ITEMS, &why, &e), e);
    ck_assert_int_eq(refusals_apply(&refusals, (struct wire_bytes){packed, len}, &bytes, &out_len, &e),
                     ERR_INTERNAL);
    ck_assert_ptr_null(bytes);
    refusals_drop(&refusals);
}
END_TEST

/* ---- PINs are counted before the answer leaves ---- */

static uint8_t blob[64] = {'P', 'W', 'B', '2',  1, 1, 16, 1,    20, 0x62, 0x01,
                           0,   0,   0,   0x12, 0, 0, 0,  0x01, 1,  1};

/* Translations from one terminal's key to a zone, `count` of them; 1: a call of its own. */
static void read_translations(unsigned count, struct facts *out_facts, uint8_t *packed)
{
    char bank[] = "bank", pan[] = "6225758326736419";
    Posward__Hsm__V1__ZoneKey zone = POSWARD__HSM__V1__ZONE_KEY__INIT;
    Posward__Hsm__V1__KeyRef from = POSWARD__HSM__V1__KEY_REF__INIT, to = POSWARD__HSM__V1__KEY_REF__INIT;
    Posward__Hsm__V1__TranslatePinRequest pin = POSWARD__HSM__V1__TRANSLATE_PIN_REQUEST__INIT;
    Posward__Hsm__V1__ProcessBatchRequest batch = POSWARD__HSM__V1__PROCESS_BATCH_REQUEST__INIT;
    Item item = POSWARD__HSM__V1__BATCH_ITEM__INIT, *items[8];
    zone.zone = bank;
    from.key_case = POSWARD__HSM__V1__KEY_REF__KEY_BLOB;
    from.blob = (ProtobufCBinaryData){sizeof blob, blob};
    to.key_case = POSWARD__HSM__V1__KEY_REF__KEY_ZONE;
    to.zone = &zone;
    pin.source = &from;
    pin.destination = &to;
    pin.pan = pan;
    item.operation_case = POSWARD__HSM__V1__BATCH_ITEM__OPERATION_TRANSLATE_PIN;
    item.translate_pin = &pin;
    for (unsigned i = 0; i < count; i++)
        items[i] = &item;
    batch.n_items = count;
    batch.items = items;
    const size_t len = count == 1 ? posward__hsm__v1__translate_pin_request__pack(&pin, packed)
                                  : posward__hsm__v1__process_batch_request__pack(&batch, packed);
    ck_assert_ok(facts_read(method_of(count == 1 ? TRANSLATE : BATCH), (struct wire_bytes){packed, len},
                            out_facts, &e),
                 e);
}

static const struct admit_caller caller = {"posp", 4};

/* The answer of a keeper that worked on the PINs of these items. */
static enum err_code answer(struct admit *admit, const struct facts *facts, unsigned count, bool failed,
                            struct refusals *refusals, struct admit_told *told)
{
    uint8_t packed[8 * IPC_PIN_USE_BYTES];
    struct ipc_frame frame = {.kind = IPC_RESPONSE, .pin_uses = packed, .pin_use_count = count};
    for (unsigned i = 0; i < count; i++)
        ipc_pin_use_pack(
            &(struct ipc_pin_use){.item = (uint16_t)i,
                                  .decoded = failed,
                                  .failed = failed,
                                  .account = {'5', '7', '5', '8', '3', '2', '6', '7', '3', '6', '4', '1'}},
            packed + i * IPC_PIN_USE_BYTES);
    return admit_answer(admit, &caller, facts, &frame, refusals, told, &e);
}

START_TEST(batch_keeps_back_what_is_too_much)
{
    const struct hsm_config config = {.pin_account_per_hour = 3};
    struct admit *admit = NULL;
    struct facts facts;
    struct refusals refusals = {0};
    struct admit_told told;
    uint8_t packed[2048];
    ck_assert_ok(admit_new(&config, &admit, &e), e);
    read_translations(5, &facts, packed);
    ck_assert_ok(answer(admit, &facts, 5, false, &refusals, &told), e);
    ck_assert_uint_eq(told.count, 2);
    ck_assert_int_eq(told.first.code, ERR_LIMIT);
    ck_assert_int_gt(told.first.retry_ms, 0);
    for (uint16_t i = 0; i < 5; i++)
        ck_assert(refusals_have(&refusals, i) == (i >= 3));
    ck_assert_ptr_null(strstr(told.first.note, "575832673641")); /* an account is never named by its number */
    refusals_drop(&refusals);
    facts_drop(&facts);
    admit_free(admit);
}
END_TEST

/* One row a limit that a terminal meets: the second operation is refused, and says whose count it was. */
START_TEST(call_is_kept_back_by_each_limit)
{
    static const struct {
        struct hsm_config config;
        bool failed;
        const char *says;
    } rows[] = {
        {{.pin_terminal_per_minute = 1}, false, "the terminal with PSAM 62010000001200000001"},
        {{.pin_terminal_per_hour = 1}, false, "the terminal with PSAM 62010000001200000001"},
        {{.pin_account_per_minute = 1}, false, "account (by its HMAC)"},
        {{.pin_account_per_hour = 1}, false, "account (by its HMAC)"},
        {{.pin_failures_key_per_hour = 1}, true, "62010000001200000001 did not decode"},
        {{.pin_failures_account_per_hour = 1}, true, "account (by its HMAC)"},
        {{.pin_failures_caller_per_hour = 1}, true, "caller posp did not decode"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct admit *admit = NULL;
        struct facts facts;
        struct refusals refusals = {0};
        struct admit_told told;
        uint8_t packed[2048];
        ck_assert_ok(admit_new(&rows[i].config, &admit, &e), e);
        read_translations(1, &facts, packed);
        ck_assert_ok(answer(admit, &facts, 1, rows[i].failed, &refusals, &told), e);
        ck_assert_int_eq(answer(admit, &facts, 1, rows[i].failed, &refusals, &told), ERR_LIMIT);
        ck_assert_msg(strstr(e.note, rows[i].says) != NULL, "row %zu: %s", i, e.note);
        ck_assert_int_gt(e.retry_ms, 0);
        ck_assert_uint_eq(refusals.count, 0);
        facts_drop(&facts);
        admit_free(admit);
    }
}
END_TEST

START_TEST(use_that_was_not_asked_for_stops_the_answer)
{
    const struct hsm_config config = {0};
    struct admit *admit = NULL;
    struct facts facts;
    struct refusals refusals = {0};
    struct admit_told told;
    uint8_t packed[2048];
    ck_assert_ok(admit_new(&config, &admit, &e), e);
    read_translations(3, &facts, packed);
    ck_assert_int_eq(answer(admit, &facts, 4, false, &refusals, &told), ERR_INTERNAL);
    facts_drop(&facts);
    admit_free(admit);
}
END_TEST

/* ---- Rights ---- */

START_TEST(items_without_a_right_are_refused_one_by_one)
{
    static const struct roles_row methods[] = {{"/posward.hsm.v1.DataPlane/ProcessBatch", ROLE_POSP},
                                               {"/posward.hsm.v1.DataPlane/ReportKeyUse", ROLE_POSP},
                                               {0}};
    char page[4096] = "";
    const struct roles_grant grant = {.identity = (char *)"posp", .roles = (char *)"posp"};
    const struct roles_options options = {
        .rows = methods, .grants = &grant, .grant_count = 1, .insecure_role = "all", .rights = rights_table};
    struct roles *roles = NULL;
    struct facts facts;
    struct refusals refusals = {0};
    uint8_t packed[2048];
    ck_assert_ok(roles_new(&options, &roles, &e), e);
    read_translations(4, &facts, packed);
    ck_assert_ok(permit_call(roles, "posp", &facts, &refusals, &e), e);
    ck_assert_uint_eq(refusals.count, 4);
    ck_assert_int_eq(refusals.items[0].why.code, ERR_DENIED);
    ck_assert_ptr_nonnull(strstr(refusals.items[0].why.note, "translate-pin"));
    facts_drop(&facts);
    refusals_drop(&refusals);
    read_translations(1, &facts, packed);
    ck_assert_int_eq(permit_call(roles, "posp", &facts, &refusals, &e), ERR_DENIED);
    ck_assert_int_eq(permit_call(roles, NULL, &facts, &refusals, &e), ERR_DENIED);
    ck_assert_ok(permit_method(roles, "posp", RIGHTS_REPORT_KEY_USE, &e), e);
    ck_assert_int_eq(permit_method(roles, NULL, RIGHTS_REPORT_KEY_USE, &e), ERR_DENIED);
    facts_drop(&facts);
    FILE *const out = fmemopen(page, sizeof page, "w");
    roles_metrics(roles, &(struct prometheus){.out = out});
    fclose(out);
    ck_assert_ptr_nonnull(
        strstr(page, "{method=\"posward.hsm.v1.DataPlane/ProcessBatch\",reason=\"right\"} 4\n"));
    ck_assert_ptr_nonnull(
        strstr(page, "{method=\"posward.hsm.v1.DataPlane/ReportKeyUse\",reason=\"right\"} 1\n"));
    roles_free(roles);
}
END_TEST

/* Its MAC is looked at before its zone: without the right nothing of it may reach a keeper. */
START_TEST(transaction_to_a_zone_without_a_name_needs_its_right)
{
    static const struct roles_row methods[] = {{"/x/Y", ROLE_POSP}, {0}};
    struct roles_name reseal = {(char *)"reseal"};
    const struct roles_grant grants[] = {{.identity = (char *)"posp", .roles = (char *)"posp"},
                                         {.identity = (char *)"other",
                                          .roles = (char *)"posp",
                                          .may = {.items = &reseal, .count = 1, .given = true}}};
    const struct roles_options options = {
        .rows = methods, .grants = grants, .grant_count = 2, .insecure_role = "all", .rights = rights_table};
    Posward__Hsm__V1__ZoneKey nameless = POSWARD__HSM__V1__ZONE_KEY__INIT;
    Posward__Hsm__V1__TransactionPin pin = POSWARD__HSM__V1__TRANSACTION_PIN__INIT;
    Posward__Hsm__V1__ProcessTransactionRequest request = POSWARD__HSM__V1__PROCESS_TRANSACTION_REQUEST__INIT;
    struct roles *roles = NULL;
    struct facts facts;
    struct refusals refusals = {0};
    uint8_t packed[256];
    pin.blob = (ProtobufCBinaryData){sizeof blob, blob};
    pin.destination = &nameless;
    request.pin = &pin;
    const size_t len = posward__hsm__v1__process_transaction_request__pack(&request, packed);
    ck_assert_ok(roles_new(&options, &roles, &e), e);
    ck_assert_ok(facts_read(method_of("ProcessTransaction"), (struct wire_bytes){packed, len}, &facts, &e),
                 e);
    ck_assert_ok(permit_call(roles, "posp", &facts, &refusals, &e), e);
    ck_assert_int_eq(permit_call(roles, "other", &facts, &refusals, &e), ERR_DENIED);
    facts_drop(&facts);
    roles_free(roles);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("gate");
    TCase *t = tcase_create("gate");
    tcase_add_test(t, refused_results_are_replaced);
    tcase_add_test(t, answer_without_a_refused_result_does_not_leave);
    tcase_add_test(t, batch_keeps_back_what_is_too_much);
    tcase_add_test(t, call_is_kept_back_by_each_limit);
    tcase_add_test(t, use_that_was_not_asked_for_stops_the_answer);
    tcase_add_test(t, items_without_a_right_are_refused_one_by_one);
    tcase_add_test(t, transaction_to_a_zone_without_a_name_needs_its_right);
    suite_add_tcase(s, t);
    return s;
}

SUITE_MAIN(suite())

/* What records and metrics say of a call, read from its packed messages. */
#include "hsm-service/front/operations.h"
#include "hsm-service/gate/blob_head.h"
#include "hsm-service/gate/records.h"
#include "hsm-service/ipc.h"
#include "posward/hsm/v1/hsm.pb-c.h"

#include "tests/support/suite.h"

#include <string.h>

typedef Posward__Hsm__V1__BatchItem Item;
typedef Posward__Hsm__V1__BatchResult Result;

static uint8_t blob[90] = {'P', 'W', 'B', '1', 1, 3, 16, 1, 19, 0x01, 0x23};

static uint16_t method_of(const char *name)
{
    const ProtobufCServiceDescriptor *const service = &posward__hsm__v1__data_plane__descriptor;
    for (unsigned i = 0; i < service->n_methods; i++)
        if (strcmp(service->methods[i].name, name) == 0)
            return IPC_METHOD(IPC_DATA_PLANE, i);
    ck_abort_msg("no method %s", name);
}

/* A batch of a MAC under a blob, an empty item, a transaction with a PIN alone, and working keys; the second
 * is refused. */
static size_t pack_batch(uint8_t *out_request, uint8_t *out_response, size_t *out_response_len)
{
    Posward__Hsm__V1__KeyRef ref = POSWARD__HSM__V1__KEY_REF__INIT;
    Posward__Hsm__V1__GenerateMacRequest mac = POSWARD__HSM__V1__GENERATE_MAC_REQUEST__INIT;
    Posward__Hsm__V1__TransactionPin pin = POSWARD__HSM__V1__TRANSACTION_PIN__INIT;
    Posward__Hsm__V1__ProcessTransactionRequest transaction =
        POSWARD__HSM__V1__PROCESS_TRANSACTION_REQUEST__INIT;
    Posward__Hsm__V1__GenerateWorkingKeysRequest keys = POSWARD__HSM__V1__GENERATE_WORKING_KEYS_REQUEST__INIT;
    Posward__Hsm__V1__ProcessBatchRequest request = POSWARD__HSM__V1__PROCESS_BATCH_REQUEST__INIT;
    Posward__Hsm__V1__ProcessBatchResponse response = POSWARD__HSM__V1__PROCESS_BATCH_RESPONSE__INIT;
    Item items[4], *item_list[4];
    Result results[4], *result_list[4];
    for (int i = 0; i < 4; i++) {
        posward__hsm__v1__batch_item__init(item_list[i] = &items[i]);
        posward__hsm__v1__batch_result__init(result_list[i] = &results[i]);
    }
    ref.key_case = POSWARD__HSM__V1__KEY_REF__KEY_BLOB;
    ref.blob = (ProtobufCBinaryData){sizeof blob, blob};
    mac.key = &ref;
    transaction.pin = &pin;
    items[0].operation_case = POSWARD__HSM__V1__BATCH_ITEM__OPERATION_GENERATE_MAC;
    items[0].generate_mac = &mac;
    items[2].operation_case = POSWARD__HSM__V1__BATCH_ITEM__OPERATION_PROCESS_TRANSACTION;
    items[2].process_transaction = &transaction;
    items[3].operation_case = POSWARD__HSM__V1__BATCH_ITEM__OPERATION_GENERATE_WORKING_KEYS;
    items[3].generate_working_keys = &keys;
    results[2].status = 7;
    request.n_items = response.n_results = 4;
    request.items = item_list;
    response.results = result_list;
    *out_response_len = posward__hsm__v1__process_batch_response__pack(&response, out_response);
    return posward__hsm__v1__process_batch_request__pack(&request, out_request);
}

START_TEST(batch_is_read_item_by_item)
{
    uint8_t request[1024], response[1024];
    size_t response_len = 0;
    const size_t len = pack_batch(request, response, &response_len);
    struct facts facts;
    struct err e = {0};
    ck_assert_ok(facts_read(method_of("ProcessBatch"), (struct wire_bytes){request, len}, &facts, &e), e);
    static const struct {
        const char *what, *key;
        unsigned classes, status, item;
    } wanted[] = {{"ProcessBatch/GenerateMac", "TDK/1230000000000000000/storage/9", FACTS_MAC, 0, 0},
                  {"ProcessBatch/ProcessTransaction", "blob", FACTS_PIN, 7, 2},
                  {"ProcessBatch/GenerateWorkingKeys", "psam-master/aes-256/newest", FACTS_KEYS, 0, 3}};
    struct facts_outcomes outcomes = facts_outcomes(&facts, (struct wire_bytes){response, response_len});
    ck_assert_uint_eq(facts.items, 4);
    ck_assert_uint_eq(facts.count, 3);
    for (size_t i = 0; i < facts.count; i++) {
        const struct facts_operation *const o = &facts.operations[i];
        const struct facts_outcome outcome = facts_next_outcome(&outcomes, o);
        const struct audit_record r = records_of(o, &outcome);
        ck_assert_str_eq(r.what, wanted[i].what);
        ck_assert_str_eq(r.key, wanted[i].key);
        ck_assert_uint_eq(o->classes, wanted[i].classes);
        ck_assert_uint_eq(o->item, wanted[i].item);
        ck_assert_uint_eq(outcome.status, wanted[i].status);
    }
    facts_drop(&facts);
}
END_TEST

static struct audit_record record_of(const char *method, const ProtobufCMessage *request,
                                     const ProtobufCMessage *response)
{
    uint8_t in[512], out[256];
    ck_assert(protobuf_c_message_get_packed_size(request) <= sizeof in);
    const size_t in_len = protobuf_c_message_pack(request, in);
    const size_t out_len = response != NULL ? protobuf_c_message_pack(response, out) : 0;
    struct facts facts;
    struct err e = {0};
    ck_assert_ok(facts_read(method_of(method), (struct wire_bytes){in, in_len}, &facts, &e), e);
    ck_assert_uint_eq(facts.count, 1);
    struct facts_outcomes outcomes = facts_outcomes(&facts, (struct wire_bytes){out, out_len});
    const struct facts_outcome outcome = facts_next_outcome(&outcomes, &facts.operations[0]);
    return records_of(&facts.operations[0], &outcome);
}

START_TEST(transaction_says_its_keys_and_the_version_of_its_answer)
{
    char bank[] = "bank";
    Posward__Hsm__V1__ZoneKey zone = POSWARD__HSM__V1__ZONE_KEY__INIT;
    Posward__Hsm__V1__TransactionMac mac = POSWARD__HSM__V1__TRANSACTION_MAC__INIT;
    Posward__Hsm__V1__TransactionPin pin = POSWARD__HSM__V1__TRANSACTION_PIN__INIT;
    Posward__Hsm__V1__TransactionTrack track = POSWARD__HSM__V1__TRANSACTION_TRACK__INIT;
    Posward__Hsm__V1__ProcessTransactionRequest request = POSWARD__HSM__V1__PROCESS_TRANSACTION_REQUEST__INIT;
    Posward__Hsm__V1__TranslatePinResponse moved = POSWARD__HSM__V1__TRANSLATE_PIN_RESPONSE__INIT;
    Posward__Hsm__V1__ProcessTransactionResponse response =
        POSWARD__HSM__V1__PROCESS_TRANSACTION_RESPONSE__INIT;
    zone.zone = bank;
    mac.blob = pin.blob = track.blob = (ProtobufCBinaryData){sizeof blob, blob};
    pin.destination = &zone;
    request.mac = &mac;
    request.pin = &pin;
    request.track = &track;
    moved.destination_zone_version = 4;
#define BLOB "TDK/1230000000000000000/storage/9"
    struct audit_record r = record_of("ProcessTransaction", &request.base, &response.base);
    ck_assert_str_eq(r.key, BLOB " " BLOB " zone/bank/newest " BLOB);
    response.pin = &moved;
    r = record_of("ProcessTransaction", &request.base, &response.base);
    ck_assert_str_eq(r.key, BLOB " " BLOB " zone/bank/4 " BLOB);
}
END_TEST

START_TEST(translation_says_the_versions_of_its_answer)
{
    char bank[] = "bank";
    Posward__Hsm__V1__ZoneKey zone = POSWARD__HSM__V1__ZONE_KEY__INIT;
    Posward__Hsm__V1__KeyRef key = POSWARD__HSM__V1__KEY_REF__INIT;
    Posward__Hsm__V1__TranslatePinRequest pin = POSWARD__HSM__V1__TRANSLATE_PIN_REQUEST__INIT;
    Posward__Hsm__V1__TranslatePinResponse moved = POSWARD__HSM__V1__TRANSLATE_PIN_RESPONSE__INIT;
    zone.zone = bank;
    key.key_case = POSWARD__HSM__V1__KEY_REF__KEY_ZONE;
    key.zone = &zone;
    pin.source = pin.destination = &key;
    moved.source_zone_version = 3;
    moved.destination_zone_version = 4;
    struct audit_record r = record_of("TranslatePin", &pin.base, NULL);
    ck_assert_str_eq(r.key, "zone/bank/newest zone/bank/newest");
    r = record_of("TranslatePin", &pin.base, &moved.base);
    ck_assert_str_eq(r.key, "zone/bank/3 zone/bank/4");
}
END_TEST

START_TEST(diversification_says_the_versions_of_its_answer)
{
    Posward__Hsm__V1__DiversifyCardKeyRequest request = POSWARD__HSM__V1__DIVERSIFY_CARD_KEY_REQUEST__INIT;
    Posward__Hsm__V1__DiversifyCardKeyResponse response = POSWARD__HSM__V1__DIVERSIFY_CARD_KEY_RESPONSE__INIT;
    request.suite = POSWARD__TYPES__V1__SUITE__SUITE_TDES;
    response.master_version = 5;
    response.control_version = 6;
    struct audit_record r = record_of("DiversifyCardKey", &request.base, NULL);
    ck_assert_str_eq(r.key, "psam-master/tdes/newest card-control/aes-256/newest");
    r = record_of("DiversifyCardKey", &request.base, &response.base);
    ck_assert_str_eq(r.key, "psam-master/tdes/5 card-control/aes-256/6");
}
END_TEST

START_TEST(batch_cut_anywhere_is_read_within_its_bytes)
{
    uint8_t request[1024], response[1024];
    size_t response_len = 0;
    const size_t len = pack_batch(request, response, &response_len);
    for (size_t cut = 0; cut < len + response_len; cut++) {
        const size_t in = cut < len ? cut : len, out = cut < len ? response_len : cut - len;
        uint8_t *const a = malloc(in + 1), *const b = malloc(out + 1); /* exact, for the address sanitizer */
        memcpy(a, request, in);
        memcpy(b, response, out);
        struct facts facts;
        struct err e = {0};
        ck_assert_ok(facts_read(method_of("ProcessBatch"), (struct wire_bytes){a, in}, &facts, &e), e);
        struct facts_outcomes outcomes = facts_outcomes(&facts, (struct wire_bytes){b, out});
        ck_assert_uint_le(facts.count, 3);
        for (size_t i = 0; i < facts.count; i++) {
            const struct facts_outcome outcome = facts_next_outcome(&outcomes, &facts.operations[i]);
            ck_assert_int_eq(records_of(&facts.operations[i], &outcome).kind, AUDIT_USE);
        }
        facts_drop(&facts);
        free(a);
        free(b);
    }
}
END_TEST

START_TEST(what_is_no_operation_has_none)
{
    const uint16_t others[] = {method_of("Echo"), IPC_METHOD(IPC_CONTROL, 0), IPC_METHOD(IPC_DATA_PLANE, 200),
                               IPC_METHOD(IPC_INTERNAL, 1)};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct facts facts;
        struct err e = {0};
        ck_assert_ok(facts_read(others[i], (struct wire_bytes){0}, &facts, &e), e);
        ck_assert_uint_eq(facts.count, 0);
        ck_assert_uint_eq(facts.items, 1);
    }
}
END_TEST

START_TEST(blob_head_says_whose_it_is)
{
    struct blob_head head;
    ck_assert(blob_head_read((struct wire_bytes){blob, sizeof blob}, &head));
    ck_assert_str_eq(head.usage, "TDK");
    ck_assert_uint_eq(head.storage_version, 9);
    for (size_t cut = 0; cut <= 20; cut++)
        ck_assert(!blob_head_read((struct wire_bytes){blob, cut}, &head));
    ck_assert_str_eq(head.terminal, "");
}
END_TEST

START_TEST(ckr_is_found_in_a_note)
{
    static const struct {
        const char *note, *name;
    } cases[] = {{"C_Sign: CKR_DEVICE_ERROR", "CKR_DEVICE_ERROR"},
                 {"a session was lost: C_Login: CKR_PIN_INCORRECT; mend it", "CKR_PIN_INCORRECT"},
                 {"CKR_", NULL},
                 {"no such blob", NULL},
                 {"", NULL},
                 {"CKR_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", NULL}};
    char name[CKR_NAME_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const found = front_operations_ckr(cases[i].note, strlen(cases[i].note), name);
        ck_assert_msg((found == NULL) == (cases[i].name == NULL), "case %zu", i);
        if (found != NULL)
            ck_assert_str_eq(found, cases[i].name);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("facts");
    TCase *t = tcase_create("facts");
    blob[20] = 9;
    tcase_add_test(t, batch_is_read_item_by_item);
    tcase_add_test(t, transaction_says_its_keys_and_the_version_of_its_answer);
    tcase_add_test(t, translation_says_the_versions_of_its_answer);
    tcase_add_test(t, diversification_says_the_versions_of_its_answer);
    tcase_add_test(t, batch_cut_anywhere_is_read_within_its_bytes);
    tcase_add_test(t, what_is_no_operation_has_none);
    tcase_add_test(t, blob_head_says_whose_it_is);
    tcase_add_test(t, ckr_is_found_in_a_note);
    suite_add_tcase(s, t);
    return s;
}

SUITE_MAIN(suite())

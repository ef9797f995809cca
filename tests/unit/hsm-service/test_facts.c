/* What records and metrics say of a call, read from its packed messages. */
#include "hsm-service/front/blob_head.h"
#include "hsm-service/front/facts.h"
#include "hsm-service/front/operations.h"
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
    Posward__Hsm__V1__TranslatePinRequest pin = POSWARD__HSM__V1__TRANSLATE_PIN_REQUEST__INIT;
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

START_TEST(batch_is_walked_item_by_item)
{
    uint8_t request[1024], response[1024];
    size_t response_len = 0;
    const size_t len = pack_batch(request, response, &response_len);
    struct facts_walk walk = facts_walk(method_of("ProcessBatch"), (struct wire_bytes){request, len},
                                        (struct wire_bytes){response, response_len});
    static const struct {
        const char *what, *key;
        unsigned classes, status;
    } wanted[] = {{"ProcessBatch/GenerateMac", "TDK/1230000000000000000/storage/9", FACTS_MAC, 0},
                  {"ProcessBatch/ProcessTransaction", "", FACTS_PIN, 7},
                  {"ProcessBatch/GenerateWorkingKeys", "psam-master/aes-256/newest", FACTS_KEYS, 0}};
    struct facts_operation o;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        ck_assert(facts_next(&walk, &o));
        const struct audit_record r = facts_record(&o);
        ck_assert_str_eq(r.what, wanted[i].what);
        ck_assert_str_eq(r.key, wanted[i].key);
        ck_assert_uint_eq(o.classes, wanted[i].classes);
        ck_assert_uint_eq(o.status, wanted[i].status);
    }
    ck_assert(!facts_next(&walk, &o));
    ck_assert(facts_makes_keys(method_of("ProcessBatch"), (struct wire_bytes){request, len}));
}
END_TEST

static struct audit_record record_of(const char *method, const ProtobufCMessage *request,
                                     const ProtobufCMessage *response)
{
    uint8_t in[256], out[256];
    ck_assert(protobuf_c_message_get_packed_size(request) <= sizeof in);
    const size_t in_len = protobuf_c_message_pack(request, in);
    const size_t out_len = response != NULL ? protobuf_c_message_pack(response, out) : 0;
    struct facts_walk walk =
        facts_walk(method_of(method), (struct wire_bytes){in, in_len}, (struct wire_bytes){out, out_len});
    struct facts_operation o;
    ck_assert(facts_next(&walk, &o));
    return facts_record(&o);
}

START_TEST(transaction_says_the_versions_of_its_answer)
{
    char bank[] = "bank";
    Posward__Hsm__V1__ZoneKey zone = POSWARD__HSM__V1__ZONE_KEY__INIT;
    Posward__Hsm__V1__KeyRef key = POSWARD__HSM__V1__KEY_REF__INIT;
    Posward__Hsm__V1__VerifyMacRequest mac = POSWARD__HSM__V1__VERIFY_MAC_REQUEST__INIT;
    Posward__Hsm__V1__TranslatePinRequest pin = POSWARD__HSM__V1__TRANSLATE_PIN_REQUEST__INIT;
    Posward__Hsm__V1__DecryptDataRequest track = POSWARD__HSM__V1__DECRYPT_DATA_REQUEST__INIT;
    Posward__Hsm__V1__ProcessTransactionRequest request = POSWARD__HSM__V1__PROCESS_TRANSACTION_REQUEST__INIT;
    Posward__Hsm__V1__VerifyMacResponse checked = POSWARD__HSM__V1__VERIFY_MAC_RESPONSE__INIT;
    Posward__Hsm__V1__TranslatePinResponse moved = POSWARD__HSM__V1__TRANSLATE_PIN_RESPONSE__INIT;
    Posward__Hsm__V1__DecryptDataResponse opened = POSWARD__HSM__V1__DECRYPT_DATA_RESPONSE__INIT;
    Posward__Hsm__V1__ProcessTransactionResponse response =
        POSWARD__HSM__V1__PROCESS_TRANSACTION_RESPONSE__INIT;
    zone.zone = bank;
    key.key_case = POSWARD__HSM__V1__KEY_REF__KEY_ZONE;
    key.zone = &zone;
    mac.key = pin.source = pin.destination = track.key = &key;
    request.mac = &mac;
    request.pin = &pin;
    request.track = &track;
    checked.zone_version = 2;
    moved.source_zone_version = 3;
    moved.destination_zone_version = 4;
    opened.zone_version = 255;
    response.mac = &checked;
    struct audit_record r = record_of("ProcessTransaction", &request.base, NULL);
    ck_assert_str_eq(r.key, "zone/bank/newest zone/bank/newest zone/bank/newest zone/bank/newest");
    r = record_of("ProcessTransaction", &request.base, &response.base); /* a MAC that does not match */
    ck_assert_str_eq(r.key, "zone/bank/2 zone/bank/newest zone/bank/newest zone/bank/newest");
    response.pin = &moved;
    response.track = &opened;
    r = record_of("ProcessTransaction", &request.base, &response.base);
    ck_assert_str_eq(r.key, "zone/bank/2 zone/bank/3 zone/bank/4 zone/bank/255");
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

START_TEST(batch_cut_anywhere_is_walked_within_its_bytes)
{
    uint8_t request[1024], response[1024];
    size_t response_len = 0;
    const size_t len = pack_batch(request, response, &response_len);
    for (size_t cut = 0; cut < len + response_len; cut++) {
        const size_t in = cut < len ? cut : len, out = cut < len ? response_len : cut - len;
        uint8_t *const a = malloc(in + 1), *const b = malloc(out + 1); /* exact, for the address sanitizer */
        memcpy(a, request, in);
        memcpy(b, response, out);
        struct facts_walk walk =
            facts_walk(method_of("ProcessBatch"), (struct wire_bytes){a, in}, (struct wire_bytes){b, out});
        struct facts_operation o;
        unsigned count = 0;
        while (facts_next(&walk, &o))
            count += facts_record(&o).kind == AUDIT_USE;
        ck_assert_uint_le(count, 3);
        free(a);
        free(b);
    }
}
END_TEST

START_TEST(what_is_no_operation_has_none)
{
    struct facts_operation o;
    const uint16_t others[] = {method_of("Echo"), IPC_METHOD(IPC_CONTROL, 0), IPC_METHOD(IPC_DATA_PLANE, 200),
                               IPC_METHOD(IPC_INTERNAL, 1)};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct facts_walk walk = facts_walk(others[i], (struct wire_bytes){0}, (struct wire_bytes){0});
        ck_assert(!facts_next(&walk, &o));
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
    tcase_add_test(t, batch_is_walked_item_by_item);
    tcase_add_test(t, transaction_says_the_versions_of_its_answer);
    tcase_add_test(t, diversification_says_the_versions_of_its_answer);
    tcase_add_test(t, batch_cut_anywhere_is_walked_within_its_bytes);
    tcase_add_test(t, what_is_no_operation_has_none);
    tcase_add_test(t, blob_head_says_whose_it_is);
    tcase_add_test(t, ckr_is_found_in_a_note);
    suite_add_tcase(s, t);
    return s;
}

SUITE_MAIN(suite())

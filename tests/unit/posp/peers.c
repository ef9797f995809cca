#include "tests/unit/posp/peers.h"

#include "iso8583/card.h"
#include "posward/posv/v1/posv.pb-c.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ZONE "bank"

typedef Posward__Hsm__V1__ProcessTransactionRequest transaction;

static struct peers peers;
static struct err e;

/* ---- the HSM service ---- */

struct answers {
    Posward__Hsm__V1__ProcessTransactionResponse transaction;
    Posward__Hsm__V1__VerifyMacResponse mac;
    Posward__Hsm__V1__TranslatePinResponse pin;
    Posward__Hsm__V1__DecryptDataResponse track;
    Posward__Hsm__V1__GenerateMacResponse made_mac;
    Posward__Hsm__V1__GenerateWorkingKeysResponse made_keys;
    Posward__Hsm__V1__WorkingKey keys[ISO_F62_SLOT_COUNT], *key_pointers[ISO_F62_SLOT_COUNT];
    struct iso_message message;
    struct iso_card card;
};

static uint8_t filling[ISO_F62_CIPHER_MAX] = {'A', 'B', 'C', 'D', 'E', 'F', '0', '1'};

static ProtobufCBinaryData some(size_t len)
{
    return (ProtobufCBinaryData){.data = filling, .len = len};
}

static void keep(const transaction *t)
{
    ck_assert_uint_lt(peers.asked_count, PEERS_ASKED_MAX);
    struct peers_asked *asked = &peers.asked[peers.asked_count++];
    ck_assert_uint_le(t->message.len, sizeof asked->message);
    *asked = (struct peers_asked){0};
    memcpy(asked->message, t->message.data, t->message.len);
    asked->len = t->message.len;
    snprintf(asked->dialect, sizeof asked->dialect, "%s", t->dialect);
    snprintf(asked->psam_number, sizeof asked->psam_number, "%s", t->psam_number);
    if (t->mac != NULL)
        asked->mak = t->mac->blob.data[0];
    if (t->pin != NULL) {
        asked->pik = t->pin->blob.data[0];
        asked->destination_format = t->pin->destination_format;
        snprintf(asked->zone, sizeof asked->zone, "%s", t->pin->destination->zone);
    }
    if (t->track != NULL)
        asked->tdk = t->track->blob.data[0];
}

static enum err_code read_card(const transaction *t, const struct iso_suite *suite, struct answers *a)
{
    TRY(iso_unpack(&a->message, &iso_unionpay, t->message.data, t->message.len, &e));
    TRY(iso_card_read(&a->message, suite, &a->card, &e));
    struct iso_card copy = a->card;
    return t->pin != NULL || t->track != NULL
               ? iso_card_complete(&copy, suite, a->card.cipher, a->card.cipher_len, &e)
               : ERR_OK;
}

/* As the service does: nothing without a MAC that matches, no part of a message that contradicts itself.
 */
static int process(const transaction *t, struct answers *a)
{
    const bool aes = strcmp(t->psam_number + strlen(t->psam_number) - 1, "2") == 0;
    keep(t);
    if (peers.status != 0)
        return peers.status;
    posward__hsm__v1__process_transaction_response__init(&a->transaction);
    posward__hsm__v1__verify_mac_response__init(&a->mac);
    a->transaction.mac = &a->mac;
    a->mac.matches = t->mac->blob.data[0] == peers.good_mak;
    if (!a->mac.matches)
        return 0;
    if (read_card(t, aes ? &iso_suite_aes : &iso_suite_tdes, a) != ERR_OK)
        return 3; /* INVALID_ARGUMENT */
    if (t->pin != NULL) {
        posward__hsm__v1__translate_pin_response__init(&a->pin);
        a->pin.block = some(a->card.pin_len);
        a->transaction.pin = &a->pin;
    }
    if (t->track != NULL) {
        posward__hsm__v1__decrypt_data_response__init(&a->track);
        a->track.data = (ProtobufCBinaryData){.data = a->card.cipher, .len = a->card.cipher_len};
        a->transaction.track = &a->track;
    }
    return 0;
}

static int make_keys(const Posward__Hsm__V1__GenerateWorkingKeysRequest *request, struct answers *a)
{
    const bool aes = request->suite != POSWARD__TYPES__V1__SUITE__SUITE_TDES;
    peers.spec_count = request->n_keys;
    posward__hsm__v1__generate_working_keys_response__init(&a->made_keys);
    for (size_t i = 0; i < request->n_keys; i++) {
        const Posward__Hsm__V1__WorkingKeySpec *spec = request->keys[i];
        peers.specs[i].usage = spec->usage;
        peers.specs[i].key_bytes = spec->key_bytes;
        peers.specs[i].mac = spec->mac_algorithm;
        posward__hsm__v1__working_key__init(&a->keys[i]);
        a->keys[i].usage = spec->usage;
        a->keys[i].cryptogram = some(aes ? spec->key_bytes + 8 : spec->key_bytes);
        a->keys[i].kcv = some(ISO_F62_CV_BYTES);
        a->keys[i].blob = some(1);
        a->key_pointers[i] = &a->keys[i];
    }
    a->made_keys.keys = a->key_pointers;
    a->made_keys.n_keys = request->n_keys;
    return peers.status;
}

static void answer_item(const Posward__Hsm__V1__BatchItem *item, struct answers *a,
                        Posward__Hsm__V1__BatchResult *result)
{
    posward__hsm__v1__batch_result__init(result);
    switch ((int)item->operation_case) {
    case POSWARD__HSM__V1__BATCH_ITEM__OPERATION_PROCESS_TRANSACTION:
        result->status = process(item->process_transaction, a);
        result->result_case = POSWARD__HSM__V1__BATCH_RESULT__RESULT_PROCESS_TRANSACTION;
        result->process_transaction = &a->transaction;
        break;
    case POSWARD__HSM__V1__BATCH_ITEM__OPERATION_GENERATE_WORKING_KEYS:
        result->status = make_keys(item->generate_working_keys, a);
        result->result_case = POSWARD__HSM__V1__BATCH_RESULT__RESULT_GENERATE_WORKING_KEYS;
        result->generate_working_keys = &a->made_keys;
        break;
    case POSWARD__HSM__V1__BATCH_ITEM__OPERATION_GENERATE_MAC:
        posward__hsm__v1__generate_mac_response__init(&a->made_mac);
        a->made_mac.mac = some(HSM_MAC_BYTES);
        result->result_case = POSWARD__HSM__V1__BATCH_RESULT__RESULT_GENERATE_MAC;
        result->generate_mac = &a->made_mac;
        break;
    default:
        result->status = 12; /* UNIMPLEMENTED */
    }
    if (result->status != 0)
        result->result_case = POSWARD__HSM__V1__BATCH_RESULT__RESULT__NOT_SET;
    result->retry_ms = result->status != 0 ? peers.retry_ms : 0;
}

/* One terminal at a time: one item a message. */
static void process_batch(Posward__Hsm__V1__DataPlane_Service *service,
                          const Posward__Hsm__V1__ProcessBatchRequest *request,
                          Posward__Hsm__V1__ProcessBatchResponse_Closure closure, void *closure_data)
{
    (void)service;
    Posward__Hsm__V1__ProcessBatchResponse response = POSWARD__HSM__V1__PROCESS_BATCH_RESPONSE__INIT;
    struct answers a;
    Posward__Hsm__V1__BatchResult result, *pointer = &result;
    ck_assert_uint_eq(request->n_items, 1);
    answer_item(request->items[0], &a, pointer);
    response.n_results = 1;
    response.results = &pointer;
    closure(&response, closure_data);
}

/* ---- the bank ---- */

static void authorize(Posward__Business__V1__Business_Service *service,
                      const Posward__Business__V1__AuthorizeRequest *request,
                      Posward__Business__V1__AuthorizeResponse_Closure closure, void *closure_data)
{
    (void)service;
    static char code[] = "00", authorization[] = "123456";
    Posward__Business__V1__AuthorizeResponse response = POSWARD__BUSINESS__V1__AUTHORIZE_RESPONSE__INIT;
    peers.authorized++;
    snprintf(peers.bank_pan, sizeof peers.bank_pan, "%s", request->pan);
    peers.bank_pin_len = request->pin_block.len;
    response.response_code = code;
    response.authorization_code = authorization;
    closure(&response, closure_data);
}

/* ---- POSP ---- */

static struct {
    char directory[64], path[80], target[32];
    struct rpc_server *server;
    Posward__Hsm__V1__DataPlane_Service hsm;
    Posward__Business__V1__Business_Service bank;
    struct posp_config config;
    struct unit_config unit;
    struct route_config route;
} own;

static void serve(void)
{
    const struct rpc_server_options options = {.listen = "127.0.0.1:0", .tls.insecure = true};
    posward__hsm__v1__data_plane__init(&own.hsm, NULL);
    posward__business__v1__business__init(&own.bank, NULL);
    own.hsm.process_batch = process_batch;
    own.bank.authorize = authorize;
    ck_assert_ok(rpc_server_new(&options, &own.server, &e), e);
    ck_assert_ok(rpc_server_add(own.server, &own.hsm.base, &e), e);
    ck_assert_ok(rpc_server_add(own.server, &own.bank.base, &e), e);
    ck_assert_ok(rpc_server_start(own.server, &e), e);
    snprintf(own.target, sizeof own.target, "127.0.0.1:%d", rpc_server_port(own.server));
}

static void configure(void)
{
    static char acquirer[] = "01050000", unit[] = ZONE, prefix[] = "62", same[] = "same", suite[] = "aes128",
                type[] = "purchase";
    own.unit = (struct unit_config){.name = unit, .peer = {.target = own.target, .insecure = true}};
    own.route = (struct route_config){
        .prefix = prefix, .type = type, .unit = unit, .pin_format = same, .zone_suite = suite};
    own.config = (struct posp_config){.acquirer_id = acquirer,
                                      .forward_timeout_ms = 10000,
                                      .hsm_timeout_ms = 10000,
                                      .terminals_workers = 4,
                                      .units = {&own.unit, 1},
                                      .routes = {&own.route, 1}};
}

static void add_device(const char *terminal_id, int suite, const char *psam_number)
{
    struct store_device device = {
        .suite = suite,
        .master_version = 1,
        .state = POSWARD__POSV__V1__DEVICE_STATE__DEVICE_STATE_ACTIVE,
        .revision = 1,
    };
    snprintf(device.terminal_id, sizeof device.terminal_id, "%s", terminal_id);
    snprintf(device.merchant_id, sizeof device.merchant_id, "%s", PEERS_MERCHANT);
    snprintf(device.psam_number, sizeof device.psam_number, "%s", psam_number);
    ck_assert_ok(store_device_put(peers.posp.store, &device, 1, &e), e);
}

struct peers *peers_start(void)
{
    peers = (struct peers){.good_mak = 1};
    serve();
    configure();
    suite_scratch_name("peers", own.directory, sizeof own.directory);
    ck_assert_ptr_nonnull(mkdtemp(own.directory));
    snprintf(own.path, sizeof own.path, "%s/posp.db", own.directory);
    struct posp *posp = &peers.posp;
    posp->config = &own.config;
    posp->dialect = &iso_unionpay;
    pthread_mutex_init(&posp->numbers.lock, NULL);
    ck_assert_ok(store_open(own.path, &posp->store, &e), e);
    ck_assert_ok(units_open(&own.config, &posp->units, &e), e);
    const struct rpc_channel_options channel = {.target = own.target, .tls = {.insecure = true}};
    ck_assert_ok(rpc_channel_new(&channel, &posp->hsm_channel, &e), e);
    ck_assert_ok(hsm_open(posp->hsm_channel, own.config.hsm_timeout_ms, &posp->hsm, &e), e);
    add_device(PEERS_TDES, 1, "62010000001234567891");
    add_device(PEERS_AES, 2, "62010000001234567892");
    return &peers;
}

void peers_stop(void)
{
    units_free(peers.posp.units);
    hsm_free(peers.posp.hsm);
    rpc_channel_free(peers.posp.hsm_channel);
    store_free(peers.posp.store);
    pthread_mutex_destroy(&peers.posp.numbers.lock);
    rpc_server_drain(own.server, 0, 2000);
    rpc_server_free(own.server);
}

void peers_put_keys(const char *terminal_id, uint8_t label)
{
    struct store_device device;
    ck_assert_ok(store_device_get(peers.posp.store, terminal_id, &device, &e), e);
    const struct store_blob blob = {.bytes = {label}, .len = 1};
    struct store_key_set set = {.suite = device.suite, .pik = blob, .mak = blob, .tdk = blob};
    memcpy(set.psam_number, device.psam_number, sizeof set.psam_number);
    ck_assert_ok(store_keys_put(peers.posp.store, terminal_id, &set, &e), e);
}

const char *peers_exchange(const struct iso_message *m)
{
    static char code[3];
    uint8_t bytes[512];
    size_t len = 0;
    struct answer answer;
    struct iso_message reply;
    ck_assert_ok(iso_pack(m, bytes, sizeof bytes, &len, &e), e);
    ck_assert_ok(dispatch(&peers.posp, bytes, len, &answer, &e), e);
    ck_assert_ok(iso_unpack(&reply, &iso_unionpay, answer.bytes, answer.len, &e), e);
    snprintf(code, sizeof code, "%s", iso_text(&reply, 39));
    iso_message_drop(&reply);
    return code;
}

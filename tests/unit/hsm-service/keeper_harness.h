/* A keeper's use cases on a token of either kind, for suites about the keys of terminals: a loop test whose
 * _i is the kind, on a fresh copy of a token prepared once. */
#ifndef POSWARD_TESTS_UNIT_HSM_SERVICE_KEEPER_HARNESS_H
#define POSWARD_TESTS_UNIT_HSM_SERVICE_KEEPER_HARNESS_H

#include "hsm-service/ipc.h"
#include "hsm-service/keeper/methods.h"
#include "p11/flow/flows.h"
#include "p11/keys/keys.h"
#include "p11/probe/probe.h"
#include "p11/tok.h"
#include "tests/support/suite.h"
#include "tests/support/token.h"

#include <string.h>

typedef Posward__Hsm__V1__MacAlgorithm MacAlgorithm;

#define PIK          POSWARD__TYPES__V1__KEY_USAGE__KEY_USAGE_PIK
#define MAK          POSWARD__TYPES__V1__KEY_USAGE__KEY_USAGE_MAK
#define TDK          POSWARD__TYPES__V1__KEY_USAGE__KEY_USAGE_TDK
#define TDES         POSWARD__TYPES__V1__SUITE__SUITE_TDES
#define AES_128      POSWARD__TYPES__V1__SUITE__SUITE_AES_128
#define AES_256      POSWARD__TYPES__V1__SUITE__SUITE_AES_256
#define NO_MAC       POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_UNSPECIFIED
#define UNIONPAY     POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_UNIONPAY_ECB
#define X9_9         POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_X9_9
#define X9_19        POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_X9_19
#define ALG1_PAD1    POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_ISO9797_1_ALG1_PAD1
#define ALG1_PAD2    POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_ISO9797_1_ALG1_PAD2
#define ALG3_PAD2    POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_ISO9797_1_ALG3_PAD2
#define CMAC         POSWARD__HSM__V1__MAC_ALGORITHM__MAC_ALGORITHM_AES_CMAC
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static struct token_fixture masters[TOKEN_KIND_COUNT], fixture;
static struct tok *tok;
static struct arena arena;
static struct keeper_policy policy;
static struct err e;
static char psam_number[] = "62010000001234567890";

static inline void make_masters(void)
{
    for (int kind = 0; kind < TOKEN_KIND_COUNT; kind++)
        token_make(&masters[kind], (enum token_kind)kind);
}

static inline void remove_masters(void)
{
    for (int kind = 0; kind < TOKEN_KIND_COUNT; kind++)
        token_remove(&masters[kind]);
}

static inline void open_token(int kind)
{
    static const struct tok_key_name keys[] = {{TOK_PSAM_MASTER, TOK_TDES, 1, ""},
                                               {TOK_PSAM_MASTER, TOK_AES_256, 1, ""},
                                               {TOK_STORAGE, TOK_AES_256, 1, ""},
                                               {TOK_BLOB_TAG, TOK_AES_256, 1, ""},
                                               {TOK_ZONE_PIN, TOK_TDES, 1, "bank"}};
    struct tok_key_info info;
    policy = (struct keeper_policy){.tdes_mak_bytes_min = 8};
    token_copy(&fixture, &masters[kind]);
    ck_assert_ok(tok_open(token_options(&fixture), &tok, &e), e);
    for (size_t i = 0; i < COUNT(keys); i++)
        ck_assert_ok(tok_key_generate(tok, &keys[i], TOK_KEY_ACTIVE, &info, &e), e);
    ck_assert_ok(tok_ways_probe(tok, TOK_EXPOSURE_ANY, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_ok(arena_init(&arena, &e), e);
}

static inline void close_token(void)
{
    arena_drop(&arena);
    tok_close(tok);
    token_remove(&fixture);
}

/* ---- Calls: their answers live until the next one ---- */

static inline enum err_code call(const char *method, const ProtobufCMessage *request,
                                 ProtobufCMessage **out_answer)
{
    const ProtobufCServiceDescriptor *const service = &posward__hsm__v1__data_plane__descriptor;
    const ProtobufCMethodDescriptor *const row =
        protobuf_c_service_descriptor_get_method_by_name(service, method);
    const unsigned index = (unsigned)(row - service->methods);
    static uint8_t pin_uses[IPC_PIN_USES_MAX * IPC_PIN_USE_BYTES];
    struct keeper_call keeper_call = {
        .tok = tok, .arena = &arena, .policy = &policy, .pin_uses = pin_uses, .deadline_ms = INT64_MAX};
    static uint8_t body[16384];
    ProtobufCBinaryData answer;
    e = (struct err){0};
    arena_reset(&arena);
    ck_assert_uint_le(protobuf_c_message_get_packed_size(request), sizeof body);
    const size_t len = protobuf_c_message_pack(request, body);
    TRY(methods_serve(&keeper_call, IPC_METHOD(IPC_DATA_PLANE, index), body, len, &answer, &e));
    *out_answer = protobuf_c_message_unpack(row->output, &arena.allocator, answer.len, answer.data);
    ck_assert_ptr_nonnull(*out_answer);
    return ERR_OK;
}

struct key_spec {
    Posward__Types__V1__KeyUsage usage;
    unsigned key_bytes;
    MacAlgorithm mac;
};
struct blob {
    uint8_t bytes[TOK_BLOB_BYTES];
    size_t len;
};

/* Working keys by one call, at most 3. */
static inline enum err_code make_keys(Posward__Types__V1__Suite suite, const struct key_spec *specs,
                                      size_t count, struct blob *out_blobs)
{
    HsmWorkingRequest request = POSWARD__HSM__V1__GENERATE_WORKING_KEYS_REQUEST__INIT;
    HsmWorkingSpec spec[3], *pointers[3];
    for (size_t i = 0; i < count; i++) {
        posward__hsm__v1__working_key_spec__init(&spec[i]);
        spec[i].usage = specs[i].usage;
        spec[i].key_bytes = specs[i].key_bytes;
        spec[i].mac_algorithm = specs[i].mac;
        pointers[i] = &spec[i];
    }
    request.psam_number = psam_number;
    request.suite = suite;
    request.master_version = 1;
    request.n_keys = count;
    request.keys = pointers;
    ProtobufCMessage *answer;
    TRY(call("GenerateWorkingKeys", &request.base, &answer));
    const HsmWorkingResponse *const made = (const HsmWorkingResponse *)answer;
    ck_assert_uint_eq(made->n_keys, count);
    for (size_t i = 0; i < count; i++) {
        out_blobs[i].len = made->keys[i]->blob.len;
        memcpy(out_blobs[i].bytes, made->keys[i]->blob.data, made->keys[i]->blob.len);
    }
    return ERR_OK;
}

static inline HsmKeyRef ref_of(const struct blob *blob)
{
    HsmKeyRef ref = POSWARD__HSM__V1__KEY_REF__INIT;
    ref.key_case = POSWARD__HSM__V1__KEY_REF__KEY_BLOB;
    ref.blob = (ProtobufCBinaryData){blob->len, (uint8_t *)(uintptr_t)blob->bytes};
    return ref;
}

static inline struct tok_blob_info info_of(const struct blob *blob)
{
    struct tok_blob_info info;
    ck_assert_ok(tok_blob_peek(blob->bytes, blob->len, &info, &e), e);
    return info;
}

static uint8_t text[] = "0200 sixteen byte";

static inline enum err_code generate_mac(const struct blob *mak, MacAlgorithm algorithm)
{
    HsmMacRequest request = POSWARD__HSM__V1__GENERATE_MAC_REQUEST__INIT;
    HsmKeyRef ref = ref_of(mak);
    ProtobufCMessage *answer;
    request.key = &ref;
    request.algorithm = algorithm;
    request.data = (ProtobufCBinaryData){sizeof text, text};
    return call("GenerateMac", &request.base, &answer);
}

static inline enum err_code verify_mac(const struct blob *mak, MacAlgorithm algorithm)
{
    HsmVerifyRequest request = POSWARD__HSM__V1__VERIFY_MAC_REQUEST__INIT;
    HsmKeyRef ref = ref_of(mak);
    ProtobufCMessage *answer;
    uint8_t mac[8] = {0};
    request.key = &ref;
    request.algorithm = algorithm;
    request.data = (ProtobufCBinaryData){sizeof text, text};
    request.mac = (ProtobufCBinaryData){sizeof mac, mac};
    return call("VerifyMac", &request.base, &answer);
}

/* Of format 0, to the zone. */
static inline enum err_code translate_pin(const struct blob *pik)
{
    HsmPinRequest request = POSWARD__HSM__V1__TRANSLATE_PIN_REQUEST__INIT;
    HsmKeyRef from = ref_of(pik), to = POSWARD__HSM__V1__KEY_REF__INIT;
    Posward__Hsm__V1__ZoneKey zone = POSWARD__HSM__V1__ZONE_KEY__INIT;
    ProtobufCMessage *answer;
    char name[] = "bank", pan[] = "6225880000000009";
    zone.zone = name;
    to.key_case = POSWARD__HSM__V1__KEY_REF__KEY_ZONE;
    to.zone = &zone;
    request.source = &from;
    request.destination = &to;
    request.source_format = request.destination_format = POSWARD__HSM__V1__PIN_FORMAT__PIN_FORMAT_ISO_0;
    request.pan = pan;
    request.block = (ProtobufCBinaryData){8, text};
    return call("TranslatePin", &request.base, &answer);
}

/* ECB. EncryptData and DecryptData have the same fields. */
static inline enum err_code crypt(const char *method, const struct blob *tdk)
{
    HsmEncryptRequest encrypt = POSWARD__HSM__V1__ENCRYPT_DATA_REQUEST__INIT;
    HsmDecryptRequest decrypt = POSWARD__HSM__V1__DECRYPT_DATA_REQUEST__INIT;
    HsmKeyRef ref = ref_of(tdk);
    ProtobufCMessage *answer;
    encrypt.key = decrypt.key = &ref;
    encrypt.data = decrypt.data = (ProtobufCBinaryData){16, text};
    return call(method, strcmp(method, "EncryptData") == 0 ? &encrypt.base : &decrypt.base, &answer);
}

/* Every standalone use that a blob's usage allows must end so. */
static inline void expect_uses(const struct blob *blob, enum err_code want, const char *words)
{
    const struct tok_blob_info info = info_of(blob);
    const MacAlgorithm algorithm = info.suite == TOK_TDES ? UNIONPAY : CMAC;
    for (int use = 0; use < (info.usage == TOK_PIK ? 1 : 2); use++) {
        enum err_code code;
        if (info.usage == TOK_PIK)
            code = translate_pin(blob);
        else if (info.usage == TOK_MAK)
            code = use == 0 ? generate_mac(blob, algorithm) : verify_mac(blob, algorithm);
        else
            code = crypt(use == 0 ? "EncryptData" : "DecryptData", blob);
        ck_assert_msg(code == want, "usage %d, use %d: %s, %s", (int)info.usage, use, err_name(code), e.note);
        ck_assert_msg(code == ERR_OK || strstr(e.note, words) != NULL, "%s", e.note);
    }
}

/* A blob of p11's own making: that is how those of before look. */
static inline void make_in_p11(enum tok_usage usage, unsigned key_bytes, struct blob *out_blob)
{
    const struct tok_working_request request = {.psam_number = psam_number,
                                                .suite = TOK_TDES,
                                                .master_version = 1,
                                                .usage = usage,
                                                .key_bytes = key_bytes};
    struct tok_session *s = NULL;
    struct tok_working_key key;
    ck_assert_ok(tok_session_take(tok, &s, &e), e);
    ck_assert_ok(tok_working_key(s, &request, &key, &e), e);
    tok_session_give(s);
    memcpy(out_blob->bytes, key.blob, key.blob_len);
    out_blob->len = key.blob_len;
}

#endif

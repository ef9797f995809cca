/* Working keys as a keeper makes them and lets them serve, on both tokens: what a blob is bound to, and what
 * policy refuses. */
#include "base/clock.h"
#include "hsm-service/ipc.h"
#include "hsm-service/keeper/blob_rule.h"
#include "hsm-service/keeper/convert.h"
#include "hsm-service/keeper/methods.h"
#include "p11/keys.h"
#include "tests/support/blobs.h"
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

static void make_masters(void)
{
    for (int kind = 0; kind < TOKEN_KIND_COUNT; kind++)
        token_make(&masters[kind], (enum token_kind)kind);
}

static void remove_masters(void)
{
    for (int kind = 0; kind < TOKEN_KIND_COUNT; kind++)
        token_remove(&masters[kind]);
}

static void open_token(int kind)
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

static void close_token(void)
{
    arena_drop(&arena);
    tok_close(tok);
    token_remove(&fixture);
}

/* ---- Calls: their answers live until the next one ---- */

static enum err_code call(const char *method, const ProtobufCMessage *request, ProtobufCMessage **out_answer)
{
    const ProtobufCServiceDescriptor *const service = &posward__hsm__v1__data_plane__descriptor;
    const ProtobufCMethodDescriptor *const row =
        protobuf_c_service_descriptor_get_method_by_name(service, method);
    const unsigned index = (unsigned)(row - service->methods);
    struct keeper_call keeper_call = {
        .tok = tok, .arena = &arena, .policy = &policy, .deadline_ms = INT64_MAX};
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
static enum err_code make_keys(Posward__Types__V1__Suite suite, const struct key_spec *specs, size_t count,
                               struct blob *out_blobs)
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

static HsmKeyRef ref_of(const struct blob *blob)
{
    HsmKeyRef ref = POSWARD__HSM__V1__KEY_REF__INIT;
    ref.key_case = POSWARD__HSM__V1__KEY_REF__KEY_BLOB;
    ref.blob = (ProtobufCBinaryData){blob->len, (uint8_t *)(uintptr_t)blob->bytes};
    return ref;
}

static struct tok_blob_info info_of(const struct blob *blob)
{
    struct tok_blob_info info;
    ck_assert_ok(tok_blob_peek(blob->bytes, blob->len, &info, &e), e);
    return info;
}

static uint8_t text[] = "0200 sixteen byte";

static enum err_code generate_mac(const struct blob *mak, MacAlgorithm algorithm)
{
    HsmMacRequest request = POSWARD__HSM__V1__GENERATE_MAC_REQUEST__INIT;
    HsmKeyRef ref = ref_of(mak);
    ProtobufCMessage *answer;
    request.key = &ref;
    request.algorithm = algorithm;
    request.data = (ProtobufCBinaryData){sizeof text, text};
    return call("GenerateMac", &request.base, &answer);
}

static enum err_code verify_mac(const struct blob *mak, MacAlgorithm algorithm)
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
static enum err_code translate_pin(const struct blob *pik)
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
static enum err_code crypt(const char *method, const struct blob *tdk)
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
static void expect_uses(const struct blob *blob, enum err_code want, const char *words)
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

/* ---- What a blob is bound to ---- */

START_TEST(keys_of_one_call_are_of_one_sign_in)
{
    static const Posward__Types__V1__Suite suites[] = {TDES, AES_128, AES_256};
    static const struct key_spec specs[] = {{PIK, 16, NO_MAC}, {MAK, 0, NO_MAC}, {TDK, 16, NO_MAC}};
    open_token(_i);
    for (size_t s = 0; s < COUNT(suites); s++) {
        struct blob one[3], other[3];
        ck_assert_ok(make_keys(suites[s], specs, 3, one), e);
        ck_assert_ok(make_keys(suites[s], specs, 3, other), e);
        const struct tok_blob_info first = info_of(&one[0]);
        for (size_t i = 0; i < 3; i++) {
            const struct tok_blob_info mine = info_of(&one[i]), theirs = info_of(&other[i]);
            ck_assert_uint_eq(mine.form, 2);
            ck_assert_mem_eq(mine.sign_in, first.sign_in, sizeof first.sign_in);
            ck_assert_mem_ne(theirs.sign_in, first.sign_in, sizeof first.sign_in);
        }
        ck_assert_int_eq(info_of(&one[1]).mac_algorithm, suites[s] == TDES ? TOK_MAC_UNIONPAY : TOK_MAC_CMAC);
    }
    close_token();
}
END_TEST

static const struct {
    Posward__Types__V1__Suite suite;
    struct key_spec spec;
    MacAlgorithm serves;
} maks[] = {{TDES, {MAK, 16, NO_MAC}, UNIONPAY},     {TDES, {MAK, 8, NO_MAC}, UNIONPAY},
            {TDES, {MAK, 16, UNIONPAY}, UNIONPAY},   {TDES, {MAK, 8, X9_9}, X9_9},
            {TDES, {MAK, 16, X9_19}, X9_19},         {TDES, {MAK, 8, X9_19}, X9_19},
            {TDES, {MAK, 16, ALG1_PAD1}, ALG1_PAD1}, {TDES, {MAK, 16, ALG1_PAD2}, ALG1_PAD2},
            {TDES, {MAK, 0, ALG3_PAD2}, ALG3_PAD2},  {AES_128, {MAK, 16, NO_MAC}, CMAC},
            {AES_256, {MAK, 0, CMAC}, CMAC}};

static void expect_bound(enum err_code code, MacAlgorithm asked, MacAlgorithm serves)
{
    static const char *const names[] = {[UNIONPAY] = "UNIONPAY_ECB",
                                        [X9_9] = "X9_9",
                                        [X9_19] = "X9_19",
                                        [ALG1_PAD1] = "ISO9797_1_ALG1_PAD1",
                                        [ALG1_PAD2] = "ISO9797_1_ALG1_PAD2",
                                        [ALG3_PAD2] = "ISO9797_1_ALG3_PAD2",
                                        [CMAC] = "AES_CMAC"};
    ck_assert_msg(code == (asked == serves ? ERR_OK : ERR_DENIED), "%s of a MAK for %s: %s", names[asked],
                  names[serves], e.note);
    if (code == ERR_OK)
        return;
    ck_assert_ptr_nonnull(strstr(e.note, names[asked]));
    ck_assert_ptr_nonnull(strstr(e.note, names[serves]));
}

/* Twice: the second round meets the opened key in the cache. */
START_TEST(mak_serves_the_one_algorithm_of_its_blob)
{
    open_token(_i);
    for (size_t i = 0; i < 2 * COUNT(maks); i++) {
        static struct blob mak;
        if (i % 2 == 0)
            ck_assert_ok(make_keys(maks[i / 2].suite, &maks[i / 2].spec, 1, &mak), e);
        for (int asked = UNIONPAY; asked <= CMAC; asked++) {
            expect_bound(generate_mac(&mak, (MacAlgorithm)asked), (MacAlgorithm)asked, maks[i / 2].serves);
            expect_bound(verify_mac(&mak, (MacAlgorithm)asked), (MacAlgorithm)asked, maks[i / 2].serves);
        }
    }
    close_token();
}
END_TEST

START_TEST(algorithm_that_the_key_cannot_serve_is_refused)
{
    static const struct {
        Posward__Types__V1__Suite suite;
        struct key_spec spec;
        const char *words;
    } rows[] = {{TDES, {PIK, 16, UNIONPAY}, "only a MAK has one"},
                {TDES, {TDK, 16, X9_19}, "only a MAK has one"},
                {AES_128, {PIK, 16, CMAC}, "only a MAK has one"},
                {TDES, {MAK, 16, X9_9}, "mac_algorithm is X9_9"},
                {TDES, {MAK, 16, CMAC}, "serves UNIONPAY_ECB, X9_19 and ISO9797_1"},
                {TDES, {MAK, 8, CMAC}, "serves UNIONPAY_ECB, X9_9, X9_19 and ISO9797_1"},
                {AES_128, {MAK, 16, UNIONPAY}, "serves AES_CMAC"},
                {AES_256, {MAK, 16, X9_19}, "serves AES_CMAC"},
                {TDES, {MAK, 16, (MacAlgorithm)8}, "mac_algorithm: algorithm has the unknown value 8"},
                {TDES, {MAK, 16, (MacAlgorithm)-1}, "mac_algorithm: algorithm has the unknown value -1"}};
    open_token(TOKEN_SOFTHSM);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct blob made;
        ck_assert_int_eq(make_keys(rows[i].suite, &rows[i].spec, 1, &made), ERR_INPUT);
        ck_assert_msg(strstr(e.note, "keys[0]: ") == e.note && strstr(e.note, rows[i].words) != NULL,
                      "row %zu: %s", i, e.note);
    }
    close_token();
}
END_TEST

/* ---- Single DES ---- */

START_TEST(single_des_is_made_for_a_mak_at_most)
{
    static const struct key_spec pik = {PIK, 8, NO_MAC}, tdk = {TDK, 8, NO_MAC}, mak = {MAK, 8, NO_MAC},
                                 good[] = {{PIK, 16, NO_MAC}, {MAK, 16, NO_MAC}, {TDK, 16, NO_MAC}};
    struct blob made[3];
    open_token(_i);
    for (unsigned least = 8; least <= 16; least += 8) {
        policy.tdes_mak_bytes_min = least;
        ck_assert_int_eq(make_keys(TDES, &pik, 1, made), ERR_INPUT);
        ck_assert_ptr_nonnull(strstr(e.note, "keys[0]: key_bytes is 8; a PIK of suite tdes must have 16"));
        ck_assert_int_eq(make_keys(TDES, &tdk, 1, made), ERR_INPUT);
        ck_assert_ptr_nonnull(strstr(e.note, "keys[0]: key_bytes is 8; a TDK of suite tdes must have 16"));
        ck_assert_int_eq(make_keys(AES_128, &mak, 1, made), ERR_INPUT);
        ck_assert_int_eq(make_keys(TDES, &mak, 1, made), least == 8 ? ERR_OK : ERR_DENIED);
        ck_assert(least == 8 || strstr(e.note, "policy.tdes_mak_bytes_min is 16") != NULL);
        ck_assert_ok(make_keys(TDES, good, 3, made), e);
    }
    close_token();
}
END_TEST

/* A blob of p11's own making: that is how those of before look. */
static void make_in_p11(enum tok_usage usage, unsigned key_bytes, struct blob *out_blob)
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

START_TEST(single_des_blobs_are_refused_at_use)
{
    static const enum tok_usage usages[] = {TOK_PIK, TOK_MAK, TOK_TDK};
    struct blob single, pair;
    open_token(_i);
    for (size_t i = 0; i < COUNT(usages); i++) {
        make_in_p11(usages[i], 8, &single);
        make_in_p11(usages[i], 16, &pair);
        for (unsigned least = 8; least <= 16; least += 8) {
            policy.tdes_mak_bytes_min = least;
            const bool allowed = usages[i] == TOK_MAK && least == 8;
            expect_uses(&single, allowed ? ERR_OK : ERR_DENIED, "sign in again");
            expect_uses(&pair, ERR_OK, "");
        }
    }
    close_token();
}
END_TEST

/* ---- Blobs of form 1 ---- */

static void to_form_1(struct blob *blob)
{
    struct tok_session *s = NULL;
    ck_assert_ok(tok_session_take(tok, &s, &e), e);
    blob_to_form_1(s, blob->bytes, &blob->len);
    tok_session_give(s);
}

static int reseal(const struct blob *blob)
{
    HsmResealRequest request = POSWARD__HSM__V1__RESEAL_BLOBS_REQUEST__INIT;
    ProtobufCBinaryData one = {blob->len, (uint8_t *)(uintptr_t)blob->bytes};
    ProtobufCMessage *answer;
    request.n_blobs = 1;
    request.blobs = &one;
    ck_assert_ok(call("ResealBlobs", &request.base, &answer), e);
    return ((const HsmResealResponse *)answer)->results[0]->status;
}

/* Re-sealing goes by no date: what is moved serves no sooner. */
START_TEST(form_1_serves_until_its_date)
{
    static const struct key_spec specs[] = {{PIK, 16, NO_MAC}, {MAK, 8, NO_MAC}, {TDK, 16, NO_MAC}};
    const int64_t hour_ms = 3600000, now_ms = clock_wall_ms();
    const struct {
        int64_t until_ms;
        enum err_code want;
    } dates[] = {{0, ERR_DENIED}, {now_ms - hour_ms, ERR_DENIED}, {now_ms + hour_ms, ERR_OK}};
    struct blob new[3], old[3];
    open_token(_i);
    ck_assert_ok(make_keys(TDES, specs, 3, new), e);
    for (size_t i = 0; i < 3; i++) {
        old[i] = new[i];
        to_form_1(&old[i]);
        for (size_t d = 0; d < COUNT(dates); d++) {
            policy.blob_form1_until_ms = dates[d].until_ms;
            expect_uses(&old[i], dates[d].want,
                        "sealed in form 1; sign in again, or set policy.blob_form1_until");
            expect_uses(&new[i], ERR_OK, "");
            ck_assert_int_eq(reseal(&old[i]), 0);
        }
    }
    close_token();
}
END_TEST

/* A date changes nothing else: form 1 knows no algorithm but its suite's, and single DES stays out. */
START_TEST(form_1_gains_nothing_by_its_date)
{
    struct blob mak, pik, tdk;
    const struct key_spec spec = {MAK, 16, X9_19};
    open_token(_i);
    policy.blob_form1_until_ms = INT64_MAX;
    ck_assert_ok(make_keys(TDES, &spec, 1, &mak), e);
    to_form_1(&mak);
    ck_assert_ok(generate_mac(&mak, UNIONPAY), e);
    ck_assert_int_eq(generate_mac(&mak, X9_19), ERR_DENIED);
    make_in_p11(TOK_PIK, 8, &pik);
    make_in_p11(TOK_TDK, 8, &tdk);
    to_form_1(&pik);
    to_form_1(&tdk);
    expect_uses(&pik, ERR_DENIED, "single DES");
    expect_uses(&tdk, ERR_DENIED, "single DES");
    close_token();
}
END_TEST

/* A rule reads the head before the tag is checked: a head that lies gets no further than an honest one. */
START_TEST(head_that_lies_gains_nothing)
{
    static const struct key_spec spec = {MAK, 16, X9_19};
    struct blob mak, lie;
    open_token(_i);
    ck_assert_ok(make_keys(TDES, &spec, 1, &mak), e);
    ck_assert_ok(generate_mac(&mak, X9_19), e); /* the sound one is in the cache */
    lie = mak;
    lie.bytes[34] = TOK_MAC_UNIONPAY;
    ck_assert_int_eq(generate_mac(&lie, UNIONPAY), ERR_CHECK);
    to_form_1(&lie); /* its tag is right now, but no date is set */
    ck_assert_int_eq(generate_mac(&lie, UNIONPAY), ERR_DENIED);
    memcpy(lie.bytes + 3, "2", 1);
    ck_assert_int_eq(generate_mac(&lie, UNIONPAY), ERR_CHECK);
    close_token();
}
END_TEST

/* ---- The blobs of one transaction ---- */

static struct tok_blob_info key_info(enum tok_usage usage, unsigned form, int64_t created_ms, uint8_t sign_in)
{
    struct tok_blob_info info = {.suite = TOK_TDES,
                                 .usage = usage,
                                 .key_bytes = 16,
                                 .form = form,
                                 .created_ms = created_ms,
                                 .sign_in = {sign_in}};
    memcpy(info.psam_number, psam_number, sizeof psam_number);
    return info;
}

static enum err_code together(const struct tok_blob_info *infos, size_t count)
{
    const struct keeper_call keeper_call = {.policy = &policy};
    e = (struct err){0};
    return blob_rule_together(&keeper_call, infos, count, &e);
}

START_TEST(keys_of_a_transaction_are_of_one_sign_in)
{
    struct tok_blob_info infos[] = {key_info(TOK_MAK, 2, 1000, 7), key_info(TOK_PIK, 2, 999999, 7),
                                    key_info(TOK_TDK, 2, 5, 7)};
    policy = (struct keeper_policy){.tdes_mak_bytes_min = 16};
    for (size_t count = 0; count <= COUNT(infos); count++)
        ck_assert_ok(together(infos, count), e);
    for (size_t i = 0; i < COUNT(infos); i++) {
        const struct tok_blob_info before = infos[i];
        infos[i].sign_in[7] = 1;
        ck_assert_int_eq(together(infos, 3), ERR_DENIED);
        ck_assert_ptr_nonnull(strstr(e.note, "two sign-ins"));
        infos[i] = before;
        infos[i].psam_number[3] = '9';
        ck_assert_int_eq(together(infos, 3), ERR_DENIED);
        ck_assert_ptr_nonnull(strstr(e.note, "different cards"));
        infos[i] = before;
        infos[i].form = 1;
        ck_assert_int_eq(together(infos, 3), ERR_DENIED); /* no date */
        policy.blob_form1_until_ms = INT64_MAX;
        ck_assert_int_eq(together(infos, 3), ERR_DENIED);
        ck_assert_ptr_nonnull(strstr(e.note, "form 1 and form 2"));
        policy.blob_form1_until_ms = 0;
        infos[i] = before;
        infos[i].key_bytes = 8;
        ck_assert_int_eq(together(infos, 3), ERR_DENIED);
        infos[i] = before;
    }
    ck_assert_ok(together(infos, 3), e);
}
END_TEST

START_TEST(keys_of_form_1_are_two_seconds_apart_at_most)
{
    static const struct {
        int64_t created_ms[3];
        enum err_code want;
    } rows[] = {{{100000, 100000, 100000}, ERR_OK},     {{100000, 101000, 102000}, ERR_OK},
                {{102000, 101000, 100000}, ERR_OK},     {{101000, 100000, 102000}, ERR_OK},
                {{100000, 100000, 102001}, ERR_DENIED}, {{102001, 100000, 100000}, ERR_DENIED},
                {{101000, 99999, 102000}, ERR_DENIED}};
    policy = (struct keeper_policy){.tdes_mak_bytes_min = 16, .blob_form1_until_ms = INT64_MAX};
    for (size_t r = 0; r < COUNT(rows); r++) {
        const struct tok_blob_info infos[] = {key_info(TOK_MAK, 1, rows[r].created_ms[0], 0),
                                              key_info(TOK_PIK, 1, rows[r].created_ms[1], 0),
                                              key_info(TOK_TDK, 1, rows[r].created_ms[2], 0)};
        ck_assert_msg(together(infos, 3) == rows[r].want, "row %zu", r);
        policy.blob_form1_until_ms = 1;
        ck_assert_int_eq(together(infos, 3), ERR_DENIED);
        policy.blob_form1_until_ms = INT64_MAX;
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm-service/terminal_keys");
    TCase *tc = tcase_create("keys");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    tcase_add_loop_test(tc, keys_of_one_call_are_of_one_sign_in, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, mak_serves_the_one_algorithm_of_its_blob, 0, TOKEN_KIND_COUNT);
    tcase_add_test(tc, algorithm_that_the_key_cannot_serve_is_refused);
    tcase_add_loop_test(tc, single_des_is_made_for_a_mak_at_most, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, single_des_blobs_are_refused_at_use, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, form_1_serves_until_its_date, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, form_1_gains_nothing_by_its_date, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, head_that_lies_gains_nothing, 0, TOKEN_KIND_COUNT);
    tcase_add_test(tc, keys_of_a_transaction_are_of_one_sign_in);
    tcase_add_test(tc, keys_of_form_1_are_two_seconds_apart_at_most);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

#include "tests/unit/p11/pay_fixture.h"
#include "p11/probe/probe.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct tok *pay_tok;
struct tok_session *pay_session;
enum token_kind pay_kind;
struct err pay_err;

static struct token_fixture masters[TOKEN_KIND_COUNT];
static struct token_fixture fixture;

const uint8_t pay_psam_tdes[16] = {0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10,
                                   0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF};
const uint8_t pay_control_tdes[16] = {0xC1, 0xD0, 0xF8, 0xFB, 0x49, 0x58, 0x67, 0x0D,
                                      0xBA, 0x40, 0xAB, 0x1F, 0x37, 0x52, 0xEF, 0x0D};
const uint8_t pay_psam_aes[32] = "a test master of thirty-two byte";
const uint8_t pay_control_aes[32] = "a test control master, 256 bits.";
const uint8_t pay_a_tdes[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
                                0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10};
const uint8_t pay_b_tdes[16] = {0x6E, 0xFF, 0xED, 0xA2, 0xA1, 0x9D, 0xFE, 0xAE,
                                0x11, 0x43, 0xAA, 0x89, 0x23, 0x72, 0xD5, 0xF3};
const uint8_t pay_a_aes[16] = {0x2B, 0x7E, 0x15, 0x16, 0x28, 0xAE, 0xD2, 0xA6,
                               0xAB, 0xF7, 0x15, 0x88, 0x09, 0xCF, 0x4F, 0x3C};
const uint8_t pay_b_aes[16] = {0xC1, 0xD0, 0xF8, 0xFB, 0x49, 0x58, 0x67, 0x0D,
                               0xBA, 0x40, 0xAB, 0x1F, 0x37, 0x52, 0xEF, 0x0D};

struct key_row {
    struct tok_key_name name;
    const uint8_t *value; /* NULL: generated */
};
static const struct key_row key_rows[] = {
    {{TOK_STORAGE, TOK_AES_256, 1, ""}, NULL},
    {{TOK_BLOB_TAG, TOK_AES_256, 1, ""}, NULL},
    {{TOK_PSAM_MASTER, TOK_TDES, 1, ""}, pay_psam_tdes},
    {{TOK_PSAM_MASTER, TOK_AES_256, 1, ""}, pay_psam_aes},
    {{TOK_CARD_CONTROL, TOK_TDES, 1, ""}, pay_control_tdes},
    {{TOK_CARD_CONTROL, TOK_AES_256, 1, ""}, pay_control_aes},
    {{TOK_ZONE_PIN, TOK_TDES, 1, "bank-a"}, pay_a_tdes},
    {{TOK_ZONE_PIN, TOK_AES_128, 1, "bank-a"}, pay_a_aes},
    {{TOK_ZONE_PIN, TOK_TDES, 1, "bank-b"}, pay_b_tdes},
    {{TOK_ZONE_PIN, TOK_AES_128, 1, "bank-b"}, pay_b_aes},
    {{TOK_ZONE_MAC, TOK_TDES, 1, "bank-a"}, pay_a_tdes},
    {{TOK_ZONE_MAC, TOK_AES_128, 1, "bank-a"}, pay_a_aes},
    {{TOK_ZONE_DATA, TOK_TDES, 1, "bank-a"}, pay_a_tdes},
    {{TOK_ZONE_DATA, TOK_AES_128, 1, "bank-a"}, pay_a_aes},
};

static enum err_code make_key(struct tok *tok, const struct key_row *row)
{
    struct tok_key_info info;
    AUTO(secret) value = {0};
    if (row->value == NULL)
        return tok_key_generate(tok, &row->name, TOK_KEY_ACTIVE, &info, &pay_err);
    TRY(secret_init_copy(&value, row->value, tok_key_bytes(row->name.role, row->name.suite), &pay_err));
    return tok_key_import(tok, &row->name, &value, TOK_KEY_ACTIVE, &info, &pay_err);
}

static enum err_code make_keys(enum token_kind kind)
{
    struct tok *tok = NULL;
    TRY(tok_open(token_options(&masters[kind]), &tok, &pay_err));
    for (size_t i = 0; i < sizeof key_rows / sizeof *key_rows; i++)
        TRY(make_key(tok, &key_rows[i]));
    tok_close(tok);
    return ERR_OK;
}

/* In a process of its own: a module's state does not survive the forks of the tests. No test runs yet, so no
 * assertion of Check's. */
static void fill_master(enum token_kind kind)
{
    int status = -1;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        const enum err_code code = make_keys(kind);
        if (code != ERR_OK)
            fprintf(stderr, "no keys could be made on %s: %s\n", token_kind_name(kind), pay_err.note);
        _exit(code == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        exit(EXIT_FAILURE);
}

static void make_master(enum token_kind kind)
{
    token_make(&masters[kind], kind);
    fill_master(kind);
}

static void take_session(enum tok_exposure exposure)
{
    ck_assert_ok(tok_ways_probe(pay_tok, exposure, &pay_err), pay_err);
    ck_assert_ok(tok_keys_load(pay_tok, &pay_err), pay_err);
    ck_assert_ok(tok_session_take(pay_tok, &pay_session, &pay_err), pay_err);
}

void pay_policy(enum tok_exposure exposure)
{
    tok_session_give(pay_session);
    take_session(exposure);
}

static void open_kind(enum token_kind kind)
{
    pay_kind = kind;
    token_copy(&fixture, &masters[kind]);
    ck_assert_ok(tok_open(token_options(&fixture), &pay_tok, &pay_err), pay_err);
    take_session(TOK_EXPOSURE_ANY);
}

static void open_softhsm(void)
{
    open_kind(TOKEN_SOFTHSM);
}

static void open_nss(void)
{
    open_kind(TOKEN_NSS);
}

static void close_token(void)
{
    tok_session_give(pay_session);
    tok_close(pay_tok);
    token_remove(&fixture);
}

static void add_case(Suite *suite, enum token_kind kind, void (*add)(TCase *tcase))
{
    static void (*const opens[TOKEN_KIND_COUNT])(void) = {
        [TOKEN_SOFTHSM] = open_softhsm, [TOKEN_NSS] = open_nss};
    TCase *tcase = tcase_create(token_kind_name(kind));
    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, opens[kind], close_token);
    add(tcase);
    suite_add_tcase(suite, tcase);
}

int pay_main(const char *name, void (*add)(TCase *tcase))
{
    suite_scratch_open();
    Suite *suite = suite_create(name);
    for (int kind = 0; kind < TOKEN_KIND_COUNT; kind++) {
        make_master((enum token_kind)kind);
        add_case(suite, (enum token_kind)kind, add);
    }
    return suite_run(suite);
}

struct tok_key_ref pay_zone(const char *zone, enum tok_suite suite)
{
    return (struct tok_key_ref){.zone = zone, .zone_suite = suite};
}

void pay_working(enum tok_suite suite, enum tok_usage usage, unsigned key_bytes,
                 struct tok_working_key *out_key)
{
    pay_working_wrapped(suite, usage, key_bytes, TOK_WRAP_TMK, out_key);
}

void pay_working_wrapped(enum tok_suite suite, enum tok_usage usage, unsigned key_bytes,
                         unsigned wrap_version, struct tok_working_key *out_key)
{
    const struct tok_working_request request = {.psam_number = PAY_PSAM,
                                                .suite = suite,
                                                .master_version = 1,
                                                .usage = usage,
                                                .key_bytes = key_bytes,
                                                .wrap_version = wrap_version};
    ck_assert_ok(tok_working_key(pay_session, &request, out_key, &pay_err), pay_err);
}

struct tok_key_ref pay_blob(const struct tok_working_key *key)
{
    return (struct tok_key_ref){.blob = key->blob, .blob_len = key->blob_len};
}

void pay_des_key(const uint8_t *value, size_t len, struct tok_object *out_key)
{
    const CK_ATTRIBUTE_TYPE *uses =
        TOK_USES(CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_EXTRACTABLE, CKA_DERIVE);
    uint8_t whole[24];
    ck_assert(len == 8 || len == 16 || len == 24);
    memcpy(whole, value, len);
    if (len == 8)
        memcpy(whole + 8, value, 8);
    ck_assert_ok(tok_object_import(pay_session, len == 24 ? CKK_DES3 : CKK_DES2, whole, len == 8 ? 16 : len,
                                   uses, out_key, &pay_err),
                 pay_err);
}

void pay_aes_key(const uint8_t *value, size_t len, struct tok_object *out_key)
{
    const CK_ATTRIBUTE_TYPE *uses = TOK_USES(CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_SIGN);
    ck_assert_ok(tok_object_import(pay_session, CKK_AES, value, len, uses, out_key, &pay_err), pay_err);
}

void pay_left(CK_OBJECT_HANDLE key, struct tok_left *out_left)
{
    if (pay_kind == TOKEN_NSS)
        ck_assert_ok(tok_left_extract(pay_session, key, out_left, &pay_err), pay_err);
    else
        ck_assert_ok(tok_left_append(pay_session, key, out_left, &pay_err), pay_err);
}

size_t pay_object_count(void)
{
    size_t count = 0;
    CK_ULONG got = 0;
    CK_OBJECT_HANDLE handle;
    ck_assert_uint_eq(pay_session->fn->C_FindObjectsInit(pay_session->handle, NULL, 0), CKR_OK);
    while (pay_session->fn->C_FindObjects(pay_session->handle, &handle, 1, &got) == CKR_OK && got == 1)
        count++;
    pay_session->fn->C_FindObjectsFinal(pay_session->handle);
    return count;
}

#include "tests/unit/p11/pay_fixture.h"

#include <stdio.h>

struct tok *pay_tok;
struct tok_session *pay_session;
enum token_kind pay_kind;
struct err pay_err;

static struct token_fixture masters[TOKEN_KIND_COUNT];
static bool made[TOKEN_KIND_COUNT];
static struct token_fixture fixture;

static void open_kind(enum token_kind kind)
{
    pay_kind = kind;
    token_copy(&fixture, &masters[kind]);
    ck_assert_ok(tok_open(token_options(&fixture), &pay_tok, &pay_err), pay_err);
    ck_assert_ok(tok_session_take(pay_tok, &pay_session, &pay_err), pay_err);
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

void pay_case(Suite *suite, const char *name, void (*add)(TCase *tcase))
{
    static void (*const opens[TOKEN_KIND_COUNT])(void) = {
        [TOKEN_SOFTHSM] = open_softhsm, [TOKEN_NSS] = open_nss};
    for (int kind = 0; kind < TOKEN_KIND_COUNT; kind++) {
        char title[64];
        if (!made[kind])
            token_make(&masters[kind], (enum token_kind)kind);
        made[kind] = true;
        snprintf(title, sizeof title, "%s on %s", name, token_kind_name((enum token_kind)kind));
        TCase *tcase = tcase_create(title);
        tcase_set_timeout(tcase, 30);
        tcase_add_checked_fixture(tcase, opens[kind], close_token);
        add(tcase);
        suite_add_tcase(suite, tcase);
    }
}

void pay_cases_remove(void)
{
    for (int kind = 0; kind < TOKEN_KIND_COUNT; kind++) {
        if (made[kind])
            token_remove(&masters[kind]);
    }
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

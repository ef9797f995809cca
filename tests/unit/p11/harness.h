/* Every p11 suite runs on both tokens: a loop test whose _i is the kind, on a fresh copy of a token prepared
 * once. */
#ifndef POSWARD_TESTS_UNIT_P11_HARNESS_H
#define POSWARD_TESTS_UNIT_P11_HARNESS_H

#include "base/secret.h"
#include "p11/keys/keys.h"
#include "p11/module/session.h"
#include "p11/tok.h"
#include "tests/support/suite.h"
#include "tests/support/token.h"

#include <string.h>

static struct token_fixture masters[TOKEN_KIND_COUNT];
static struct token_fixture fixture;
static struct err e;

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

static inline struct tok *open_copy(int kind)
{
    struct tok *tok = NULL;
    token_copy(&fixture, &masters[kind]);
    ck_assert_ok(tok_open(token_options(&fixture), &tok, &e), e);
    return tok;
}

static inline void close_copy(struct tok *tok)
{
    tok_close(tok);
    token_remove(&fixture);
}

/* Objects in sight of a session: a flow must leave as many as it found. */
static inline size_t count_objects(struct tok_session *s)
{
    CK_OBJECT_HANDLE found[256];
    CK_ULONG count = 0, got = 0;
    ck_assert(s->fn->C_FindObjectsInit(s->handle, NULL, 0) == CKR_OK);
    do {
        ck_assert(s->fn->C_FindObjects(s->handle, found, 256, &got) == CKR_OK);
        count += got;
    } while (got > 0);
    ck_assert(s->fn->C_FindObjectsFinal(s->handle) == CKR_OK);
    return count;
}

static inline struct tok_session *take(struct tok *tok)
{
    struct tok_session *s = NULL;
    ck_assert_ok(tok_session_take(tok, &s, &e), e);
    return s;
}

static inline struct tok_key_info generate(struct tok *tok, enum tok_role role, enum tok_suite suite,
                                           unsigned version, const char *zone)
{
    struct tok_key_name name = {.role = role, .suite = suite, .version = version};
    struct tok_key_info info;
    strcpy(name.zone, zone);
    ck_assert_ok(tok_key_generate(tok, &name, TOK_KEY_ACTIVE, &info, &e), e);
    return info;
}

static inline void import(struct tok *tok, struct tok_key_name name, const uint8_t *value, size_t len)
{
    AUTO(secret) secret = {0};
    struct tok_key_info info;
    ck_assert_ok(secret_init_copy(&secret, value, len, &e), e);
    ck_assert_ok(tok_key_import(tok, &name, &secret, TOK_KEY_ACTIVE, &info, &e), e);
}

#endif

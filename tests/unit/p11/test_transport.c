/* Key blocks as published, and every form in which a key travels, through the token. */
#include "base/hex.h"
#include "p11/key_block_token.h"
#include "p11/template.h"
#include "p11/transport.h"
#include "tests/support/vectors.h"
#include "tests/unit/p11/harness.h"

static struct vectors blocks_b, blocks_d, derived, refused_a, refused_c, refused_e;

/* _i counts vectors on both tokens: even ones on the first. */
#define KIND   (_i % TOKEN_KIND_COUNT)
#define VECTOR (_i / TOKEN_KIND_COUNT)

static struct key_block_kbpk kbpk_of(struct tok_session *s, const struct vectors *v, int index, bool tdes,
                                     struct tok_object *out_object)
{
    uint8_t value[32];
    const size_t len = vectors_hex(v, index, "inputs", "kbpk", value, sizeof value);
    const CK_KEY_TYPE type = !tdes ? CKK_AES : len == 16 ? CKK_DES2 : CKK_DES3;
    ck_assert_ok(tok_object_import(s, type, value, len, TOK_USES(CKA_ENCRYPT, CKA_SIGN), out_object, &e), e);
    return (struct key_block_kbpk){out_object->handle, len};
}

/* ---- As published ---- */

static void open_as_published(const struct vectors *v, int kind, int index, bool tdes)
{
    static const char *const known[] = {"key", "mac_ok", "kcv", NULL};
    struct tok *tok = open_copy(kind);
    struct tok_session *s = take(tok);
    struct tok_object object = {0};
    struct key_block block;
    AUTO(secret) key = {0};
    vectors_expect_only(v, index, known);
    const struct key_block_kbpk kbpk = kbpk_of(s, v, index, tdes, &object);
    ck_assert_ok(key_block_parse(vectors_text(v, index, "inputs", "block"), &block, &e), e);
    const enum err_code code = key_block_open(s, &kbpk, &block, &key, &e);
    const char *mac_ok = vectors_text(v, index, "expected", "mac_ok");
    if (mac_ok != NULL && strcmp(mac_ok, "True") != 0) {
        ck_assert_int_eq(code, ERR_CHECK);
    } else {
        ck_assert_ok(code, e);
        vectors_expect_hex(v, index, "key", key.bytes, key.len);
    }
    tok_object_drop(&object);
    tok_session_give(s);
    close_copy(tok);
}

START_TEST(block_b_opens_as_published)
{
    open_as_published(&blocks_b, KIND, VECTOR, true);
}
END_TEST

START_TEST(block_d_opens_as_published)
{
    open_as_published(&blocks_d, KIND, VECTOR, false);
}
END_TEST

/* Variant binding is that of versions A and C, counter mode that of E: these have no keys to derive here. */
START_TEST(protection_keys_are_derived_as_published)
{
    static const char *const known[] = {"kbek", "kbak", NULL};
    struct tok *tok = open_copy(KIND);
    struct tok_session *s = take(tok);
    struct tok_object object = {0};
    AUTO(secret) kbek = {0};
    AUTO(secret) kbak = {0};
    vectors_expect_only(&derived, VECTOR, known);
    if (strcmp(vectors_text(&derived, VECTOR, "inputs", "method"), "derive") == 0) {
        uint8_t value[32];
        const bool tdes = vectors_hex(&derived, VECTOR, "inputs", "kbpk", value, sizeof value) < 32;
        const struct key_block_kbpk kbpk = kbpk_of(s, &derived, VECTOR, tdes, &object);
        ck_assert_ok(key_block_derive(s, &kbpk, tdes ? 'B' : 'D', &kbek, &kbak, &e), e);
        vectors_expect_hex(&derived, VECTOR, "kbek", kbek.bytes, kbek.len);
        vectors_expect_hex(&derived, VECTOR, "kbak", kbak.bytes, kbak.len);
        tok_object_drop(&object);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

static void expect_refused(const struct vectors *v, int index, char version)
{
    struct key_block block;
    char want[16];
    snprintf(want, sizeof want, "version %c", version);
    ck_assert_int_eq(key_block_parse(vectors_text(v, index, "inputs", "block"), &block, &e), ERR_UNSUPPORTED);
    ck_assert_msg(strstr(e.note, want) != NULL && strstr(e.note, "B and D") != NULL, "%s", e.note);
}

START_TEST(other_versions_are_refused_by_name)
{
    for (int i = 0; i < (int)refused_a.count; i++)
        expect_refused(&refused_a, i, 'A');
    for (int i = 0; i < (int)refused_c.count; i++)
        expect_refused(&refused_c, i, 'C');
    for (int i = 0; i < (int)refused_e.count; i++)
        expect_refused(&refused_e, i, 'E');
}
END_TEST

/* ---- Hostile ---- */

static const char sound[] = "D0112P0AE00E0000B82679114F470F540165EDFBF7E250FCEA43F810D215F8D207E2E417C07156A2"
                            "7E8E31DA05F7425509593D03A457DC34";

START_TEST(block_that_is_cut_at_any_character_is_refused)
{
    struct key_block block;
    ck_assert_ok(key_block_parse(sound, &block, &e), e);
    for (size_t len = 0; len < sizeof sound - 1; len++) {
        char *cut = strndup(sound, len); /* for ASan: exactly as long */
        ck_assert_int_ne(key_block_parse(cut, &block, &e), ERR_OK);
        free(cut);
    }
}
END_TEST

/* ---- Round trips ---- */

static struct tok_key_name zone_key(enum tok_role role, enum tok_suite suite, unsigned version)
{
    return (struct tok_key_name){.role = role, .suite = suite, .version = version, .zone = "up"};
}

static const struct form {
    enum tok_key_format format;
    enum tok_suite under, key;
    enum tok_role role;
} forms[] = {
    {TOK_AES_KW, TOK_AES_256, TOK_TDES, TOK_ZONE_PIN},
    {TOK_AES_KW, TOK_AES_256, TOK_AES_128, TOK_ZONE_MAC},
    {TOK_TDES_CRYPTOGRAM, TOK_TDES, TOK_TDES, TOK_ZONE_PIN},
    {TOK_TDES_CRYPTOGRAM, TOK_TDES, TOK_TDES, TOK_ZONE_MAC},
    {TOK_TR31_B, TOK_TDES, TOK_TDES, TOK_ZONE_PIN},
    {TOK_TR31_B, TOK_TDES, TOK_TDES, TOK_ZONE_MAC},
    {TOK_TR31_D, TOK_AES_256, TOK_TDES, TOK_ZONE_DATA},
    {TOK_TR31_D, TOK_AES_256, TOK_AES_128, TOK_ZONE_PIN},
    {TOK_TR31_D, TOK_AES_256, TOK_AES_128, TOK_ZONE_MAC},
};
#define FORMS ((int)(sizeof forms / sizeof forms[0]))

/* A token that has zone masters of known value, so that two tokens share them. */
static struct tok *open_with_zone_masters(int kind)
{
    static uint8_t value[32];
    struct tok *tok = open_copy(kind);
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)(0x20 + 7 * i);
    import(tok, zone_key(TOK_ZONE_MASTER, TOK_TDES, 1), value, 16);
    import(tok, zone_key(TOK_ZONE_MASTER, TOK_AES_256, 1), value, 32);
    ck_assert_ok(tok_ways_probe(tok, TOK_EXPOSURE_ANY, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    return tok;
}

static struct tok_import import_of(const struct form *form, const struct tok_exported *x)
{
    return (struct tok_import){.name = zone_key(form->role, form->key, 1),
                               .state = TOK_KEY_ACTIVE,
                               .kcv = x->info.kcv,
                               .format = form->format,
                               .under = zone_key(TOK_ZONE_MASTER, form->under, 0),
                               .wrapped = x->wrapped,
                               .len = x->len,
                               .key_block = x->len == 0 ? x->key_block : NULL};
}

static void export_one(struct tok *tok, const struct form *form, struct tok_exported *out)
{
    const struct tok_export request = {.name = zone_key(form->role, form->key, 1),
                                       .state = TOK_KEY_ACTIVE,
                                       .format = form->format,
                                       .under = zone_key(TOK_ZONE_MASTER, form->under, 0)};
    ck_assert_ok(tok_key_generate_exported(tok, &request, out, &e), e);
    ck_assert_uint_eq(out->under_version, 1);
}

/* What one token hands out, another of the same zone loads; nothing is left behind by either. */
START_TEST(key_travels_to_another_token)
{
    const struct form *form = &forms[VECTOR];
    struct tok_exported exported;
    struct tok_imported imported;
    const uint8_t wrong_kcv[3] = {0, 0, 0};
    struct tok *tok = open_with_zone_masters(KIND);
    export_one(tok, form, &exported);
    close_copy(tok);
    tok = open_with_zone_masters(KIND);
    struct tok_session *s = take(tok);
    const size_t before = count_objects(s);
    struct tok_import request = import_of(form, &exported);
    request.check_only = true;
    ck_assert_ok(tok_key_import_wrapped(tok, &request, &imported, &e), e);
    ck_assert_mem_eq(imported.info.kcv, exported.info.kcv, 3);
    ck_assert_uint_eq(count_objects(s), before);
    request.check_only = false;
    request.kcv = wrong_kcv;
    ck_assert_int_eq(tok_key_import_wrapped(tok, &request, &imported, &e), ERR_CHECK);
    ck_assert_uint_eq(count_objects(s), before);
    request.kcv = exported.info.kcv;
    ck_assert_ok(tok_key_import_wrapped(tok, &request, &imported, &e), e);
    ck_assert_int_eq(tok_key_import_wrapped(tok, &request, &imported, &e), ERR_EXISTS);
    if (exported.len == 0) /* a key block is opened here, and nothing says otherwise */
        ck_assert_int_eq(imported.grade, TOK_PROCESS_MEMORY);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(header_of_another_use_is_refused)
{
    const struct form form = {TOK_TR31_B, TOK_TDES, TOK_TDES, TOK_ZONE_PIN};
    struct tok_exported exported;
    struct tok_imported imported;
    struct tok *tok = open_with_zone_masters(_i);
    export_one(tok, &form, &exported);
    struct tok_import request = import_of(&form, &exported);
    request.name.role = TOK_ZONE_MAC;
    ck_assert_int_eq(tok_key_import_wrapped(tok, &request, &imported, &e), ERR_DENIED);
    ck_assert_msg(strncmp(e.note, "usage:", 6) == 0, "%s", e.note);
    request = import_of(&form, &exported);
    strcpy(request.under.zone, "other");
    ck_assert_int_eq(tok_key_import_wrapped(tok, &request, &imported, &e), ERR_DENIED);
    close_copy(tok);
}
END_TEST

/* Each character in turn: none of the changed blocks gives a key. */
START_TEST(block_that_was_changed_is_refused)
{
    const struct form form = {TOK_TR31_D, TOK_AES_256, TOK_AES_128, TOK_ZONE_PIN};
    struct tok_exported exported;
    struct tok_imported imported;
    struct tok *tok = open_with_zone_masters(_i);
    export_one(tok, &form, &exported);
    struct tok_import request = import_of(&form, &exported);
    request.name.version = 2;
    for (size_t i = 0; exported.key_block[i] != '\0'; i++) {
        const char kept = exported.key_block[i];
        exported.key_block[i] = kept == '1' ? '2' : '1';
        const enum err_code code = tok_key_import_wrapped(tok, &request, &imported, &e);
        ck_assert_msg(code == ERR_CHECK || code == ERR_INPUT || code == ERR_UNSUPPORTED,
                      "character %zu: %d %s", i, (int)code, e.note);
        exported.key_block[i] = kept;
    }
    ck_assert_ok(tok_key_import_wrapped(tok, &request, &imported, &e), e);
    close_copy(tok);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("p11/transport");
    TCase *tc = tcase_create("transport");
    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    if (vectors_open(&blocks_b, "tr31_B"))
        tcase_add_loop_test(tc, block_b_opens_as_published, 0, (int)blocks_b.count * TOKEN_KIND_COUNT);
    if (vectors_open(&blocks_d, "tr31_D"))
        tcase_add_loop_test(tc, block_d_opens_as_published, 0, (int)blocks_d.count * TOKEN_KIND_COUNT);
    if (vectors_open(&derived, "tr31_kbpk_derive"))
        tcase_add_loop_test(tc, protection_keys_are_derived_as_published, 0,
                            (int)derived.count * TOKEN_KIND_COUNT);
    if (vectors_open(&refused_a, "tr31_A") && vectors_open(&refused_c, "tr31_C") &&
        vectors_open(&refused_e, "tr31_E"))
        tcase_add_test(tc, other_versions_are_refused_by_name);
    tcase_add_test(tc, block_that_is_cut_at_any_character_is_refused);
    tcase_add_loop_test(tc, key_travels_to_another_token, 0, FORMS * TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, header_of_another_use_is_refused, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, block_that_was_changed_is_refused, 0, TOKEN_KIND_COUNT);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

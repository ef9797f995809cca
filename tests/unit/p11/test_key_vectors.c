/* Published vectors of derivation, working keys, check values and key wrap, through the token. */
#include "base/hex.h"
#include "p11/template.h"
#include "tests/support/vectors.h"
#include "tests/unit/p11/harness.h"

static struct vectors diversify, working_key, signin, kcv_des, kcv_aes, keywrap;

/* _i counts vectors on both tokens: even ones on the first. */
#define KIND   (_i % TOKEN_KIND_COUNT)
#define VECTOR (_i / TOKEN_KIND_COUNT)

/* DES key of 8 (as K||K), 16 or 24 bytes. */
static void import_des(struct tok_session *s, const uint8_t *value, size_t len, const CK_ATTRIBUTE_TYPE *uses,
                       struct tok_object *out_key)
{
    uint8_t twice[24];
    memcpy(twice, value, len);
    if (len == 8)
        memcpy(twice + 8, value, 8);
    ck_assert_ok(
        tok_object_import(s, len == 24 ? CKK_DES3 : CKK_DES2, twice, len == 8 ? 16 : len, uses, out_key, &e),
        e);
}

static void kcv_of_value(struct tok_session *s, const uint8_t *value, size_t len, uint8_t out_kcv[8])
{
    AUTO(tok_object) key = {0};
    import_des(s, value, len, TOK_USES(CKA_ENCRYPT), &key);
    ck_assert_ok(tok_object_kcv(s, key.handle, TOK_TDES, out_kcv, 8, &e), e);
}

/* ---- diversify ---- */

static void expect_key(struct tok_session *s, int index, CK_OBJECT_HANDLE child, const char *name)
{
    uint8_t want[16], want_kcv[8], got_kcv[8];
    if (vectors_hex(&diversify, index, "expected", name, want, sizeof want) == 0)
        return;
    kcv_of_value(s, want, sizeof want, want_kcv);
    ck_assert_ok(tok_object_kcv(s, child, TOK_TDES, got_kcv, 8, &e), e);
    ck_assert_mem_eq(got_kcv, want_kcv, 8);
}

/* A further level below `parent`. */
static void derive_level(struct tok_session *s, CK_OBJECT_HANDLE parent, const char *factor,
                         struct tok_object *out)
{
    uint8_t data[16];
    ck_assert_uint_eq(strlen(factor), 16);
    ck_assert_ok(hex_decode(factor, 16, data, &e), e);
    for (size_t i = 0; i < 8; i++)
        data[8 + i] = (uint8_t)~data[i];
    const struct tok_derive_request request = {.base_suite = TOK_TDES,
                                               .base = parent,
                                               .data = data,
                                               .len = sizeof data,
                                               .type = CKK_DES2,
                                               .uses = TOK_USES(CKA_ENCRYPT, CKA_DERIVE)};
    ck_assert_ok(tok_derive_data(s, &request, out, &e), e);
}

static void expect_kcv(struct tok_session *s, int index, CK_OBJECT_HANDLE child, const char *name)
{
    uint8_t want[8], got[8];
    const size_t len = vectors_hex(&diversify, index, "expected", name, want, sizeof want);
    ck_assert_ok(tok_object_kcv(s, child, TOK_TDES, got, sizeof got, &e), e);
    ck_assert_mem_eq(got, want, len);
}

/* The way that sign-in goes: a master of the token, a PSAM number. */
static void derive_first(struct tok *tok, struct tok_session *s, int v, struct tok_object *out)
{
    const json_t *levels = json_object_get(vectors_section(&diversify, v, "inputs"), "factors");
    const char *number = vectors_text(&diversify, v, "inputs", "psam_no");
    uint8_t mk[16];
    ck_assert_uint_eq(vectors_hex(&diversify, v, "inputs", "mk", mk, sizeof mk), sizeof mk);
    if (number == NULL)
        number = levels != NULL ? json_string_value(json_array_get(levels, 0))
                                : vectors_text(&diversify, v, "inputs", "factor");
    if (secret_equal(mk, mk + 8, 8)) { /* no token of ours holds such a master; the derivation is the same */
        AUTO(tok_object) master = {0};
        import_des(s, mk, sizeof mk, TOK_USES(CKA_DERIVE), &master);
        derive_level(s, master.handle, number + strlen(number) - 16, out);
        return;
    }
    import(tok, (struct tok_key_name){.role = TOK_PSAM_MASTER, .suite = TOK_TDES, .version = 3}, mk,
           sizeof mk);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    const struct tok_child_request request = {.psam_number = number,
                                              .suite = TOK_TDES,
                                              .domain = TOK_DOMAIN_TMK,
                                              .master_version = 3,
                                              .use = TOK_CHILD_WRAPS};
    ck_assert_ok(tok_derive_child(s, &request, out, &e), e);
}

START_TEST(card_key_is_derived_as_published)
{
    static const char *const known[] = {"key", "key_odd_parity", "level1", "kcv", "kcv4", NULL};
    const int v = VECTOR;
    struct tok *tok = open_copy(KIND);
    struct tok_session *s = take(tok);
    const json_t *levels = json_object_get(vectors_section(&diversify, v, "inputs"), "factors");
    AUTO(tok_object) child = {0};
    AUTO(tok_object) second = {0};
    vectors_expect_only(&diversify, v, known);
    derive_first(tok, s, v, &child);
    CK_OBJECT_HANDLE last = child.handle;
    if (json_array_size(levels) > 1) {
        expect_key(s, v, child.handle, "level1");
        derive_level(s, child.handle, json_string_value(json_array_get(levels, 1)), &second);
        last = second.handle;
    }
    expect_key(s, v, last, "key");
    expect_key(s, v, last, "key_odd_parity");
    expect_kcv(s, v, last, "kcv");
    expect_kcv(s, v, last, "kcv4");
    tok_object_drop(&child);
    tok_object_drop(&second);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

/* ---- working_key and signin_f62: what a card makes of a cryptogram ---- */

static void decipher(struct tok_session *s, const uint8_t tmk[16], const uint8_t *cipher, size_t len,
                     uint8_t out_clear[16])
{
    CK_MECHANISM ecb = {.mechanism = CKM_DES3_ECB};
    AUTO(tok_object) key = {0};
    import_des(s, tmk, 16, TOK_USES(CKA_DECRYPT), &key);
    ck_assert_ok(tok_decrypt(s, &ecb, key.handle, cipher, len, out_clear, &e), e);
}

START_TEST(working_key_deciphers_as_published)
{
    static const char *const known[] = {"key", "kcv", NULL};
    const int v = VECTOR;
    uint8_t tmk[16], cipher[16], clear[16], want[16], kcv[8];
    struct tok *tok = open_copy(KIND);
    struct tok_session *s = take(tok);
    vectors_expect_only(&working_key, v, known);
    vectors_hex(&working_key, v, "inputs", "tmk", tmk, sizeof tmk);
    const size_t len = vectors_hex(&working_key, v, "inputs", "cipher", cipher, sizeof cipher);
    decipher(s, tmk, cipher, len, clear);
    size_t want_len = vectors_hex(&working_key, v, "expected", "key", want, sizeof want);
    ck_assert_mem_eq(clear, want, want_len);
    kcv_of_value(s, clear, len, kcv);
    want_len = vectors_hex(&working_key, v, "expected", "kcv", want, sizeof want);
    ck_assert_mem_eq(kcv, want, want_len);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(field_62_holds_the_published_keys)
{
    static const char *const known[] = {"pik", "pik_cv", "mak", "mak_cv", "tdk", "tdk_cv", NULL};
    const int v = VECTOR;
    uint8_t tmk[16], field[84], clear[16], want[16], kcv[8];
    struct tok *tok = open_copy(KIND);
    struct tok_session *s = take(tok);
    vectors_expect_only(&signin, v, known);
    vectors_hex(&signin, v, "inputs", "tmk", tmk, sizeof tmk);
    const size_t len = vectors_hex(&signin, v, "inputs", "field62", field, sizeof field);
    const size_t slots = len == 24 ? 2 : 3;
    for (size_t slot = 0; slot < slots; slot++) {
        const uint8_t *at = field + slot * (len / slots);
        const size_t key_len = vectors_hex(&signin, v, "expected", known[2 * slot], want, sizeof want);
        decipher(s, tmk, at, key_len, clear);
        ck_assert_mem_eq(clear, want, key_len);
        ck_assert_uint_eq(vectors_hex(&signin, v, "expected", known[2 * slot + 1], want, sizeof want), 4);
        kcv_of_value(s, clear, key_len, kcv);
        ck_assert_mem_eq(kcv, want, 4);
        ck_assert_mem_eq(at + len / slots - 4, want, 4);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

/* ---- check values and key wrap ---- */

START_TEST(des_kcv_is_as_published)
{
    static const char *const known[] = {"kcv", NULL};
    uint8_t key[24], want[8], got[8];
    struct tok *tok = open_copy(KIND);
    struct tok_session *s = take(tok);
    vectors_expect_only(&kcv_des, VECTOR, known);
    const size_t len = vectors_hex(&kcv_des, VECTOR, "inputs", "key", key, sizeof key);
    kcv_of_value(s, key, len, got);
    const size_t want_len = vectors_hex(&kcv_des, VECTOR, "expected", "kcv", want, sizeof want);
    ck_assert_mem_eq(got, want, want_len);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(aes_kcv_is_as_published)
{
    static const char *const known[] = {"kcv", NULL};
    uint8_t key[32], want[16], got[16];
    struct tok *tok = open_copy(KIND);
    struct tok_session *s = take(tok);
    vectors_expect_only(&kcv_aes, VECTOR, known);
    const size_t len = vectors_hex(&kcv_aes, VECTOR, "inputs", "key", key, sizeof key);
    const size_t want_len = vectors_hex(&kcv_aes, VECTOR, "expected", "kcv", want, sizeof want);
    /* by CMAC, and by two encryptions where the key may not sign */
    const CK_ATTRIBUTE_TYPE ways[] = {CKA_SIGN, CKA_ENCRYPT};
    for (size_t i = 0; i < 2; i++) {
        AUTO(tok_object) object = {0};
        ck_assert_ok(tok_object_import(s, CKK_AES, key, len, TOK_USES(ways[i]), &object, &e), e);
        ck_assert_ok(tok_object_kcv(s, object.handle, TOK_AES_128, got, want_len, &e), e);
        ck_assert_mem_eq(got, want, want_len);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(aes_key_wrap_is_as_published)
{
    static const char *const known[] = {"wrapped", NULL};
    uint8_t kek[32], key[32], want[40], got[40];
    CK_MECHANISM wrap = {.mechanism = CKM_AES_KEY_WRAP};
    CK_ULONG got_len = sizeof got;
    struct tok *tok = open_copy(KIND);
    struct tok_session *s = take(tok);
    AUTO(tok_object) kek_object = {0};
    AUTO(tok_object) object = {0};
    vectors_expect_only(&keywrap, VECTOR, known);
    const size_t kek_len = vectors_hex(&keywrap, VECTOR, "inputs", "kek", kek, sizeof kek);
    const size_t len = vectors_hex(&keywrap, VECTOR, "inputs", "key", key, sizeof key);
    const size_t want_len = vectors_hex(&keywrap, VECTOR, "expected", "wrapped", want, sizeof want);
    ck_assert_ok(tok_object_import(s, CKK_AES, kek, kek_len, TOK_USES(CKA_WRAP), &kek_object, &e), e);
    ck_assert_ok(tok_object_import(s, CKK_AES, key, len, TOK_USES(CKA_EXTRACTABLE), &object, &e), e);
    ck_assert(s->fn->C_WrapKey(s->handle, &wrap, kek_object.handle, object.handle, got, &got_len) == CKR_OK);
    ck_assert_uint_eq(got_len, want_len);
    ck_assert_mem_eq(got, want, want_len);
    tok_object_drop(&object);
    tok_object_drop(&kek_object);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("p11/key_vectors");
    TCase *tc = tcase_create("vectors");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    if (vectors_open(&diversify, "diversify"))
        tcase_add_loop_test(tc, card_key_is_derived_as_published, 0, (int)diversify.count * TOKEN_KIND_COUNT);
    if (vectors_open(&working_key, "working_key"))
        tcase_add_loop_test(tc, working_key_deciphers_as_published, 0,
                            (int)working_key.count * TOKEN_KIND_COUNT);
    if (vectors_open(&signin, "signin_f62"))
        tcase_add_loop_test(tc, field_62_holds_the_published_keys, 0, (int)signin.count * TOKEN_KIND_COUNT);
    if (vectors_open(&kcv_des, "kcv"))
        tcase_add_loop_test(tc, des_kcv_is_as_published, 0, (int)kcv_des.count * TOKEN_KIND_COUNT);
    if (vectors_open(&kcv_aes, "kcv_aes_cmac"))
        tcase_add_loop_test(tc, aes_kcv_is_as_published, 0, (int)kcv_aes.count * TOKEN_KIND_COUNT);
    if (vectors_open(&keywrap, "aes_keywrap"))
        tcase_add_loop_test(tc, aes_key_wrap_is_as_published, 0, (int)keywrap.count * TOKEN_KIND_COUNT);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

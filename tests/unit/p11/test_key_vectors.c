/* Published vectors of derivation, working keys, check values and key wrap, through the token. */
#include "base/hex.h"
#include "iso8583/f62.h"
#include "p11/flow/diversify.h"
#include "p11/keys/keys.h"
#include "p11/object/template.h"
#include "tests/support/factors.h"
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

/* A token forces odd parity, which changes nothing that a DES key does: keys are compared by what they
 * encipher. That the parity of `key` itself is right is the emulators' suite's to say. */
static void expect_key(struct tok_session *s, int index, CK_OBJECT_HANDLE child, const char *name)
{
    uint8_t want[24], want_kcv[8], got_kcv[8];
    if (!vectors_expects(&diversify, index, name))
        return;
    ck_assert_uint_eq(vectors_hex(&diversify, index, "expected", name, want, sizeof want), 16);
    kcv_of_value(s, want, 16, want_kcv);
    ck_assert_ok(tok_object_kcv(s, child, TOK_TDES, got_kcv, 8, &e), e);
    ck_assert_msg(secret_equal(got_kcv, want_kcv, 8), "%s: %s differs", vectors_id(&diversify, index), name);
}

/* A further level below `parent`. */
static void derive_level(struct tok_session *s, CK_OBJECT_HANDLE parent, const char *factor,
                         struct tok_object *out)
{
    uint8_t data[16];
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
    uint8_t got[8];
    ck_assert_ok(tok_object_kcv(s, child, TOK_TDES, got, sizeof got, &e), e);
    vectors_expect_left(&diversify, index, name, got, sizeof got);
}

/* The way that sign-in goes, a master of the token and a PSAM number, where both are such. */
static void derive_first(struct tok *tok, struct tok_session *s, int v, const char *factor,
                         struct tok_object *out)
{
    const char *number = vectors_text(&diversify, v, "inputs", "psam_no");
    uint8_t mk[24];
    const size_t len = vectors_hex(&diversify, v, "inputs", "mk", mk, sizeof mk);
    if (number == NULL)
        number = factor;
    if (len != 16 || secret_equal(mk, mk + 8, 8) || !digits_only(number, strlen(number))) {
        AUTO(tok_object) master = {0};
        import_des(s, mk, len, TOK_USES(CKA_DERIVE), &master);
        derive_level(s, master.handle, factor, out);
        return;
    }
    import(tok, (struct tok_key_name){.role = TOK_PSAM_MASTER, .suite = TOK_TDES, .version = 3}, mk, len);
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
    struct tok_object levels[FACTOR_LEVELS_MAX] = {0};
    vectors_expect_only(&diversify, v, known);
    const struct factors factors = factors_of(&diversify, v);
    derive_first(tok, s, v, factors.digits[0], &levels[0]);
    expect_key(s, v, levels[0].handle, "level1");
    for (size_t i = 1; i < factors.levels; i++)
        derive_level(s, levels[i - 1].handle, factors.digits[i], &levels[i]);
    const CK_OBJECT_HANDLE last = levels[factors.levels - 1].handle;
    expect_key(s, v, last, "key");
    expect_key(s, v, last, "key_odd_parity");
    expect_kcv(s, v, last, "kcv");
    expect_kcv(s, v, last, "kcv4");
    for (size_t i = 0; i < factors.levels; i++)
        tok_object_drop(&levels[i]);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

/* ---- working_key and signin_f62: what a card makes of a cryptogram ---- */

static void import_tmk(struct tok_session *s, const struct vectors *v, int index, struct tok_object *out_tmk)
{
    uint8_t tmk[24];
    const size_t len = vectors_hex(v, index, "inputs", "tmk", tmk, sizeof tmk);
    import_des(s, tmk, len, TOK_USES(CKA_DECRYPT), out_tmk);
}

/* A clear key of 8, 16 or 24 bytes and its whole check value. */
static void decipher(struct tok_session *s, CK_OBJECT_HANDLE tmk, const uint8_t *cipher, size_t len,
                     uint8_t out_clear[24], uint8_t out_kcv[8])
{
    CK_MECHANISM ecb = {.mechanism = CKM_DES3_ECB};
    ck_assert_ok(tok_decrypt(s, &ecb, tmk, cipher, len, out_clear, &e), e);
    kcv_of_value(s, out_clear, len, out_kcv);
}

START_TEST(working_key_deciphers_as_published)
{
    static const char *const known[] = {"key", "kcv", NULL};
    const int v = VECTOR;
    uint8_t cipher[24], clear[24], kcv[8];
    struct tok *tok = open_copy(KIND);
    struct tok_session *s = take(tok);
    AUTO(tok_object) tmk = {0};
    vectors_expect_only(&working_key, v, known);
    import_tmk(s, &working_key, v, &tmk);
    const size_t len = vectors_hex(&working_key, v, "inputs", "cipher", cipher, sizeof cipher);
    decipher(s, tmk.handle, cipher, len, clear, kcv);
    vectors_expect_hex(&working_key, v, "key", clear, len);
    vectors_expect_left(&working_key, v, "kcv", kcv, sizeof kcv);
    tok_object_drop(&tmk);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

static void check_f62_key(struct tok_session *s, int v, CK_OBJECT_HANDLE tmk, const struct iso_f62_key *key,
                          const char *const names[2])
{
    uint8_t clear[24], kcv[8];
    if (key->cipher_len == 0) {
        ck_assert(!vectors_expects(&signin, v, names[0]) && !vectors_expects(&signin, v, names[1]));
        return;
    }
    decipher(s, tmk, key->cipher, key->cipher_len, clear, kcv);
    vectors_expect_hex(&signin, v, names[0], clear, key->cipher_len);
    vectors_expect_left(&signin, v, names[1], kcv, sizeof key->cv);
    ck_assert_mem_eq(kcv, key->cv, sizeof key->cv);
}

START_TEST(field_62_holds_the_published_keys)
{
    static const char *const known[] = {"pik", "pik_cv", "mak", "mak_cv", "tdk", "tdk_cv", NULL};
    const int v = VECTOR;
    uint8_t field[512];
    struct iso_f62 f62;
    struct tok *tok = open_copy(KIND);
    struct tok_session *s = take(tok);
    AUTO(tok_object) tmk = {0};
    vectors_expect_only(&signin, v, known);
    import_tmk(s, &signin, v, &tmk);
    const size_t len = vectors_hex(&signin, v, "inputs", "field62", field, sizeof field);
    ck_assert_ok(iso_f62_parse(field, len, ISO_F62_TDES, &f62, &e), e);
    for (size_t slot = 0; slot < ISO_F62_SLOT_COUNT; slot++)
        check_f62_key(s, v, tmk.handle, &f62.keys[slot], known + 2 * slot);
    tok_object_drop(&tmk);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

/* ---- check values and key wrap ---- */

START_TEST(des_kcv_is_as_published)
{
    static const char *const known[] = {"kcv", NULL};
    uint8_t key[24], got[8];
    struct tok *tok = open_copy(KIND);
    struct tok_session *s = take(tok);
    vectors_expect_only(&kcv_des, VECTOR, known);
    const size_t len = vectors_hex(&kcv_des, VECTOR, "inputs", "key", key, sizeof key);
    kcv_of_value(s, key, len, got);
    vectors_expect_left(&kcv_des, VECTOR, "kcv", got, sizeof got);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(aes_kcv_is_as_published)
{
    static const char *const known[] = {"kcv", NULL};
    uint8_t key[32], got[16];
    struct tok *tok = open_copy(KIND);
    struct tok_session *s = take(tok);
    vectors_expect_only(&kcv_aes, VECTOR, known);
    const size_t len = vectors_hex(&kcv_aes, VECTOR, "inputs", "key", key, sizeof key);
    /* by CMAC, and by two encryptions where the key may not sign */
    const CK_ATTRIBUTE_TYPE ways[] = {CKA_SIGN, CKA_ENCRYPT};
    for (size_t i = 0; i < 2; i++) {
        AUTO(tok_object) object = {0};
        ck_assert_ok(tok_object_import(s, CKK_AES, key, len, TOK_USES(ways[i]), &object, &e), e);
        ck_assert_ok(tok_object_kcv(s, object.handle, TOK_AES_128, got, sizeof got, &e), e);
        vectors_expect_left(&kcv_aes, VECTOR, "kcv", got, sizeof got);
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(aes_key_wrap_is_as_published)
{
    static const char *const known[] = {"wrapped", NULL};
    uint8_t kek[32], key[64], got[80];
    CK_MECHANISM wrap = {.mechanism = CKM_AES_KEY_WRAP};
    CK_ULONG got_len = sizeof got;
    struct tok *tok = open_copy(KIND);
    struct tok_session *s = take(tok);
    AUTO(tok_object) kek_object = {0};
    AUTO(tok_object) object = {0};
    vectors_expect_only(&keywrap, VECTOR, known);
    const size_t kek_len = vectors_hex(&keywrap, VECTOR, "inputs", "kek", kek, sizeof kek);
    const size_t len = vectors_hex(&keywrap, VECTOR, "inputs", "key", key, sizeof key);
    const bool aes = len == 16 || len == 24 || len == 32;
    ck_assert_ok(tok_object_import(s, CKK_AES, kek, kek_len, TOK_USES(CKA_WRAP), &kek_object, &e), e);
    ck_assert_ok(tok_object_import(s, aes ? CKK_AES : CKK_GENERIC_SECRET, key, len, TOK_USES(CKA_EXTRACTABLE),
                                   &object, &e),
                 e);
    ck_assert(s->fn->C_WrapKey(s->handle, &wrap, kek_object.handle, object.handle, got, &got_len) == CKR_OK);
    vectors_expect_hex(&keywrap, VECTOR, "wrapped", got, got_len);
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

SUITE_MAIN_EXIT(suite(), vectors_exit)

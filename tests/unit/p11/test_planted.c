/* What somebody who can write to a token, or to its directory, may try: keys that posward did not make. */
#include "p11/keys/keys.h"
#include "tests/unit/p11/harness.h"

#include <stdio.h>

/* An object of known value under a name of the estate, with a record that fits it. */
struct planted {
    const char *label, *left; /* the third check value of a record; NULL: none */
    CK_BBOOL private, sensitive, extractable;
    CK_ATTRIBUTE_TYPE extra; /* one usage more than the role has; 0: none */
};

static void plant_des(struct tok *tok, const struct planted *p, const uint8_t value[16], const char *kcv)
{
    AUTO(tok_session) rw = {0};
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_DES2;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_HANDLE handle;
    char id[160];
    snprintf(id, sizeof id, "%s/%s/%s%s%s", kcv, kcv, p->left != NULL ? p->left : "",
             p->left != NULL ? "/" : "", p->label);
    CK_ATTRIBUTE t[] = {{CKA_CLASS, &class, sizeof class},
                        {CKA_KEY_TYPE, &type, sizeof type},
                        {CKA_TOKEN, &yes, sizeof yes},
                        {CKA_PRIVATE, (void *)(uintptr_t)&p->private, 1},
                        {CKA_SENSITIVE, (void *)(uintptr_t)&p->sensitive, 1},
                        {CKA_EXTRACTABLE, (void *)(uintptr_t)&p->extractable, 1},
                        {CKA_ENCRYPT, &yes, 1},
                        {CKA_DECRYPT, p->extra == CKA_DECRYPT ? &yes : &no, 1},
                        {CKA_SIGN, &no, 1},
                        {CKA_VERIFY, &no, 1},
                        {CKA_WRAP, p->extra == CKA_WRAP ? &yes : &no, 1},
                        {CKA_UNWRAP, &no, 1},
                        {CKA_DERIVE, p->extra == CKA_DERIVE ? &yes : &no, 1},
                        {CKA_VALUE, (void *)(uintptr_t)value, 16},
                        {CKA_LABEL, (void *)(uintptr_t)p->label, strlen(p->label)},
                        {CKA_ID, id, strlen(id)}};
    ck_assert_ok(tok_session_open_rw(tok, &rw, &e), e);
    const CK_RV rv = rw.fn->C_CreateObject(rw.handle, t, sizeof t / sizeof t[0], &handle);
    ck_assert_msg(rv == CKR_OK, "C_CreateObject: %s", tok_rv_name(rv));
}

static const uint8_t known[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
                                  0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10};
static const uint8_t known_half[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
                                       0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF};
/* Check values by OpenSSL: des-ede-ecb of 8 zero bytes under `known` and `known_half`. */
#define KNOWN_KCV      "08D7B4"
#define KNOWN_HALF_KCV "D5D44F"

START_TEST(planted_keys_are_refused)
{
    static const char zone[] = "posward/zone-mac/bank-a/tdes/1";
    static const struct {
        struct planted planted;
        const char *note; /* NULL: it is taken */
    } rows[] = {
        {{zone, NULL, CK_TRUE, CK_TRUE, CK_FALSE, 0}, NULL},
        {{zone, NULL, CK_FALSE, CK_TRUE, CK_FALSE, 0}, "CKA_PRIVATE"},
        {{zone, NULL, CK_TRUE, CK_FALSE, CK_FALSE, 0}, "CKA_SENSITIVE"},
        {{zone, NULL, CK_TRUE, CK_TRUE, CK_TRUE, 0}, "CKA_EXTRACTABLE"},
        {{zone, NULL, CK_TRUE, CK_TRUE, CK_FALSE, CKA_DECRYPT}, "CKA_DECRYPT"},
        {{zone, NULL, CK_TRUE, CK_TRUE, CK_FALSE, CKA_WRAP}, "CKA_WRAP"},
        {{zone, NULL, CK_TRUE, CK_TRUE, CK_FALSE, CKA_DERIVE}, "CKA_DERIVE"},
        {{"posward/audit/ec-p256/1", NULL, CK_TRUE, CK_TRUE, CK_FALSE, 0}, "class"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tok *tok = open_copy(_i);
        /* NSS makes every secret key that it stores private and sensitive. */
        const bool mended = !rows[i].planted.private || !rows[i].planted.sensitive;
        const bool taken = rows[i].note == NULL || (_i == TOKEN_NSS && mended);
        plant_des(tok, &rows[i].planted, known, KNOWN_KCV);
        ck_assert_msg(tok_keys_load(tok, &e) == (taken ? ERR_OK : ERR_CHECK), "row %zu: %s", i, e.note);
        ck_assert(taken || strstr(e.note, rows[i].note) != NULL);
        ck_assert(taken || strstr(e.note, rows[i].planted.label) != NULL);
        close_copy(tok);
    }
}
END_TEST

START_TEST(half_of_another_key_is_refused)
{
    static const char zone[] = "posward/zone-mac/bank-a/tdes/1";
    static const char half[] = "posward/zone-mac/bank-a/tdes/1/left";
    static const struct {
        const char *named; /* half's check value in the key's record */
        const uint8_t *value;
        const char *kcv; /* in the half's own record */
        enum err_code code;
    } rows[] = {
        {KNOWN_HALF_KCV, known_half, KNOWN_HALF_KCV, ERR_OK},
        {KNOWN_HALF_KCV, known, KNOWN_HALF_KCV, ERR_CHECK}, /* another value under the half's record */
        {KNOWN_HALF_KCV, known, KNOWN_KCV, ERR_CHECK},      /* a sound object, but not this key's half */
        {NULL, known_half, KNOWN_HALF_KCV, ERR_CHECK},      /* the key was made without one */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tok *tok = open_copy(_i);
        const struct planted key = {zone, rows[i].named, CK_TRUE, CK_TRUE, CK_FALSE, 0};
        const struct planted left = {half, NULL, CK_TRUE, CK_TRUE, CK_FALSE, 0};
        plant_des(tok, &key, known, KNOWN_KCV);
        plant_des(tok, &left, rows[i].value, rows[i].kcv);
        ck_assert_msg(tok_keys_load(tok, &e) == rows[i].code, "row %zu: %s", i, e.note);
        ck_assert(rows[i].code == ERR_OK || strstr(e.note, half) != NULL);
        close_copy(tok);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("p11/planted");
    TCase *tc = tcase_create("planted");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    tcase_add_loop_test(tc, planted_keys_are_refused, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, half_of_another_key_is_refused, 0, TOKEN_KIND_COUNT);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

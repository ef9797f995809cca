/* Key blocks as published, and every form in which a key travels, through the token. */
#include "base/hex.h"
#include "p11/keys/find.h"
#include "p11/keys/make.h"
#include "p11/object/template.h"
#include "p11/probe/probe.h"
#include "p11/tok.h"
#include "p11/travel/key_block_token.h"
#include "p11/travel/oaep.h"
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

/* Of AES keys some give the CMAC's start (5 bytes), some the cipher's (3): ours is the former. */
static void expect_kcv(struct tok *tok, const struct vectors *v, int index, char algorithm,
                       const struct secret *key)
{
    uint8_t kcv[3], want[8];
    if (!vectors_expects(v, index, "kcv"))
        return;
    const size_t len = vectors_hex(v, index, "expected", "kcv", want, sizeof want);
    if (algorithm == 'A' && len != 5)
        return;
    const enum tok_suite suite = algorithm == 'T' ? TOK_TDES : key->len == 32 ? TOK_AES_256 : TOK_AES_128;
    ck_assert_ok(tok_value_kcv(tok, suite, key, kcv, &e), e);
    ck_assert_mem_eq(kcv, want, sizeof kcv);
}

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
        expect_kcv(tok, v, index, block.header.algorithm, &key);
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
        const size_t len = vectors_hex(&derived, VECTOR, "inputs", "kbpk", value, sizeof value);
        ck_assert_msg(len == 16 || len == 32, "%s: which cipher?", vectors_id(&derived, VECTOR));
        const bool tdes = len == 16;
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

/* A block of version B with these optional blocks and a body of the right form, which no key has made. */
static enum err_code parse_with_optional(const char *count, const char *optional)
{
    static const char body[] = "00112233445566778899AABBCCDDEEFF0011223344556677"
                               "FEDCBA9876543210";
    char text[512];
    struct key_block block;
    snprintf(text, sizeof text, "B%04zuP0TB00N%s00%s%s",
             KEY_BLOCK_HEADER_LEAST + strlen(optional) + strlen(body), count, optional, body);
    return key_block_parse(text, &block, &e);
}

static const struct optional_row {
    const char *count, *optional;
    const char *note; /* NULL: it is read */
} optional_rows[] = {
    {"00", "", NULL},
    {"01", "KS1800604B120F9292800000", NULL},
    {"01", "PB08XXXX", NULL},
    {"02", "KS0C12345678PB0C12345678", NULL},
    {"02", "PB0C12345678KS0C12345678", "PB, which is the last"},
    {"03", "KS08aaaaPB08ccccTS08bbbb", "PB, which is the last"},
    {"02", "KS08aaaaKS08bbbb", "KS comes more than once"},
    {"03", "KS08aaaaTS08bbbbKS08cccc", "KS comes more than once"},
    {"02", "PB08aaaaPB08bbbb", "PB comes more than once"},
    {"02", "KS08aaaaks08bbbb", NULL}, /* another identifier */
    {"01", "1008abcd", NULL},         /* numeric ones are for agreements between two parties */
    {"01", "K 08abcd", "letters or digits"},
    {"01", "-S08abcd", "letters or digits"},
    {"01",
     "K\x7F"
     "08abcd",
     "wrong length"}, /* no printable text */
    {"01", "KS06ab", "multiple of 8"},
    {"01", "KS03abcd", "wrong length"},
    {"01", "KS00020Cabcd", "multiple of 8"},
    {"01", "KS000210abcdefgh", NULL},
    {"01", "KS0005000", "wrong length"},
    {"01", "KSFFabcd", "wrong length"},
    {"01", "KSG8abcd", "wrong length"},
    {"17", "", "17 optional blocks"},
};

START_TEST(optional_blocks_are_read_strictly)
{
    const struct optional_row *const row = &optional_rows[_i];
    e = (struct err){0};
    const enum err_code code = parse_with_optional(row->count, row->optional);
    if (row->note == NULL) {
        ck_assert_ok(code, e);
        return;
    }
    ck_assert_msg(code == ERR_INPUT, "%s: %d", row->optional, (int)code);
    ck_assert_msg(strstr(e.note, row->note) != NULL, "%s: %s", row->optional, e.note);
}
END_TEST

/* Key version, key context and what is reserved. */
START_TEST(fixed_header_is_read_strictly)
{
    static const struct {
        size_t at;
        char wrong;
    } rows[] = {{9, ' '}, {10, '/'}, {12, ' '}, {14, '3'}, {14, 'A'}, {15, '1'}, {5, '\t'}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *changed = strdup(sound);
        struct key_block block;
        changed[rows[i].at] = rows[i].wrong;
        ck_assert_msg(key_block_parse(changed, &block, &e) == ERR_INPUT, "character %zu: %c", rows[i].at,
                      rows[i].wrong);
        free(changed);
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

/* Half of a cryptogram twice is a single DES key, whose check value would tell much; and a key block whose
 * wrapped key is one is refused before it is agreed on. */
START_TEST(cryptogram_of_equal_halves_is_refused)
{
    const struct form form = {TOK_TDES_CRYPTOGRAM, TOK_TDES, TOK_TDES, _i % 2 ? TOK_ZONE_MAC : TOK_ZONE_PIN};
    struct tok_exported exported;
    struct tok_imported imported;
    struct tok *tok = open_with_zone_masters(_i / 2);
    export_one(tok, &form, &exported);
    struct tok_import request = import_of(&form, &exported);
    request.name.version = 2;
    request.check_only = true;
    ck_assert_ok(tok_key_import_wrapped(tok, &request, &imported, &e), e);
    memcpy(exported.wrapped + 8, exported.wrapped, 8);
    ck_assert_int_eq(tok_key_import_wrapped(tok, &request, &imported, &e), ERR_INPUT);
    ck_assert_msg(strstr(e.note, "check value") == NULL && strstr(e.note, "halves") != NULL, "%s", e.note);
    close_copy(tok);
}
END_TEST

START_TEST(key_block_of_single_des_is_refused)
{
    static const uint8_t half[8] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF};
    struct tok_key_block_header header = {.version = 'B'};
    struct tok_found under;
    struct tok_imported imported;
    struct tok *tok = open_with_zone_masters(_i);
    char text[256];
    AUTO(secret) value = {0};
    struct tok_import request = {.name = zone_key(TOK_ZONE_PIN, TOK_TDES, 1),
                                 .state = TOK_KEY_ACTIVE,
                                 .check_only = true,
                                 .format = TOK_TR31_B,
                                 .under = zone_key(TOK_ZONE_MASTER, TOK_TDES, 0),
                                 .key_block = text};
    ck_assert_ok(secret_init_copy(&value, half, sizeof half, &e), e);
    for (size_t i = 0; i < sizeof half; i++)
        value.bytes[8 + i] = half[i] ^ 1; /* the same key with other parity */
    value.len = 16;
    ck_assert_ok(tok_keys_find(tok, &request.under, TOK_OPEN, &under, &e), e);
    key_block_describe(TOK_ZONE_PIN, TOK_TDES, &header);
    struct tok_session *s = take(tok);
    const struct key_block_kbpk kbpk = {under.handle, 16};
    ck_assert_ok(key_block_make(s, &kbpk, &header, &value, text, sizeof text, &e), e);
    tok_session_give(s);
    ck_assert_int_eq(tok_key_import_wrapped(tok, &request, &imported, &e), ERR_INPUT);
    ck_assert_msg(strstr(e.note, "single DES") != NULL, "%s", e.note);
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

/* ---- Pairs ---- */

static const struct tok_key_name transport_key = {.role = TOK_TRANSPORT, .suite = TOK_RSA_3072, .version = 1};
static const struct tok_key_name component_key = {.role = TOK_COMPONENT, .suite = TOK_RSA_3072, .version = 1};

static struct tok *open_with_pairs(int kind)
{
    struct tok *tok = open_copy(kind);
    generate(tok, TOK_TRANSPORT, TOK_RSA_3072, 1, "");
    generate(tok, TOK_COMPONENT, TOK_RSA_3072, 1, "");
    ck_assert_ok(tok_ways_probe(tok, TOK_EXPOSURE_ANY, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    return tok;
}

static void wrap_oaep(struct tok *tok, const struct tok_key_name *name, const uint8_t *value, size_t len,
                      uint8_t out_wrapped[TOK_RSA_BYTES])
{
    struct tok_found found;
    struct tok_object public_key = {0};
    struct tok_session *s = take(tok);
    AUTO(secret) secret = {0};
    ck_assert_ok(secret_init_copy(&secret, value, len, &e), e);
    ck_assert_ok(tok_keys_find(tok, name, TOK_OPEN, &found, &e), e);
    ck_assert_ok(tok_pair_import_public(s, found.handle, &public_key, &e), e);
    ck_assert_ok(tok_oaep_encrypt(s, public_key.handle, &secret, out_wrapped, &e), e);
    tok_object_drop(&public_key);
    tok_session_give(s);
}

START_TEST(key_under_the_transport_key_is_loaded)
{
    static const uint8_t value[32] = {0x13, 0x25, 0x37, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct tok *tok = open_with_pairs(_i);
    uint8_t wrapped[TOK_RSA_BYTES], der[TOK_SPKI_BYTES];
    size_t der_len = 0;
    struct tok_imported imported;
    struct tok_import request = {.name = {.role = TOK_STORAGE, .suite = TOK_AES_256, .version = 1},
                                 .state = TOK_KEY_ACTIVE,
                                 .format = TOK_RSA_OAEP,
                                 .under = transport_key,
                                 .wrapped = wrapped,
                                 .len = sizeof wrapped};
    static const size_t wrong[] = {16, 24};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        wrap_oaep(tok, &transport_key, value, wrong[i], wrapped);
        ck_assert_int_eq(tok_key_import_wrapped(tok, &request, &imported, &e), ERR_INPUT);
        ck_assert_msg(strncmp(e.note, "length:", 7) == 0, "%s", e.note);
    }
    wrap_oaep(tok, &transport_key, value, sizeof value, wrapped);
    wrapped[100] ^= 1;
    ck_assert_int_eq(tok_key_import_wrapped(tok, &request, &imported, &e), ERR_CHECK);
    ck_assert_msg(strncmp(e.note, "wrapping:", 9) == 0, "%s", e.note);
    wrapped[100] ^= 1;
    ck_assert_ok(tok_key_import_wrapped(tok, &request, &imported, &e), e);
    ck_assert_int_eq(imported.grade, TOK_IN_TOKEN);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_ok(tok_pair_spki(tok, &transport_key, der, &der_len, &e), e);
    ck_assert_uint_eq(der_len, TOK_SPKI_BYTES);
    close_copy(tok);
}
END_TEST

START_TEST(component_comes_back_as_it_was_sealed)
{
    static const uint8_t value[16] = {0x13, 0x25, 0x37, 0x49, 5, 6, 7, 8, 9};
    const struct tok_key_name whole = {.role = TOK_PSAM_MASTER, .suite = TOK_AES_128, .version = 1};
    struct tok *tok = open_with_pairs(_i);
    AUTO(secret) secret = {0};
    AUTO(secret) opened = {0};
    uint8_t sealed[TOK_RSA_BYTES], kcv[3], want[3];
    ck_assert_ok(secret_init_copy(&secret, value, sizeof value, &e), e);
    ck_assert_ok(tok_component_seal(tok, &secret, sealed, &e), e);
    ck_assert_ok(tok_component_open(tok, &whole, sealed, sizeof sealed, &opened, kcv, &e), e);
    ck_assert_uint_eq(opened.len, sizeof value);
    ck_assert_mem_eq(opened.bytes, value, sizeof value);
    ck_assert_ok(tok_value_kcv(tok, TOK_AES_128, &secret, want, &e), e);
    ck_assert_mem_eq(kcv, want, sizeof kcv);
    close_copy(tok);
}
END_TEST

START_TEST(pair_is_told_from_another_by_its_public_number)
{
    const struct tok_key_name audit = {.role = TOK_AUDIT, .suite = TOK_EC_P256, .version = 1};
    const struct tok_key_name none = {.role = TOK_TRANSPORT, .suite = TOK_RSA_3072, .version = 9};
    struct tok *tok = open_with_pairs(_i);
    struct tok_pair_identity identity = {0}, other = {0};
    struct tok_key_info info;
    struct tok_session *s = NULL;
    uint8_t der[TOK_SPKI_BYTES], point[TOK_POINT_BYTES];
    size_t len = 0;
    ck_assert_ok(tok_pair_identity(tok, &transport_key, &identity, &e), e);
    ck_assert_uint_eq(identity.len, TOK_RSA_BYTES);
    ck_assert_ok(tok_pair_spki(tok, &transport_key, der, &len, &e), e);
    ck_assert_ptr_nonnull(memmem(der, len, identity.bytes, identity.len));
    ck_assert_ok(tok_pair_identity(tok, &component_key, &other, &e), e);
    ck_assert_mem_ne(identity.bytes, other.bytes, TOK_RSA_BYTES);
    ck_assert_int_eq(tok_pair_identity(tok, &none, &other, &e), ERR_NOT_FOUND);
    ck_assert_ok(tok_key_generate(tok, &audit, TOK_KEY_ACTIVE, &info, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_ok(tok_pair_identity(tok, &audit, &identity, &e), e);
    ck_assert_uint_eq(identity.len, TOK_POINT_BYTES);
    ck_assert_ok(tok_session_take(tok, &s, &e), e);
    ck_assert_ok(tok_audit_point(s, point, &e), e);
    tok_session_give(s);
    ck_assert_mem_eq(identity.bytes, point, sizeof point);
    close_copy(tok);
}
END_TEST

/* Anyone who writes to a token's directory can add a public object. */
START_TEST(planted_public_key_is_not_believed)
{
    static CK_BBOOL yes = CK_TRUE;
    static CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    static CK_KEY_TYPE type = CKK_RSA;
    static CK_BYTE modulus[TOK_RSA_BYTES], exponent[] = {1, 0, 1};
    static char label[] = "posward/component/rsa-3072/1";
    uint8_t before[TOK_SPKI_BYTES], after[TOK_SPKI_BYTES];
    size_t len = 0;
    struct tok *tok = open_with_pairs(_i);
    CK_ATTRIBUTE rows[] = {
        {CKA_CLASS, &class, sizeof class},      {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_TOKEN, &yes, sizeof yes},          {CKA_LABEL, label, sizeof label - 1},
        {CKA_ID, label, sizeof label - 1},      {CKA_ENCRYPT, &yes, sizeof yes},
        {CKA_MODULUS, modulus, sizeof modulus}, {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent}};
    CK_OBJECT_HANDLE planted;
    struct tok_session rw = {0};
    memset(modulus, 0xA5, sizeof modulus);
    ck_assert_ok(tok_pair_spki(tok, &component_key, before, &len, &e), e);
    ck_assert_ok(tok_session_open_rw(tok, &rw, &e), e);
    ck_assert(rw.fn->C_CreateObject(rw.handle, rows, sizeof rows / sizeof rows[0], &planted) == CKR_OK);
    tok_session_drop(&rw);
    if (tok_keys_load(tok, &e) == ERR_OK) { /* or the load refuses it */
        ck_assert_ok(tok_pair_spki(tok, &component_key, after, &len, &e), e);
        ck_assert_mem_eq(before, after, sizeof before);
    }
    close_copy(tok);
}
END_TEST

START_TEST(header_that_is_too_narrow_is_refused)
{
    static const struct {
        struct tok_key_block_header header;
        enum tok_role role;
        enum tok_suite suite;
        enum err_code want;
    } rows[] = {
        {{.usage = "P0", .algorithm = 'T', .mode = 'B', .key_version = "00", .exportability = 'N'},
         TOK_ZONE_PIN,
         TOK_TDES,
         ERR_OK},
        {{.usage = "P0", .algorithm = 'T', .mode = 'E', .key_version = "00", .exportability = 'N'},
         TOK_ZONE_PIN,
         TOK_TDES,
         ERR_DENIED},
        {{.usage = "M3", .algorithm = 'T', .mode = 'V', .key_version = "00", .exportability = 'N'},
         TOK_ZONE_MAC,
         TOK_TDES,
         ERR_DENIED},
        {{.usage = "M3", .algorithm = 'A', .mode = 'C', .key_version = "00", .exportability = 'N'},
         TOK_ZONE_MAC,
         TOK_AES_128,
         ERR_DENIED},
        {{.usage = "M6", .algorithm = 'A', .mode = 'C', .key_version = "00", .exportability = 'N'},
         TOK_ZONE_MAC,
         TOK_AES_128,
         ERR_OK},
        {{.usage = "P0", .algorithm = 'T', .mode = 'B', .key_version = "c1", .exportability = 'N'},
         TOK_ZONE_PIN,
         TOK_TDES,
         ERR_DENIED},
        {{.usage = "P0", .algorithm = 'T', .mode = 'B', .key_version = "00", .exportability = '?'},
         TOK_ZONE_PIN,
         TOK_TDES,
         ERR_DENIED},
        {{.usage = "P0",
          .algorithm = 'T',
          .mode = 'B',
          .key_version = "00",
          .exportability = 'N',
          .context = '1'}, /* storage only */
         TOK_ZONE_PIN,
         TOK_TDES,
         ERR_DENIED},
    };
    ck_assert_int_eq(key_block_check_use(&rows[_i].header, rows[_i].role, rows[_i].suite, &e), rows[_i].want);
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
    tcase_add_loop_test(tc, optional_blocks_are_read_strictly, 0,
                        sizeof optional_rows / sizeof optional_rows[0]);
    tcase_add_test(tc, fixed_header_is_read_strictly);
    tcase_add_loop_test(tc, key_travels_to_another_token, 0, FORMS * TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, header_of_another_use_is_refused, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, cryptogram_of_equal_halves_is_refused, 0, 2 * TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, key_block_of_single_des_is_refused, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, block_that_was_changed_is_refused, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, key_under_the_transport_key_is_loaded, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, component_comes_back_as_it_was_sealed, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, pair_is_told_from_another_by_its_public_number, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, planted_public_key_is_not_believed, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, header_that_is_too_narrow_is_refused, 0, 8);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

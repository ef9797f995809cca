/* A key's life: its states, what each allows, and what a crash may leave behind. */
#include "p11/flow/blob.h"
#include "p11/flow/flows.h"
#include "p11/keys/role.h"
#include "p11/keys/state.h"
#include "p11/object/template.h"
#include "p11/probe/probe.h"
#include "tests/unit/p11/harness.h"

#include <stdio.h>

static const struct tok_key_name storage_1 = {.role = TOK_STORAGE, .suite = TOK_AES_256, .version = 1};
static const struct tok_key_name storage_2 = {.role = TOK_STORAGE, .suite = TOK_AES_256, .version = 2};
static const struct tok_key_name zone_mac = {
    .role = TOK_ZONE_MAC, .suite = TOK_TDES, .version = 1, .zone = "bank-a"};

static struct tok_key_info make(struct tok *tok, struct tok_key_name name, enum tok_key_state state)
{
    struct tok_key_info info;
    ck_assert_ok(tok_key_generate(tok, &name, state, &info, &e), e);
    return info;
}

static struct tok_key_info info_of(struct tok *tok, const struct tok_key_name *name)
{
    struct tok_key_info info = {0};
    char label[TOK_LABEL_BYTES];
    tok_key_label(name, label);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    for (size_t i = 0; i < tok_keys_count(tok); i++) {
        tok_keys_info(tok, i, &info);
        if (strcmp(info.label, label) == 0)
            return info;
    }
    ck_abort_msg("%s is not there", label);
    return info;
}

START_TEST(key_goes_through_its_life)
{
    struct tok *tok = open_copy(_i);
    const struct tok_key_info made = make(tok, zone_mac, TOK_KEY_PRE_ACTIVE);
    struct tok_key_info info = info_of(tok, &zone_mac);
    ck_assert_int_eq(info.state, TOK_KEY_PRE_ACTIVE);
    ck_assert_int_gt(info.created_s, 1700000000);
    ck_assert_int_eq(info.activated_s, 0);
    static const enum tok_key_state path[] = {TOK_KEY_ACTIVE, TOK_KEY_DEACTIVATED, TOK_KEY_ACTIVE,
                                              TOK_KEY_DEACTIVATED};
    for (size_t i = 0; i < sizeof path / sizeof path[0]; i++) {
        ck_assert_ok(tok_key_set_state(tok, &zone_mac, path[i], &info, &e), e);
        const struct tok_key_info now = info_of(tok, &zone_mac);
        ck_assert_int_eq(now.state, path[i]);
        ck_assert_int_eq(info.state, path[i]);
        ck_assert_mem_eq(now.kcv, made.kcv, sizeof made.kcv);
        ck_assert_mem_eq(info.kcv, made.kcv, sizeof made.kcv);
        ck_assert_int_eq(now.created_s, made.created_s);
        ck_assert_int_gt(now.activated_s, 0);
        ck_assert_int_eq(now.deactivated_s != 0, i > 0);
    }
    ck_assert_ok(tok_key_destroy(tok, &zone_mac, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_uint_eq(tok_keys_count(tok), 0);
    struct tok_session *s = take(tok);
    ck_assert_uint_eq(count_objects(s), 0); /* neither half nor state stays */
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(pair_goes_through_its_life_too)
{
    struct tok *tok = open_copy(_i);
    const struct tok_key_name audit = {.role = TOK_AUDIT, .suite = TOK_EC_P256, .version = 1};
    struct tok_key_info info;
    uint8_t signature[TOK_SIGNATURE_BYTES];
    const uint8_t digest[TOK_DIGEST_BYTES] = {1};
    make(tok, audit, TOK_KEY_ACTIVE);
    ck_assert_int_eq(info_of(tok, &audit).state, TOK_KEY_ACTIVE);
    struct tok_session *s = take(tok);
    ck_assert_ok(tok_audit_sign(s, digest, signature, &e), e);
    ck_assert_ok(tok_key_set_state(tok, &audit, TOK_KEY_DEACTIVATED, &info, &e), e);
    tok_session_give(s);
    ck_assert_int_eq(info_of(tok, &audit).state, TOK_KEY_DEACTIVATED);
    s = take(tok);
    ck_assert_int_eq(tok_audit_sign(s, digest, signature, &e), ERR_STATE);
    tok_session_give(s);
    ck_assert_ok(tok_key_destroy(tok, &audit, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e); /* the working copy goes too */
    s = take(tok);
    ck_assert_uint_eq(count_objects(s), 0);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(steps_that_there_are_not_are_refused)
{
    static const struct {
        enum tok_key_state from, to;
        bool allowed;
    } rows[] = {{TOK_KEY_PRE_ACTIVE, TOK_KEY_PRE_ACTIVE, false},  {TOK_KEY_PRE_ACTIVE, TOK_KEY_ACTIVE, true},
                {TOK_KEY_PRE_ACTIVE, TOK_KEY_DEACTIVATED, true},  {TOK_KEY_ACTIVE, TOK_KEY_PRE_ACTIVE, false},
                {TOK_KEY_ACTIVE, TOK_KEY_ACTIVE, false},          {TOK_KEY_ACTIVE, TOK_KEY_DEACTIVATED, true},
                {TOK_KEY_DEACTIVATED, TOK_KEY_PRE_ACTIVE, false}, {TOK_KEY_DEACTIVATED, TOK_KEY_ACTIVE, true},
                {TOK_KEY_DEACTIVATED, TOK_KEY_DEACTIVATED, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct tok_stamp from = {.state = rows[i].from, .generation = 7};
        struct tok_stamp next;
        ck_assert_int_eq(tok_stamp_next(&from, rows[i].to, "posward/x", &next, &e),
                         rows[i].allowed ? ERR_OK : ERR_STATE);
        ck_assert(!rows[i].allowed || next.generation == 8);
    }
    const struct tok_stamp last = {.state = TOK_KEY_ACTIVE, .generation = TOK_GENERATIONS};
    struct tok_stamp next;
    ck_assert_int_eq(tok_stamp_next(&last, TOK_KEY_DEACTIVATED, "posward/x", &next, &e), ERR_LIMIT);
}
END_TEST

START_TEST(missing_keys_and_active_ones_are_not_destroyed)
{
    struct tok *tok = open_copy(_i);
    struct tok_key_info info;
    ck_assert_int_eq(tok_key_destroy(tok, &storage_1, &e), ERR_NOT_FOUND);
    ck_assert_int_eq(tok_key_set_state(tok, &storage_1, TOK_KEY_ACTIVE, &info, &e), ERR_NOT_FOUND);
    make(tok, storage_1, TOK_KEY_ACTIVE);
    ck_assert_int_eq(tok_key_destroy(tok, &storage_1, &e), ERR_STATE);
    ck_assert_ptr_nonnull(strstr(e.note, "deactivate"));
    struct tok_key_name name = storage_1;
    ck_assert_int_eq(tok_key_generate(tok, &name, TOK_KEY_DEACTIVATED, &info, &e), ERR_INPUT);
    close_copy(tok);
}
END_TEST

START_TEST(state_decides_what_a_key_may_do)
{
    static const struct {
        enum tok_key_state state;
        bool protects, opens;
    } rows[] = {
        {TOK_KEY_PRE_ACTIVE, false, false}, {TOK_KEY_ACTIVE, true, true}, {TOK_KEY_DEACTIVATED, false, true}};
    struct tok *tok = open_copy(_i);
    struct tok_key_info info;
    struct tok_found found;
    make(tok, storage_1, TOK_KEY_PRE_ACTIVE);
    for (size_t i = 0; i < 3; i++) {
        if (i > 0)
            ck_assert_ok(tok_key_set_state(tok, &storage_1, rows[i].state, &info, &e), e);
        ck_assert_ok(tok_keys_load(tok, &e), e);
        ck_assert_int_eq(tok_keys_find(tok, &storage_1, TOK_PROTECT, &found, &e),
                         rows[i].protects ? ERR_OK : ERR_STATE);
        ck_assert(rows[i].protects || strstr(e.note, "posward key activate") != NULL);
        ck_assert_int_eq(tok_keys_find(tok, &storage_1, TOK_OPEN, &found, &e),
                         rows[i].opens ? ERR_OK : ERR_STATE);
        ck_assert_uint_eq(tok_keys_newest(tok, TOK_STORAGE, TOK_AES_256, ""), 1);
        ck_assert_uint_eq(tok_keys_current(tok, TOK_STORAGE, TOK_AES_256, ""), rows[i].protects ? 1 : 0);
    }
    close_copy(tok);
}
END_TEST

/* ---- Rotation ---- */

static void probe(struct tok *tok)
{
    ck_assert_ok(tok_ways_probe(tok, TOK_EXPOSURE_ANY, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
}

static struct tok_working_key sign_in(struct tok *tok, unsigned master_version, enum err_code want)
{
    const struct tok_working_request request = {.psam_number = "62010000001234567890",
                                                .suite = TOK_TDES,
                                                .master_version = master_version,
                                                .usage = TOK_MAK,
                                                .key_bytes = 16};
    struct tok_working_key key = {0};
    struct tok_session *s = take(tok);
    const enum err_code code = tok_working_key(s, &request, &key, &e);
    ck_assert_msg(code == want, "version %u: %d, not %d: %s", master_version, (int)code, (int)want, e.note);
    tok_session_give(s);
    return key;
}

static void check_blob(struct tok *tok, const struct tok_working_key *key, unsigned storage,
                       enum err_code want)
{
    const struct tok_key_ref ref = {.blob = key->blob, .blob_len = key->blob_len};
    const struct tok_need need = {TOK_MAK, TOK_ZONE_MAC, TOK_PROTECT};
    AUTO(tok_opened) opened = {0};
    struct tok_blob_info info;
    struct tok_session *s = take(tok);
    ck_assert_ok(tok_blob_info(s, key->blob, key->blob_len, &info, &e), e);
    ck_assert_uint_eq(info.storage_version, storage);
    const enum err_code code = tok_open_ref(s, &ref, &need, &opened, &e);
    ck_assert_msg(code == want, "%d, not %d: %s", (int)code, (int)want, e.note);
    tok_opened_drop(&opened);
    opened = (struct tok_opened){0};
    tok_session_give(s);
}

START_TEST(versions_overlap_while_a_key_is_rotated)
{
    struct tok *tok = open_copy(_i);
    struct tok_key_info info;
    const struct tok_key_name master = {.role = TOK_PSAM_MASTER, .suite = TOK_TDES, .version = 1};
    struct tok_key_name next_master = master;
    next_master.version = 2;
    generate(tok, TOK_PSAM_MASTER, TOK_TDES, 1, "");
    generate(tok, TOK_BLOB_TAG, TOK_AES_256, 1, "");
    generate(tok, TOK_STORAGE, TOK_AES_256, 1, "");
    probe(tok);
    const struct tok_working_key old = sign_in(tok, 1, ERR_OK);
    sign_in(tok, 2, ERR_NOT_FOUND);

    make(tok, next_master, TOK_KEY_PRE_ACTIVE);
    make(tok, storage_2, TOK_KEY_ACTIVE);
    probe(tok);
    sign_in(tok, 2, ERR_STATE);
    ck_assert_uint_eq(tok_keys_current(tok, TOK_PSAM_MASTER, TOK_TDES, ""), 1);
    ck_assert_ok(tok_key_set_state(tok, &next_master, TOK_KEY_ACTIVE, &info, &e), e);
    probe(tok);
    ck_assert_uint_eq(tok_keys_current(tok, TOK_PSAM_MASTER, TOK_TDES, ""), 2);
    const struct tok_working_key newer = sign_in(tok, 2, ERR_OK), same = sign_in(tok, 1, ERR_OK);
    check_blob(tok, &old, 1, ERR_OK);
    check_blob(tok, &newer, 2, ERR_OK);
    check_blob(tok, &same, 2, ERR_OK);

    ck_assert_ok(tok_key_set_state(tok, &master, TOK_KEY_DEACTIVATED, &info, &e), e);
    ck_assert_ok(tok_key_set_state(tok, &storage_1, TOK_KEY_DEACTIVATED, &info, &e), e);
    probe(tok);
    sign_in(tok, 1, ERR_STATE);
    check_blob(tok, &old, 1, ERR_OK);
    ck_assert_ok(tok_key_destroy(tok, &storage_1, &e), e);
    probe(tok);
    check_blob(tok, &newer, 2, ERR_OK);
    check_blob(tok, &old, 1, ERR_CHECK);
    close_copy(tok);
}
END_TEST

/* ---- What a crash, an older posward or an enemy leaves ---- */

static void keep_stamp(struct tok *tok, const char *label, struct tok_stamp stamp)
{
    AUTO(tok_session) rw = {0};
    ck_assert_ok(tok_session_open_rw(tok, &rw, &e), e);
    ck_assert_ok(tok_stamp_keep(&rw, label, &stamp, &e), e);
}

static void destroy_labelled(struct tok *tok, const char *label)
{
    AUTO(tok_session) rw = {0};
    CK_OBJECT_HANDLE found[8];
    size_t count = 0;
    ck_assert_ok(tok_session_open_rw(tok, &rw, &e), e);
    ck_assert_ok(tok_objects_labelled(&rw, label, found, 8, &count, &e), e);
    ck_assert_uint_gt(count, 0);
    for (size_t i = 0; i < count; i++)
        ck_assert(rw.fn->C_DestroyObject(rw.handle, found[i]) == CKR_OK);
}

#define STORAGE_LABEL "posward/storage/aes-256/1"

START_TEST(change_that_was_cut_short_counts_once)
{
    struct tok *tok = open_copy(_i);
    struct tok_key_info info;
    make(tok, storage_1, TOK_KEY_ACTIVE); /* generation 1 */
    keep_stamp(tok, STORAGE_LABEL, (struct tok_stamp){.state = TOK_KEY_DEACTIVATED, .generation = 2});
    ck_assert_int_eq(info_of(tok, &storage_1).state,
                     TOK_KEY_DEACTIVATED); /* killed before the old one went */
    ck_assert_ok(tok_key_set_state(tok, &storage_1, TOK_KEY_ACTIVE, &info, &e), e);
    ck_assert_int_eq(info_of(tok, &storage_1).state, TOK_KEY_ACTIVE);
    struct tok_session *s = take(tok);
    CK_OBJECT_HANDLE found[8];
    size_t count = 0;
    ck_assert_ok(tok_objects_labelled(s, STORAGE_LABEL TOK_STATE_SUFFIX, found, 8, &count, &e), e);
    ck_assert_uint_eq(count, 1);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(making_and_destroying_that_were_cut_short_leave_no_key)
{
    struct tok *tok = open_copy(_i);
    keep_stamp(tok, STORAGE_LABEL, tok_stamp_first(TOK_KEY_PRE_ACTIVE)); /* killed before the key was made */
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_uint_eq(tok_keys_count(tok), 0);
    make(tok, storage_1, TOK_KEY_ACTIVE);
    ck_assert_int_eq(info_of(tok, &storage_1).state, TOK_KEY_ACTIVE);
    make(tok, zone_mac, TOK_KEY_PRE_ACTIVE);
    destroy_labelled(tok, "posward/zone-mac/bank-a/tdes/1"); /* killed after the first step */
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_uint_eq(tok_keys_count(tok), 1);
    ck_assert_int_eq(make(tok, zone_mac, TOK_KEY_ACTIVE).state, TOK_KEY_ACTIVE);
    ck_assert_int_eq(info_of(tok, &zone_mac).state, TOK_KEY_ACTIVE);
    close_copy(tok);
}
END_TEST

START_TEST(state_that_is_gone_or_changed_is_refused)
{
    struct tok *tok = open_copy(_i);
    make(tok, storage_1, TOK_KEY_PRE_ACTIVE);
    destroy_labelled(tok, STORAGE_LABEL TOK_STATE_SUFFIX);
    ck_assert_int_eq(tok_keys_load(tok, &e), ERR_CHECK);
    ck_assert_ptr_nonnull(strstr(e.note, STORAGE_LABEL));
    close_copy(tok);
}
END_TEST

/* A key from before there were stamps: no state beside it, and a record that does not ask for one. */
START_TEST(key_without_a_state_is_active_and_can_be_retired)
{
    static const char label[] = "posward/zone-data/bank-a/aes-128/1";
    static const struct tok_key_name name = {
        .role = TOK_ZONE_DATA, .suite = TOK_AES_128, .version = 1, .zone = "bank-a"};
    struct tok *tok = open_copy(_i);
    struct tok_key_info info;
    {
        AUTO(tok_session) rw = {0};
        struct tok_template t;
        CK_OBJECT_HANDLE handle;
        static const uint8_t value[16] = "not a secret ..";
        struct tok_key_record record = {0};
        AUTO(tok_object) twin = {0};
        char id[TOK_RECORD_BYTES];
        ck_assert_ok(tok_session_open_rw(tok, &rw, &e), e);
        ck_assert_ok(tok_object_import(&rw, CKK_AES, value, 16, TOK_USES(CKA_SIGN), &twin, &e), e);
        ck_assert_ok(tok_object_kcv(&rw, twin.handle, TOK_AES_128, record.kcv, 3, &e), e);
        tok_template_secret(&t, CKK_AES, TOK_USES(CKA_ENCRYPT, CKA_DECRYPT));
        tok_template_bool(&t, CKA_TOKEN, true);
        tok_template_bool(&t, CKA_PRIVATE, true);
        tok_template_bytes(&t, CKA_VALUE, value, sizeof value);
        tok_template_bytes(&t, CKA_LABEL, label, strlen(label));
        tok_object_drop(&twin);
        twin = (struct tok_object){0};
        ck_assert(rw.fn->C_CreateObject(rw.handle, t.rows, t.count, &handle) == CKR_OK);
        ck_assert_ok(tok_role_check(&rw, handle, name.role, name.suite, record.check, &e), e);
        tok_record_text(&record, label, id);
        ck_assert_ptr_null(strstr(id, "STATE"));
        struct tok_template u = {0};
        tok_template_bytes(&u, CKA_ID, id, strlen(id));
        ck_assert(rw.fn->C_SetAttributeValue(rw.handle, handle, u.rows, u.count) == CKR_OK);
    }
    info = info_of(tok, &name);
    ck_assert_int_eq(info.state, TOK_KEY_ACTIVE);
    ck_assert_int_eq(info.created_s, 0);
    ck_assert_ok(tok_key_set_state(tok, &name, TOK_KEY_DEACTIVATED, &info, &e), e);
    ck_assert_int_eq(info_of(tok, &name).state, TOK_KEY_DEACTIVATED);
    ck_assert_ok(tok_key_destroy(tok, &name, &e), e);
    close_copy(tok);
}
END_TEST

START_TEST(texts_read_back_in_one_spelling_only)
{
    static const char label[] = "posward/storage/aes-256/1/state";
    const struct tok_stamp stamp = {
        .state = TOK_KEY_ACTIVE, .generation = 0xA1, .created_s = 0x69267A00, .activated_s = 0x69267A01};
    char text[TOK_STAMP_BYTES];
    struct tok_stamp back;
    tok_stamp_text(&stamp, label, text);
    ck_assert_str_eq(text, "a00A1.69267A00.69267A01.00000000/posward/storage/aes-256/1/state");
    ck_assert_ok(tok_stamp_parse((const uint8_t *)text, strlen(text), label, &back, &e), e);
    ck_assert_int_eq(back.created_s, stamp.created_s);
    ck_assert_uint_eq(back.generation, stamp.generation);
    char padded[TOK_STAMP_BYTES] = {0};
    memcpy(padded, text, strlen(text));
    ck_assert_int_eq(tok_stamp_parse((const uint8_t *)padded, strlen(text) + 1, label, &back, &e), ERR_CHECK);
    for (size_t cut = 0; cut < strlen(text); cut++)
        ck_assert_int_eq(tok_stamp_parse((const uint8_t *)text, cut, label, &back, &e), ERR_CHECK);
    for (size_t i = 0; i < strlen(text); i++) {
        char bad[TOK_STAMP_BYTES];
        memcpy(bad, text, sizeof bad);
        bad[i] = bad[i] == 'x' ? 'y' : 'x';
        ck_assert_int_eq(tok_stamp_parse((const uint8_t *)bad, strlen(bad), label, &back, &e), ERR_CHECK);
    }

    static const char key[] = "posward/storage/aes-256/1";
    for (unsigned form = 0; form < 4; form++) {
        const struct tok_key_record record = {.kcv = {1, 2, 3},
                                              .check = {4, 5, 6},
                                              .left = {7, 8, 9},
                                              .has_left = form & 1,
                                              .has_state = form & 2};
        char id[TOK_RECORD_BYTES];
        struct tok_key_record again;
        tok_record_text(&record, key, id);
        ck_assert_ok(tok_record_parse((const uint8_t *)id, strlen(id), key, &again, &e), e);
        ck_assert_int_eq(again.has_left, record.has_left);
        ck_assert_int_eq(again.has_state, record.has_state);
        for (size_t cut = 0; cut < strlen(id); cut++)
            ck_assert_int_eq(tok_record_parse((const uint8_t *)id, cut, key, &again, &e), ERR_CHECK);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("p11/key states");
    TCase *tc = tcase_create("key states");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    tcase_add_loop_test(tc, key_goes_through_its_life, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, pair_goes_through_its_life_too, 0, TOKEN_KIND_COUNT);
    tcase_add_test(tc, steps_that_there_are_not_are_refused);
    tcase_add_loop_test(tc, missing_keys_and_active_ones_are_not_destroyed, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, state_decides_what_a_key_may_do, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, versions_overlap_while_a_key_is_rotated, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, change_that_was_cut_short_counts_once, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, making_and_destroying_that_were_cut_short_leave_no_key, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, state_that_is_gone_or_changed_is_refused, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, key_without_a_state_is_active_and_can_be_retired, 0, TOKEN_KIND_COUNT);
    tcase_add_test(tc, texts_read_back_in_one_spelling_only);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

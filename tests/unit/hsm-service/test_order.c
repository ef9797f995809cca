/* Orders of key management, through a keeper's methods, on real tokens. */
#include "hsm-service/ipc.h"
#include "hsm-service/keeper/methods.h"
#include "hsm-service/keeper/order.h"
#include "tests/support/suite.h"
#include "tests/support/token.h"

#include <string.h>

static struct token_fixture masters[TOKEN_KIND_COUNT], fixture;
static struct tok *tok;
static struct arena arena;
static struct err e;

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
    token_copy(&fixture, &masters[kind]);
    ck_assert_ok(tok_open(token_options(&fixture), &tok, &e), e);
    ck_assert_ok(tok_keys_load(tok, &e), e);
    ck_assert_ok(arena_init(&arena, &e), e);
}

static void close_token(void)
{
    arena_drop(&arena);
    tok_close(tok);
    token_remove(&fixture);
}

/* An order about one key; the outcome lives until the next order. */
struct order {
    HsmKeyOrder message;
    Posward__Hsm__V1__KeyName key;
    Posward__Hsm__V1__CreateKey create;
    Posward__Hsm__V1__ActivateKey activate;
    Posward__Hsm__V1__DeactivateKey deactivate;
    Posward__Hsm__V1__DestroyKey destroy;
};

static struct order *order_of(Posward__Hsm__V1__KeyOrder__ActionCase action, const char *role,
                              const char *suite, const char *zone, unsigned version)
{
    static struct order o;
    posward__hsm__v1__key_order__init(&o.message);
    posward__hsm__v1__key_name__init(&o.key);
    posward__hsm__v1__create_key__init(&o.create);
    posward__hsm__v1__activate_key__init(&o.activate);
    posward__hsm__v1__deactivate_key__init(&o.deactivate);
    posward__hsm__v1__destroy_key__init(&o.destroy);
    o.key.role = (char *)(uintptr_t)role;
    o.key.suite = (char *)(uintptr_t)suite;
    o.key.zone = (char *)(uintptr_t)zone;
    o.key.version = version;
    o.create.key = o.activate.key = o.deactivate.key = o.destroy.key = &o.key;
    o.message.action_case = action;
    if (action == POSWARD__HSM__V1__KEY_ORDER__ACTION_CREATE)
        o.message.create = &o.create;
    else if (action == POSWARD__HSM__V1__KEY_ORDER__ACTION_ACTIVATE)
        o.message.activate = &o.activate;
    else if (action == POSWARD__HSM__V1__KEY_ORDER__ACTION_DEACTIVATE)
        o.message.deactivate = &o.deactivate;
    else
        o.message.destroy = &o.destroy;
    return &o;
}

static enum err_code give_bytes(const uint8_t *body, size_t len, HsmKeyOutcome **out_outcome)
{
    static const struct keeper_policy policy = {.tdes_mak_bytes_min = 8};
    struct keeper_call call = {.tok = tok, .arena = &arena, .policy = &policy, .deadline_ms = INT64_MAX};
    ProtobufCBinaryData answer;
    arena_reset(&arena);
    TRY(methods_serve(&call, IPC_METHOD(IPC_INTERNAL, IPC_KEY_ORDER), body, len, &answer, &e));
    *out_outcome = posward__hsm__v1__key_outcome__unpack(&arena.allocator, answer.len, answer.data);
    ck_assert_ptr_nonnull(*out_outcome);
    return ERR_OK;
}

static enum err_code give(struct order *o, HsmKeyOutcome **out_outcome)
{
    uint8_t body[512];
    ck_assert_uint_le(posward__hsm__v1__key_order__get_packed_size(&o->message), sizeof body);
    return give_bytes(body, posward__hsm__v1__key_order__pack(&o->message, body), out_outcome);
}

/* As the front does it after each order: a keeper with the keys as they are now. */
static void renew(void)
{
    ck_assert_ok(tok_keys_load(tok, &e), e);
}

#define CREATE     POSWARD__HSM__V1__KEY_ORDER__ACTION_CREATE
#define ACTIVATE   POSWARD__HSM__V1__KEY_ORDER__ACTION_ACTIVATE
#define DEACTIVATE POSWARD__HSM__V1__KEY_ORDER__ACTION_DEACTIVATE
#define DESTROY    POSWARD__HSM__V1__KEY_ORDER__ACTION_DESTROY

START_TEST(orders_lead_a_key_through_its_life)
{
    static const struct {
        const char *role, *suite, *zone;
        bool has_kcv;
    } kinds[] = {{"psam-master", "tdes", "", true},
                 {"storage", "aes-256", "", true},
                 {"zone-mac", "tdes", "bank", true},
                 {"audit", "ec-p256", "", false}};
    open_token(_i);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        HsmKeyOutcome *outcome;
        struct order *o = order_of(CREATE, kinds[k].role, kinds[k].suite, kinds[k].zone, 0);
        o->create.pre_active = true;
        ck_assert_ok(give(o, &outcome), e);
        ck_assert_uint_eq(outcome->n_keys, 1);
        ck_assert_uint_eq(outcome->keys[0]->version, 1);
        ck_assert_int_eq(outcome->keys[0]->state, POSWARD__HSM__V1__KEY_STATE__KEY_STATE_PRE_ACTIVE);
        ck_assert_uint_eq(outcome->kcv.len, kinds[k].has_kcv ? 3 : 0);
        ck_assert_int_gt(outcome->keys[0]->created_ms, 0);
        ck_assert_str_ne(outcome->keys[0]->usage, "");
        static const struct {
            Posward__Hsm__V1__KeyOrder__ActionCase action;
            Posward__Hsm__V1__KeyState state;
        } steps[] = {{ACTIVATE, POSWARD__HSM__V1__KEY_STATE__KEY_STATE_ACTIVE},
                     {DEACTIVATE, POSWARD__HSM__V1__KEY_STATE__KEY_STATE_DEACTIVATED},
                     {DESTROY, POSWARD__HSM__V1__KEY_STATE__KEY_STATE_DESTROYED}};
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            renew();
            ck_assert_ok(
                give(order_of(steps[i].action, kinds[k].role, kinds[k].suite, kinds[k].zone, 1), &outcome),
                e);
            ck_assert_int_eq(outcome->keys[0]->state, steps[i].state);
        }
        renew();
        ck_assert_uint_eq(tok_keys_count(tok), 0);
    }
    close_token();
}
END_TEST

START_TEST(check_only_changes_nothing)
{
    HsmKeyOutcome *outcome;
    open_token(_i);
    struct order *o = order_of(CREATE, "storage", "aes-256", "", 0);
    o->message.check_only = true;
    ck_assert_ok(give(o, &outcome), e);
    renew();
    ck_assert_uint_eq(tok_keys_count(tok), 0);
    ck_assert_ok(give(order_of(CREATE, "storage", "aes-256", "", 0), &outcome), e);
    renew();
    for (int action = ACTIVATE; action <= DESTROY; action++) {
        o = order_of((Posward__Hsm__V1__KeyOrder__ActionCase)action, "storage", "aes-256", "", 1);
        o->message.check_only = true;
        const enum err_code want = action == DEACTIVATE ? ERR_OK : ERR_STATE; /* it is active */
        ck_assert_int_eq(give(o, &outcome), want);
    }
    renew();
    struct tok_key_info info;
    tok_keys_info(tok, 0, &info);
    ck_assert_int_eq(info.state, TOK_KEY_ACTIVE);
    close_token();
}
END_TEST

START_TEST(orders_that_do_not_fit_are_refused)
{
    static const struct {
        const char *role, *suite, *zone;
        unsigned version;
        const char *note;
    } rows[] = {{"psam-mister", "tdes", "", 1, "psam-mister"},
                {"psam-master", "des", "", 1, "suite"},
                {"psam-master", "aes-128", "", 1, "suite"},
                {"psam-master", "tdes", "bank", 1, "zone"},
                {"zone-pin", "tdes", "", 1, "zone"},
                {"zone-pin", "tdes", "Bank!", 1, "zone"},
                {"psam-master", "tdes", "", 256, "version"},
                {"", "", "", 1, "role"},
                {"zone-pin", "tdes", "a-zone-with-a-name-that-is-far-too-long-to-be-one", 1, "zone"}};
    HsmKeyOutcome *outcome = NULL;
    open_token(TOKEN_SOFTHSM);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct order *o = order_of(CREATE, rows[i].role, rows[i].suite, rows[i].zone, rows[i].version);
        ck_assert_int_eq(give(o, &outcome), ERR_INPUT);
        ck_assert_msg(strstr(e.note, rows[i].note) != NULL, "row %zu: %s", i, e.note);
    }
    struct order *o = order_of(CREATE, "storage", "aes-256", "", 1);
    o->create.key = NULL;
    ck_assert_int_eq(give(o, &outcome), ERR_INPUT);
    ck_assert_int_eq(give(order_of(ACTIVATE, "storage", "aes-256", "", 0), &outcome), ERR_INPUT);
    ck_assert_int_eq(give(order_of(ACTIVATE, "storage", "aes-256", "", 3), &outcome), ERR_NOT_FOUND);
    ck_assert_int_eq(give(order_of(DESTROY, "zone-pin", "tdes", "bank", 3), &outcome), ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(e.note, "zone bank"));
    o = order_of(CREATE, "storage", "aes-256", "", 0);
    o->message.action_case = POSWARD__HSM__V1__KEY_ORDER__ACTION__NOT_SET;
    ck_assert_int_eq(give(o, &outcome), ERR_INPUT);
    ck_assert_int_eq(give_bytes((const uint8_t *)"\xff\xff\xff", 3, &outcome), ERR_INPUT);
    close_token();
}
END_TEST

START_TEST(new_versions_follow_the_newest_up_to_the_last)
{
    HsmKeyOutcome *outcome;
    open_token(_i);
    ck_assert_ok(give(order_of(CREATE, "storage", "aes-256", "", 254), &outcome), e);
    ck_assert_int_eq(give(order_of(CREATE, "storage", "aes-256", "", 254), &outcome), ERR_EXISTS);
    renew();
    ck_assert_ok(give(order_of(CREATE, "storage", "aes-256", "", 0), &outcome), e);
    ck_assert_uint_eq(outcome->keys[0]->version, 255);
    renew();
    ck_assert_int_eq(give(order_of(CREATE, "storage", "aes-256", "", 0), &outcome), ERR_LIMIT);
    ck_assert_int_eq(give(order_of(CREATE, "storage", "aes-256", "", 255), &outcome), ERR_EXISTS);
    close_token();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm-service/order");
    TCase *tc = tcase_create("orders");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    tcase_add_loop_test(tc, orders_lead_a_key_through_its_life, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, check_only_changes_nothing, 0, TOKEN_KIND_COUNT);
    tcase_add_test(tc, orders_that_do_not_fit_are_refused);
    tcase_add_loop_test(tc, new_versions_follow_the_newest_up_to_the_last, 0, TOKEN_KIND_COUNT);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

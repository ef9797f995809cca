#include "p11/probe/rows.h"
#include "tests/unit/p11/pay_fixture.h"

/* Which ways each token has; measured facts that the probe must find again. */
struct fact {
    enum tok_flow flow;
    const char *way;
    bool works[TOKEN_KIND_COUNT];
};
static const struct fact facts[] = {
    {TOK_FLOW_KCV, "zeros", {true, true}},          {TOK_FLOW_MAC_UNIONPAY, "cbc", {true, true}},
    {TOK_FLOW_MAC_X9_9, "cbc", {true, true}},       {TOK_FLOW_MAC_X9_19, "pair", {true, true}},
    {TOK_FLOW_MAC_X9_19, "extract", {false, true}}, {TOK_FLOW_MAC_X9_19, "append", {true, true}},
    {TOK_FLOW_MAC_CMAC, "sign", {true, true}},      {TOK_FLOW_PIN_TDES, "object", {false, true}},
    {TOK_FLOW_PIN_TDES, "block", {true, true}},     {TOK_FLOW_PIN_AES, "object", {false, true}},
    {TOK_FLOW_PIN_AES, "block", {true, true}},      {TOK_FLOW_PIN_FORMAT, "block", {true, true}},
    {TOK_FLOW_DATA, "cipher", {true, true}},        {TOK_FLOW_CARD_PBOC, "concat", {false, true}},
    {TOK_FLOW_CARD_PBOC, "clear", {true, true}},    {TOK_FLOW_CARD_AES, "transport", {true, true}},
};
#define FACTS (int)(sizeof facts / sizeof *facts)

START_TEST(way_works_where_measured_and_leaves_nothing)
{
    const struct tok_way_row *row = &tok_ways_pay[_i];
    ck_assert_int_eq(row->flow, facts[_i].flow);
    ck_assert_str_eq(row->way_name, facts[_i].way);
    const size_t before = pay_object_count();
    const enum err_code code = row->try_it(pay_session, &pay_err);
    ck_assert_msg((code == ERR_OK) == facts[_i].works[pay_kind], "%s: %s", row->way_name,
                  code == ERR_OK ? "works" : pay_err.note);
    ck_assert_uint_eq(pay_object_count(), before);
}
END_TEST

START_TEST(ways_table_ends_where_the_facts_do)
{
    ck_assert_ptr_null(tok_ways_pay[FACTS].way_name);
}
END_TEST

/* A way that shows a clear value to this process says so, and no other does. */
START_TEST(ways_of_clear_values_are_graded)
{
    for (int i = 0; i < FACTS; i++) {
        const bool clear = strcmp(facts[i].way, "block") == 0 || strcmp(facts[i].way, "clear") == 0;
        ck_assert_int_eq(tok_ways_pay[i].grade, clear ? TOK_PROCESS_MEMORY : TOK_IN_TOKEN);
    }
}
END_TEST

/* The left half by both ways, the algebra of left.c on other keys than the probe's: E_K1K1 says what is
 * right. */
START_TEST(left_append_enciphers_under_the_left_half)
{
    uint8_t value[16], twice[16], data[24], right[24], state[8];
    for (int round = 0; round < 8; round++) {
        AUTO(tok_object) key = {0};
        AUTO(tok_object) pair = {0};
        AUTO(tok_left) left = {0};
        random_bytes(value, sizeof value);
        random_bytes(data, sizeof data);
        random_bytes(state, sizeof state);
        memcpy(twice, value, 8);
        memcpy(twice + 8, value, 8);
        pay_des_key(value, 16, &key);
        pay_des_key(twice, 16, &pair);
        CK_MECHANISM cbc = {CKM_DES3_CBC, state, sizeof state};
        ck_assert_ok(tok_encrypt(pay_session, &cbc, pair.handle, data, sizeof data, right, &pay_err),
                     pay_err);
        ck_assert_ok(tok_left_append(pay_session, key.handle, &left, &pay_err), pay_err);
        ck_assert_ok(tok_left_cbc(pay_session, &left, data, sizeof data, state, &pay_err), pay_err);
        ck_assert(secret_equal(state, right + 16, 8));
    }
}
END_TEST

START_TEST(left_append_refuses_a_key_that_may_not_leave)
{
    static const uint8_t value[16] = "0123456789abcde";
    AUTO(tok_object) key = {0};
    AUTO(tok_left) left = {0};
    const size_t before = pay_object_count();
    ck_assert_ok(tok_object_import(pay_session, CKK_DES2, value, 16, TOK_USES(CKA_ENCRYPT), &key, &pay_err),
                 pay_err);
    /* NSS wraps what is not extractable: a hole of the token, facts/pkcs11.md */
    if (pay_kind == TOKEN_SOFTHSM)
        ck_assert_int_ne(tok_left_append(pay_session, key.handle, &left, &pay_err), ERR_OK);
    else
        ck_assert_int_ne(tok_left_extract(pay_session, key.handle, &left, &pay_err), ERR_OK);
    ck_assert_uint_eq(pay_object_count(), before + 1);
}
END_TEST

static void add_all(TCase *tcase)
{
    tcase_add_loop_test(tcase, way_works_where_measured_and_leaves_nothing, 0, FACTS);
    tcase_add_test(tcase, ways_table_ends_where_the_facts_do);
    tcase_add_test(tcase, ways_of_clear_values_are_graded);
    tcase_add_test(tcase, left_append_enciphers_under_the_left_half);
    tcase_add_test(tcase, left_append_refuses_a_key_that_may_not_leave);
}

int main(void)
{
    return pay_main("p11 payment ways", add_all);
}

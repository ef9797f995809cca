#include "p11/flow/way.h"

#include "p11/probe/probe.h"
#include "tests/unit/p11/harness.h"

#include <stdio.h>

static void print_report(const struct tok *tok)
{
    for (size_t i = 0; i < tok_ways_count(tok); i++) {
        const struct tok_way *way = tok_ways_get(tok, i);
        printf("  %-17s %-13s %-15s %s %6lld us %s\n", way->flow_name, way->way_name,
               tok_grade_name(way->grade),
               way->chosen  ? "chosen"
               : way->works ? "works "
                            : "no    ",
               (long long)way->took_us, way->why);
    }
}

static bool works(const struct tok *tok, enum tok_flow flow, const char *name)
{
    for (size_t i = 0; i < tok_ways_count(tok); i++) {
        const struct tok_way *way = tok_ways_get(tok, i);
        if (way->flow == flow && strcmp(way->way_name, name) == 0)
            return way->works;
    }
    ck_abort_msg("no way %s of flow %d", name, (int)flow);
    return false;
}

START_TEST(probe_finds_what_each_token_can_do)
{
    struct tok *tok = open_copy(_i);
    const bool nss = _i == TOKEN_NSS;
    ck_assert_ok(tok_ways_probe(tok, TOK_EXPOSURE_ANY, &e), e);
    print_report(tok);
    ck_assert(works(tok, TOK_FLOW_DIVERSIFY_TDES, "derive"));
    ck_assert(works(tok, TOK_FLOW_DIVERSIFY_AES, "derive"));
    ck_assert_int_eq(works(tok, TOK_FLOW_WORKING_KEY_TDES, "wrap"), nss);
    ck_assert_int_eq(works(tok, TOK_FLOW_WORKING_KEY_TDES, "chain"), !nss);
    ck_assert(works(tok, TOK_FLOW_WORKING_KEY_AES, "wrap"));
    ck_assert(works(tok, TOK_FLOW_WORKING_KEY_USAGE, "derive"));
    ck_assert(works(tok, TOK_FLOW_BLOB, "aes-key-wrap"));
    ck_assert_int_eq(works(tok, TOK_FLOW_RESEAL, "unwrap"), nss); /* SoftHSM enforces CKA_UNWRAP_TEMPLATE */
    ck_assert(works(tok, TOK_FLOW_RESEAL, "derive"));
    ck_assert(works(tok, TOK_FLOW_AUDIT, "ecdsa"));
    ck_assert(works(tok, TOK_FLOW_EXPORT_TDES, "encrypt"));
    ck_assert_int_eq(works(tok, TOK_FLOW_EXPORT_TDES, "wrap"), nss);
    const struct tok_way *missing[TOK_FLOW_COUNT];
    ck_assert_uint_eq(tok_ways_missing(tok, missing, TOK_FLOW_COUNT), 0);
    ck_assert_ptr_null(tok_ways_get(tok, tok_ways_count(tok)));
    close_copy(tok);
}
END_TEST

START_TEST(probe_says_the_call_and_the_ckr)
{
    struct tok *tok = open_copy(TOKEN_SOFTHSM);
    ck_assert_ok(tok_ways_probe(tok, TOK_EXPOSURE_ANY, &e), e);
    for (size_t i = 0; i < tok_ways_count(tok); i++) {
        const struct tok_way *way = tok_ways_get(tok, i);
        if (way->flow == TOK_FLOW_WORKING_KEY_TDES && strcmp(way->way_name, "wrap") == 0)
            ck_assert_ptr_nonnull(strstr(way->why, "CKR_MECHANISM_INVALID"));
    }
    close_copy(tok);
}
END_TEST

START_TEST(one_way_a_flow_is_chosen_and_policy_can_forbid_it)
{
    struct tok *tok = open_copy(_i);
    struct tok_session *s = take(tok);
    const char *name = NULL;
    enum tok_grade grade;
    ck_assert_int_eq(tok_way_chosen(s->tok, TOK_FLOW_BLOB, &name, &grade, &e),
                     ERR_STATE); /* not probed yet */
    for (int policy = TOK_EXPOSURE_ANY; policy <= TOK_EXPOSURE_IN_TOKEN; policy++) {
        unsigned chosen[TOK_FLOW_COUNT] = {0}, working[TOK_FLOW_COUNT] = {0};
        ck_assert_ok(tok_ways_probe(tok, (enum tok_exposure)policy, &e), e);
        for (size_t i = 0; i < tok_ways_count(tok); i++) {
            const struct tok_way *way = tok_ways_get(tok, i);
            chosen[way->flow] += way->chosen;
            working[way->flow] += way->works;
            if (way->chosen && policy == TOK_EXPOSURE_IN_TOKEN)
                ck_assert_int_eq(way->grade, TOK_IN_TOKEN);
        }
        for (int flow = 0; flow < TOK_FLOW_COUNT; flow++) {
            const enum err_code code = tok_way_chosen(s->tok, (enum tok_flow)flow, &name, &grade, &e);
            ck_assert_uint_eq(chosen[flow], code == ERR_OK);
            if (code != ERR_OK)
                ck_assert_int_eq(code, working[flow] > 0 ? ERR_DENIED : ERR_UNSUPPORTED);
        }
    }
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

START_TEST(probe_leaves_no_objects)
{
    struct tok *tok = open_copy(_i);
    struct tok_session *s = take(tok);
    const size_t before = count_objects(s);
    ck_assert_ok(tok_ways_probe(tok, TOK_EXPOSURE_ANY, &e), e);
    ck_assert_uint_eq(count_objects(s), before);
    tok_session_give(s);
    close_copy(tok);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("p11/ways");
    TCase *tc = tcase_create("ways");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_masters, remove_masters);
    tcase_add_loop_test(tc, probe_finds_what_each_token_can_do, 0, TOKEN_KIND_COUNT);
    tcase_add_test(tc, probe_says_the_call_and_the_ckr);
    tcase_add_loop_test(tc, one_way_a_flow_is_chosen_and_policy_can_forbid_it, 0, TOKEN_KIND_COUNT);
    tcase_add_loop_test(tc, probe_leaves_no_objects, 0, TOKEN_KIND_COUNT);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

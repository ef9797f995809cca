/* The tokens of a pool, by themselves: whose keys count, and which of them serve. */
#include "hsm-service/front/pool.h"
#include "tests/support/suite.h"

#include <string.h>

#define A     "blob-tag/aes-256/1 a 111111\nstorage/aes-256/1 a 222222\nzone-pin/bank/tdes/1 a 333333\n"
#define NEWER A "zone-pin/shop/tdes/1 a 444444\n"
#define LATE  20000 /* ms after which nobody waits for its turn */

static struct front_pool *pool_of(size_t count)
{
    static struct front_pool pool;
    front_pool_drop(&pool);
    memset(&pool, 0, sizeof pool);
    pool.count = count;
    return &pool;
}

static bool admits(struct front_pool *p, size_t index, const char *keys)
{
    char difference[POOL_DIFFERENCE_BYTES];
    const bool in = front_pool_admits(p, index, keys, difference);
    p->tokens[index].ready += in;
    return in;
}

static const struct {
    const char *keys, *reference, *says;
} differences[] = {
    {"a/1 a 111111\n", "a/1 a 111112\n", "key a/1 has check value 111111, in the tokens that serve 111112"},
    {"a/1 a 111111\n", "a/1 d 111111\n", "key a/1 is active, in the tokens that serve deactivated"},
    {"a/1 p 111111\n", "a/1 a 111111\n", "key a/1 is pre-active, in the tokens that serve active"},
    {"a/1 a 111111\n", "a/1 a 111111\nb/1 a 222222\n",
     "key b/1 is missing, the tokens that serve have it (222222)"},
    {"b/1 a 222222\n", "a/1 a 111111\nb/1 a 222222\n",
     "key a/1 is missing, the tokens that serve have it (111111)"},
    {"a/1 a 111111\nb/1 a 222222\n", "b/1 a 222222\n", "key a/1 (111111) is not in the tokens that serve"},
    {"a/1 a 111111\nb/1 a 222222\n", "a/1 a 111111\n", "key b/1 (222222) is not in the tokens that serve"},
    {"a/1 a 111111\na/10 a 1\n", "a/1 a 111111\na/2 a 1\n", "key a/10 (1) is not in the tokens that serve"},
    {"a/1 a -\n", "a/1 a 0123456789ABCDEF\n",
     "key a/1 has check value -, in the tokens that serve 0123456789ABCDEF"},
    {"", "a/1 a 111111\n", "key a/1 is missing"},
    {"a/1 a 111111\n", "", "key a/1 (111111) is not in the tokens that serve"},
    /* What a keeper that was taken over may send */
    {"a/1", "a/1 a 111111\n", "key a/1 has check value -"},
    {"a/1 ", "a/1 a 1", "key a/1 has check value -"},
    {"\n\n\n", "a/1 a 1", "key a/1 is missing"},
    {" ", "a/1 a 1", "is not in the tokens that serve"},
};

START_TEST(difference_is_named)
{
    char text[POOL_DIFFERENCE_BYTES];
    front_pool_difference(differences[_i].keys, differences[_i].reference, text);
    ck_assert_msg(strstr(text, differences[_i].says) != NULL, "'%s' is not '%s'", text, differences[_i].says);
}
END_TEST

START_TEST(long_names_fit_or_are_cut)
{
    char keys[4096], text[POOL_DIFFERENCE_BYTES];
    memset(keys, 'x', sizeof keys);
    keys[sizeof keys - 1] = '\0';
    front_pool_difference(keys, A, text);
    ck_assert_uint_lt(strlen(text), sizeof text);
    front_pool_difference("", keys, text);
    ck_assert_uint_lt(strlen(text), sizeof text);
}
END_TEST

START_TEST(one_token_is_never_compared)
{
    struct front_pool *const p = pool_of(1);
    ck_assert(admits(p, 0, A));
    ck_assert(admits(p, 0, NEWER));
    ck_assert(admits(p, 0, ""));
    struct err e = {0};
    ck_assert_int_eq(front_pool_may_change_keys(p, &e), ERR_OK);
}
END_TEST

START_TEST(first_one_gives_the_reference)
{
    struct front_pool *const p = pool_of(3);
    struct err e = {0};
    ck_assert(front_pool_may_start(p, 0, 0));
    ck_assert(!front_pool_may_start(p, 1, 0));
    ck_assert(admits(p, 0, A));
    ck_assert(front_pool_may_start(p, 1, 0) && front_pool_may_start(p, 2, 0));
    ck_assert(admits(p, 1, A));
    ck_assert(!admits(p, 2, NEWER));
    ck_assert_int_eq(front_pool_may_change_keys(p, &e), ERR_STATE);
}
END_TEST

START_TEST(turns_pass_on)
{
    struct front_pool *const p = pool_of(3);
    p->tokens[0].reported = true; /* could not start */
    ck_assert(front_pool_may_start(p, 1, 0));
    ck_assert(!front_pool_may_start(p, 2, 0));
    ck_assert(front_pool_may_start(p, 2, LATE)); /* the second one hangs */
}
END_TEST

START_TEST(who_was_lost_must_match)
{
    struct front_pool *const p = pool_of(2);
    ck_assert(admits(p, 0, A) && admits(p, 1, A));
    p->tokens[0].ready = p->tokens[1].ready = 0; /* both away */
    ck_assert(!admits(p, 0, NEWER));
    front_pool_reload(p, 0);
    ck_assert(!admits(p, 0, NEWER)); /* nor by a reload */
    ck_assert(!admits(p, 1, NEWER));
    ck_assert(admits(p, 1, A));
}
END_TEST

START_TEST(who_serves_alone_may_change)
{
    struct front_pool *const p = pool_of(2);
    ck_assert(admits(p, 0, A) && admits(p, 1, A));
    ck_assert(!admits(p, 0, NEWER)); /* the other one serves */
    p->tokens[1].ready = 0;
    ck_assert(admits(p, 0, NEWER));
    ck_assert(!admits(p, 1, A));
    ck_assert(admits(p, 1, NEWER));
}
END_TEST

START_TEST(reload_takes_new_keys_from_the_first_that_serves)
{
    struct front_pool *const p = pool_of(2);
    ck_assert(admits(p, 0, A) && admits(p, 1, A));
    front_pool_reload(p, 0);
    ck_assert(front_pool_is_reference(p, A) && !front_pool_is_reference(p, NEWER));
    ck_assert(!front_pool_may_start(p, 1, 0));
    ck_assert(admits(p, 0, NEWER));
    ck_assert(!admits(p, 0, A)); /* decided */
    ck_assert(!admits(p, 1, A));
    ck_assert(admits(p, 1, NEWER));
}
END_TEST

static const struct {
    struct front_token tokens[2];
    bool serves, takes, away, failed;
} states[] = {
    {{{.ready = 1}, {.ready = 1}}, true, true, false, false},
    {{{.breaker.state = BREAKER_OPEN, .start_failed = true}, {.ready = 1}}, true, true, false, false},
    {{{.ready = 1, .breaker.state = BREAKER_OPEN}, {.ready = 1, .breaker.state = BREAKER_OPEN}},
     false,
     false,
     true,
     false},
    {{{.kept_out = true}, {.ready = 0, .breaker.state = BREAKER_OPEN, .start_failed = true}},
     false,
     false,
     true,
     true},
    {{{.kept_out = true, .ever_ready = true}, {.ever_ready = true}}, false, true, false, false},
    {{{.halted = true, .start_failed = true, .ever_ready = true}, {.start_failed = true, .ever_ready = true}},
     false,
     false,
     false,
     true},
    {.serves = false}, /* at the start */
};

START_TEST(service_is_as_well_as_its_best_token)
{
    struct front_pool *const p = pool_of(2);
    struct err e = {0};
    memcpy(p->tokens, states[_i].tokens, sizeof states[_i].tokens);
    ck_assert_int_eq(front_pool_serves(p), states[_i].serves);
    ck_assert_int_eq(front_pool_takes(p), states[_i].takes);
    ck_assert_int_eq(front_pool_is_away(p), states[_i].away);
    ck_assert_int_eq(front_pool_failed(p), states[_i].failed);
    ck_assert_int_eq(front_pool_say_away(p, &e), ERR_UNAVAILABLE);
    ck_assert_uint_gt(strlen(e.note), 10);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm-service/pool");
    TCase *tc = tcase_create("pool");
    tcase_add_loop_test(tc, difference_is_named, 0, sizeof differences / sizeof differences[0]);
    tcase_add_test(tc, long_names_fit_or_are_cut);
    tcase_add_test(tc, one_token_is_never_compared);
    tcase_add_test(tc, first_one_gives_the_reference);
    tcase_add_test(tc, turns_pass_on);
    tcase_add_test(tc, who_was_lost_must_match);
    tcase_add_test(tc, who_serves_alone_may_change);
    tcase_add_test(tc, reload_takes_new_keys_from_the_first_that_serves);
    tcase_add_loop_test(tc, service_is_as_well_as_its_best_token, 0, sizeof states / sizeof states[0]);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

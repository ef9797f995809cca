/* Who may hold how many calls: the rule by itself, then on a server. */
#include "rpc/slots.h"

#include "base/clock.h"
#include "tests/support/echo_server.h"

#include <stdio.h>
#include <string.h>

#define SLOTS 64

static struct rpc_slots slots;

static void start(void)
{
    slots = (struct rpc_slots){0};
    rpc_slots_init(&slots);
    for (int i = 0; i < RPC_SLOT_KINDS; i++)
        slots.limit[i] = SLOTS;
}

static void stop(void)
{
    rpc_slots_drop(&slots);
}

/* Takes until it is refused, at most SLOTS times; returns how many it got. */
static size_t take_all(const char *identity, struct rpc_slot held[SLOTS], struct err *e)
{
    size_t got = 0;
    while (got < SLOTS && rpc_slots_take(&slots, &held[got], RPC_SLOT_UNARY, identity, e) == ERR_OK)
        got++;
    return got;
}

static void give_back_all(struct rpc_slot held[SLOTS])
{
    for (size_t i = 0; i < SLOTS; i++)
        rpc_slots_give_back(&slots, &held[i]);
}

START_TEST(one_identity_gets_three_quarters)
{
    struct rpc_slot held[SLOTS] = {0};
    struct err e = {0};
    ck_assert_uint_eq(take_all("a", held, &e), SLOTS * 3 / 4);
    ck_assert_str_eq(e.note,
                     "this identity holds 48 of 64 calls in flight (max_in_flight), which is its share of "
                     "them; try again later");
    give_back_all(held);
    ck_assert_uint_eq(rpc_slots_used(&slots, RPC_SLOT_UNARY), 0);
    ck_assert_uint_eq(take_all("a", held, &e), SLOTS * 3 / 4);
    give_back_all(held);
}
END_TEST

START_TEST(whoever_comes_next_gets_some)
{
    static const char *const names[] = {"a", "b", "c"};
    static const size_t shares[] = {48, 12, 3};
    struct rpc_slot held[3][SLOTS] = {0};
    struct err e = {0};
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(take_all(names[i], held[i], &e), shares[i]);
    /* The first one's calls end: the others are served before it. */
    for (int i = 0; i < 40; i++)
        rpc_slots_give_back(&slots, &held[0][i]);
    struct rpc_slot more[SLOTS] = {0};
    ck_assert_uint_gt(take_all("c", more, &e), 20);
    give_back_all(more);
    for (int i = 0; i < 3; i++)
        give_back_all(held[i]);
    ck_assert_uint_eq(rpc_slots_used(&slots, RPC_SLOT_UNARY), 0);
}
END_TEST

START_TEST(callers_without_an_identity_share_nothing)
{
    struct rpc_slot held[SLOTS] = {0}, one = {0};
    struct err e = {0};
    ck_assert_uint_eq(take_all(NULL, held, &e), SLOTS);
    ck_assert_int_eq(rpc_slots_take(&slots, &one, RPC_SLOT_UNARY, "a", &e), ERR_LIMIT);
    ck_assert_str_eq(e.note, "64 calls in flight (max_in_flight) are the limit; try again later");
    give_back_all(held);
}
END_TEST

START_TEST(a_refused_slot_keeps_what_it_held)
{
    struct rpc_slot held[SLOTS] = {0}, one = {0};
    struct err e = {0};
    ck_assert_ok(rpc_slots_take(&slots, &one, RPC_SLOT_WAITING, "a", &e), e);
    ck_assert_uint_eq(take_all(NULL, held, &e), SLOTS);
    ck_assert_int_eq(rpc_slots_take(&slots, &one, RPC_SLOT_UNARY, "a", &e), ERR_LIMIT);
    ck_assert_uint_eq(rpc_slots_used(&slots, RPC_SLOT_WAITING), 1);
    rpc_slots_give_back(&slots, &held[0]);
    ck_assert_ok(rpc_slots_take(&slots, &one, RPC_SLOT_UNARY, "a", &e), e);
    ck_assert_uint_eq(rpc_slots_used(&slots, RPC_SLOT_WAITING), 0);
    rpc_slots_give_back(&slots, &one);
    rpc_slots_give_back(&slots, &one);
    give_back_all(held);
    ck_assert_uint_eq(rpc_slots_used(&slots, RPC_SLOT_UNARY), 0);
}
END_TEST

START_TEST(identities_that_hold_nothing_are_forgotten)
{
    struct rpc_slot held[SLOTS] = {0};
    struct err e = {0};
    ck_assert_uint_eq(take_all(NULL, held, &e), SLOTS);
    for (int i = 0; i < 10000; i++) {
        struct rpc_slot one = {0};
        char name[16];
        snprintf(name, sizeof name, "id-%d", i);
        ck_assert_int_eq(rpc_slots_take(&slots, &one, i % 2 ? RPC_SLOT_UNARY : RPC_SLOT_STREAM, name, &e),
                         i % 2 ? ERR_LIMIT : ERR_OK);
        rpc_slots_give_back(&slots, &one);
    }
    ck_assert_uint_le(slots.holder_count, RPC_SLOTS_HOLDERS_KEPT + 1);
    give_back_all(held);
}
END_TEST

static struct rpc_stream *open_silent(const struct echo *echo, const char *method)
{
    struct rpc_stream *stream = NULL;
    struct err e = {0};
    ck_assert_ok(
        rpc_stream_open(echo->channel, &posward__test__v1__echo__descriptor, method, NULL, NULL, &stream, &e),
        e);
    return stream;
}

static void wait_waiting(const struct echo *echo, uint64_t count)
{
    for (int i = 0; i < 4000 && rpc_server_counts(echo->server).waiting != count; i++)
        clock_sleep_ms(5);
    ck_assert_uint_eq(rpc_server_counts(echo->server).waiting, count);
}

START_TEST(calls_that_send_nothing_hold_no_slot)
{
    static const char *const methods[] = {"Say", "Count", "Talk"};
    struct rpc_server_options options = echo_options();
    struct rpc_stream *silent[3];
    struct echo echo;
    struct err e = {0};
    options.max_in_flight = 1;
    options.max_streams = 1;
    options.max_waiting = 3;
    options.request_wait_ms = 600000;
    echo_start(&echo, &options);
    for (size_t i = 0; i < 3; i++)
        silent[i] = open_silent(&echo, methods[i]);
    wait_waiting(&echo, 3);
    ck_assert_uint_eq(rpc_server_counts(echo.server).in_flight, 0);

    /* These are bounded too, by themselves. */
    struct rpc_stream *const more = open_silent(&echo, "Say");
    ProtobufCMessage *message = NULL;
    ck_assert_int_eq(rpc_stream_next(more, 20000, &message, &e), ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(e.note, "max_waiting"));
    rpc_stream_free(more);

    rpc_stream_free(silent[2]);
    wait_waiting(&echo, 2);
    ck_assert_ok(echo_say(echo.channel, &ECHO_REQUEST("x"), NULL, NULL, &e), e);
    struct rpc_stream *const talking = open_silent(&echo, "Talk");
    ck_assert_ok(rpc_stream_send(talking, &ECHO_REQUEST("x").base, &e), e);
    ck_assert_ok(rpc_stream_next(talking, 20000, &message, &e), e);
    protobuf_c_message_free_unpacked(message, NULL);
    rpc_stream_free(talking);
    rpc_stream_free(silent[0]);
    rpc_stream_free(silent[1]);
    echo_stop(&echo);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("slots");
    TCase *rule = tcase_create("rule");
    tcase_add_checked_fixture(rule, start, stop);
    tcase_add_test(rule, one_identity_gets_three_quarters);
    tcase_add_test(rule, whoever_comes_next_gets_some);
    tcase_add_test(rule, callers_without_an_identity_share_nothing);
    tcase_add_test(rule, a_refused_slot_keeps_what_it_held);
    tcase_add_test(rule, identities_that_hold_nothing_are_forgotten);
    suite_add_tcase(s, rule);
    TCase *served = tcase_create("served");
    tcase_set_timeout(served, 60);
    tcase_add_test(served, calls_that_send_nothing_hold_no_slot);
    suite_add_tcase(s, served);
    return s;
}

SUITE_MAIN(suite())

#include "hsm-service/keeper/arena.h"

#include "posward/hsm/v1/hsm.pb-c.h"
#include "tests/support/suite.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

START_TEST(memory_is_zero_again_after_a_reset)
{
    AUTO(arena) a = {0};
    struct err e = {0};
    ck_assert_ok(arena_init(&a, &e), e);
    unsigned char *const first = arena_take(&a, 100);
    memset(first, 0x5A, 100);
    arena_reset(&a);
    unsigned char *const again = arena_take(&a, 100);
    ck_assert_ptr_eq(first, again);
    for (size_t i = 0; i < 100; i++)
        ck_assert_uint_eq(again[i], 0);
}
END_TEST

START_TEST(pieces_are_aligned_and_apart)
{
    AUTO(arena) a = {0};
    struct err e = {0};
    ck_assert_ok(arena_init(&a, &e), e);
    unsigned char *const one = arena_take(&a, 1), *const two = arena_take(&a, 17),
                         *const three = arena_take(&a, 0);
    ck_assert_uint_eq((uintptr_t)two % 16, 0);
    ck_assert_uint_ge((uintptr_t)two, (uintptr_t)one + 1);
    ck_assert_uint_ge((uintptr_t)three, (uintptr_t)two + 17);
}
END_TEST

START_TEST(the_end_is_an_end)
{
    AUTO(arena) a = {0};
    struct err e = {0};
    ck_assert_ok(arena_init(&a, &e), e);
    ck_assert_ptr_nonnull(arena_take(&a, ARENA_BYTES - 3));
    ck_assert_ptr_null(arena_take(&a, 4));
    ck_assert_ptr_null(arena_take(&a, SIZE_MAX));
    ck_assert(a.exhausted);
    ProtobufCBinaryData copy = {0};
    ck_assert_int_eq(arena_copy(&a, "abcd", 4, &copy, &e), ERR_LIMIT);
    arena_reset(&a);
    ck_assert(!a.exhausted);
    ck_assert_ok(arena_copy(&a, "abcd", 4, &copy, &e), e);
}
END_TEST

/* Two bytes an item: the message that unpacks to the most per byte. */
START_TEST(a_message_of_empty_items_stays_within_bounds)
{
    const size_t len = 128 * 1024;
    uint8_t *const bytes = malloc(len);
    AUTO(arena) a = {0};
    struct err e = {0};
    ck_assert_ptr_nonnull(bytes);
    ck_assert_ok(arena_init(&a, &e), e);
    for (size_t i = 0; i < len; i += 2)
        memcpy(bytes + i, "\x0A\x00", 2);
    const ProtobufCMessage *const message = protobuf_c_message_unpack(
        &posward__hsm__v1__process_batch_request__descriptor, &a.allocator, len, bytes);
    ck_assert(message != NULL || a.exhausted);
    ck_assert_uint_le(a.used, ARENA_BYTES);
    free(bytes);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("hsm arena");
    TCase *t = tcase_create("arena");
    tcase_add_test(t, memory_is_zero_again_after_a_reset);
    tcase_add_test(t, pieces_are_aligned_and_apart);
    tcase_add_test(t, the_end_is_an_end);
    tcase_add_test(t, a_message_of_empty_items_stays_within_bounds);
    suite_add_tcase(s, t);
    return s;
}

SUITE_MAIN(suite())

#include "rpc/wire.h"

#include "tests/support/suite.h"

#include <string.h>

#define BYTES(text) ((struct wire_bytes){(const uint8_t *)(text), sizeof(text) - 1})

static const struct {
    const char *bytes;
    size_t len;
    struct wire_field wanted;
    size_t value_len;
} good[] = {
    {"\x08\x00", 2, {.number = 1, .type = WIRE_VARINT}, 0},
    {"\x08\x96\x01", 3, {.number = 1, .type = WIRE_VARINT, .value = 150}, 0},
    {"\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01",
     11,
     {.number = 1, .type = WIRE_VARINT, .value = UINT64_MAX},
     0},
    {"\x11\1\2\3\4\5\6\7\x08", 9, {.number = 2, .type = WIRE_64}, 8},
    {"\x1A\x00", 2, {.number = 3, .type = WIRE_BYTES}, 0},
    {"\x1A\x03\x61\x62\x63", 5, {.number = 3, .type = WIRE_BYTES}, 3},
    {"\x25\1\2\3\4", 5, {.number = 4, .type = WIRE_32}, 4},
    {"\xF8\xFF\xFF\xFF\x0F\x01", 6, {.number = WIRE_NUMBER_MAX, .type = WIRE_VARINT, .value = 1}, 0},
};

START_TEST(field_is_taken_whole_and_refused_at_every_cut)
{
    for (size_t len = 0; len <= good[_i].len; len++) {
        struct wire_bytes b = {(const uint8_t *)good[_i].bytes, len};
        struct wire_field f = {0};
        const bool whole = len == good[_i].len;
        ck_assert_int_eq(wire_fault(b), whole || len == 0 ? WIRE_WELL : WIRE_CUT);
        ck_assert(wire_take(&b, &f) == whole);
        ck_assert_uint_eq(b.len, whole ? 0 : len);
        if (!whole)
            continue;
        ck_assert_uint_eq(f.number, good[_i].wanted.number);
        ck_assert_int_eq(f.type, good[_i].wanted.type);
        ck_assert_uint_eq(f.value, good[_i].wanted.value);
        ck_assert_uint_eq(f.bytes.len, good[_i].value_len);
        ck_assert((f.bytes.data == NULL) == (f.type == WIRE_VARINT));
        if (f.bytes.data != NULL)
            ck_assert_ptr_eq(f.bytes.data + f.bytes.len, good[_i].bytes + len);
    }
}
END_TEST

static const struct {
    const char *bytes;
    size_t len;
    enum wire_fault wanted;
} bad[] = {
    {"\x88\x00\x01", 3, WIRE_LONG}, /* the tag */
    {"\x08\x80\x00", 3, WIRE_LONG}, /* the value 0 in two bytes */
    {"\x08\x96\x81\x00", 4, WIRE_LONG},
    {"\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", 11, WIRE_LONG},     /* bit 64 */
    {"\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x81\x01", 12, WIRE_LONG}, /* eleven bytes */
    {"\x1A\x83\x00\x61\x62\x63", 6, WIRE_LONG},                          /* the length */
    {"\x1A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x61", 12, WIRE_CUT},  /* a length of 2^64-1 */
    {"\x00\x00", 2, WIRE_NUMBER},
    {"\x02\x00", 2, WIRE_NUMBER},
    {"\x80\x80\x80\x80\x10\x00", 6, WIRE_NUMBER},     /* 2^29 */
    {"\x88\x80\x80\x80\x80\x01\x01", 7, WIRE_NUMBER}, /* 1 + 2^32 */
    {"\x0B\x0C", 2, WIRE_GROUP},
    {"\x0C", 1, WIRE_GROUP},
    {"\x0E\x00", 2, WIRE_GROUP},
    {"\x0F\x00", 2, WIRE_GROUP},
};

START_TEST(what_is_no_field_is_refused_and_left_where_it_is)
{
    struct wire_bytes b = {(const uint8_t *)bad[_i].bytes, bad[_i].len};
    struct wire_field f = {.number = 77};
    ck_assert_int_eq(wire_fault(b), bad[_i].wanted);
    ck_assert(!wire_take(&b, &f));
    ck_assert_uint_eq(f.number, 77);
    ck_assert_uint_eq(b.len, bad[_i].len);
    ck_assert_ptr_eq(b.data, bad[_i].bytes);
}
END_TEST

START_TEST(find_and_count_walk_the_fields_of_a_message)
{
    const struct wire_bytes message = BYTES("\x08\x05\x12\x02hi\x1A\x00\x12\x02ho");
    ck_assert_uint_eq(wire_find(message, 1).value, 5);
    ck_assert_uint_eq(wire_find(message, 2).bytes.len, 2);
    ck_assert_int_eq(memcmp(wire_find(message, 2).bytes.data, "hi", 2), 0);
    ck_assert_ptr_nonnull(wire_find(message, 3).bytes.data);
    ck_assert_uint_eq(wire_find(message, 4).number, 0);
    ck_assert_ptr_null(wire_find(message, 4).bytes.data);
    ck_assert_uint_eq(wire_count(message, 2), 2);
    ck_assert_uint_eq(wire_count(message, 4), 0);
    ck_assert_uint_eq(wire_count((struct wire_bytes){0}, 1), 0);
}
END_TEST

START_TEST(packed_varints_are_taken_one_by_one)
{
    struct wire_bytes row = BYTES("\x01\x96\x01\x80\x00");
    uint64_t value = 0;
    ck_assert(wire_take_varint(&row, &value) && value == 1);
    ck_assert(wire_take_varint(&row, &value) && value == 150);
    ck_assert_int_eq(wire_fault_varint(row), WIRE_LONG);
    ck_assert(!wire_take_varint(&row, &value));
    ck_assert_uint_eq(row.len, 2);
    ck_assert_int_eq(wire_fault_varint((struct wire_bytes){0}), WIRE_CUT);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("wire");
    TCase *tc = tcase_create("wire");
    tcase_add_loop_test(tc, field_is_taken_whole_and_refused_at_every_cut, 0,
                        (int)(sizeof good / sizeof good[0]));
    tcase_add_loop_test(tc, what_is_no_field_is_refused_and_left_where_it_is, 0,
                        (int)(sizeof bad / sizeof bad[0]));
    tcase_add_test(tc, find_and_count_walk_the_fields_of_a_message);
    tcase_add_test(tc, packed_varints_are_taken_one_by_one);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

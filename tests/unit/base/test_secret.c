#include "base/secret.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

START_TEST(secret_slot_is_wiped_when_dropped)
{
    struct err e = {0};
    struct secret s = {0};
    ck_assert_ok(secret_init_copy(&s, "0123456789ABCDEF", 16, &e), e);
    const uint8_t *slot = s.bytes;
    secret_drop(&s);
    ck_assert_ptr_null(s.bytes);
    /* The first bytes hold the free list's link; the rest must be zero. */
    for (size_t i = sizeof(void *); i < 16; i++)
        ck_assert_int_eq(slot[i], 0);
}
END_TEST

START_TEST(secret_equal_sees_each_bit)
{
    const uint8_t a[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (int bit = 0; bit < 64; bit++) {
        uint8_t b[8];
        memcpy(b, a, 8);
        ck_assert(secret_equal(a, b, 8));
        b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert(!secret_equal(a, b, 8));
    }
}
END_TEST

START_TEST(secret_file_must_be_private)
{
    char path[64];
    suite_scratch_name("secret", path, sizeof path);
    const int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "1234\nrest", 9), 9);
    close(fd);
    struct err e = {0};
    struct secret s = {0};
    chmod(path, 0640);
    ck_assert_int_eq(secret_init_file(&s, path, &e), ERR_DENIED);
    ck_assert_ptr_null(s.bytes);
    chmod(path, 0400);
    ck_assert_ok(secret_init_file(&s, path, &e), e);
    ck_assert_uint_eq(s.len, 4);
    ck_assert_mem_eq(s.bytes, "1234", 4);
    secret_drop(&s);
    unlink(path);
    ck_assert_int_eq(secret_init_file(&s, path, &e), ERR_IO);
}
END_TEST

START_TEST(secret_slots_outlast_a_page)
{
    struct secret many[40] = {0};
    struct err e = {0};
    for (size_t i = 0; i < 40; i++) {
        ck_assert_ok(secret_init_copy(&many[i], &i, sizeof i, &e), e);
        for (size_t j = 0; j < i; j++)
            ck_assert_ptr_ne(many[i].bytes, many[j].bytes);
    }
    for (size_t i = 0; i < 40; i++)
        secret_drop(&many[i]);
}
END_TEST

static enum err_code from_hex(const char *digits, struct secret *out_secret, struct err *e)
{
    AUTO(secret) text = {0};
    TRY(secret_init_copy(&text, digits, strlen(digits), e));
    return secret_init_hex(out_secret, &text, 4, e);
}

START_TEST(secret_reads_hex_in_groups)
{
    static const char *const wrong[] = {"", "0123 45", "01234567 8", "0123456G", "0123456", "01234567 89"};
    AUTO(secret) s = {0};
    struct err e = {0};
    ck_assert_ok(from_hex("0123 45aB", &s, &e), e);
    ck_assert_uint_eq(s.len, 4);
    ck_assert_mem_eq(s.bytes, "\x01\x23\x45\xab", 4);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        AUTO(secret) none = {0};
        ck_assert_int_eq(from_hex(wrong[i], &none, &e), ERR_INPUT);
        ck_assert_ptr_null(none.bytes);
        ck_assert_ptr_null(strstr(e.note, "0123"));
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("secret");
    TCase *tc = tcase_create("secret");
    tcase_add_test(tc, secret_slot_is_wiped_when_dropped);
    tcase_add_test(tc, secret_equal_sees_each_bit);
    tcase_add_test(tc, secret_file_must_be_private);
    tcase_add_test(tc, secret_slots_outlast_a_page);
    tcase_add_test(tc, secret_reads_hex_in_groups);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

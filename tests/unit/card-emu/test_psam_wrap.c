/* What a card opens working keys with: its TMK (wrap version 1), or a key of their usage (wrap version 2). */
#include "apdu/psam.h"
#include "apdu/reader.h"
#include "apdu/status.h"
#include "card-emu/crypto/diversify.h"
#include "card-emu/psam/chip.h"
#include "tests/support/suite.h"
#include "tests/unit/card-emu/psam_fixture.h"

#include <string.h>

static const struct usage_row {
    uint8_t usage, method;
} usages[] = {{PSAM_PIK, 0}, {PSAM_MAK, PSAM_MAC_CMAC}, {PSAM_TDK, 0}};
#define USAGES (sizeof usages / sizeof usages[0])

static const enum emu_algorithm suites[] = {EMU_AES_128, EMU_AES_256};

static uint16_t write_tmk(const struct emu_key *tmk, uint8_t algorithm)
{
    const struct psam_key_header header = {PSAM_TMK, 1, algorithm};
    return test_card_write_header(&psam_card, &psam_reader, &header, tmk, false);
}

static struct emu_key kek_of(const struct emu_key *tmk, uint8_t usage)
{
    struct emu_key kek = {0};
    ck_assert_ok(emu_working_kek(tmk, usage, &kek, &psam_err), psam_err);
    return kek;
}

/* Made with Python's cryptography from the TMK 00 01 02 .. by the rule of deploy/docs/card-aes.md. */
static const struct {
    enum emu_algorithm algorithm;
    uint8_t usage;
    uint8_t kek[32];
} known[] = {
    {EMU_AES_128,
     PSAM_PIK,
     {0xD5, 0x7D, 0x9C, 0x8D, 0xE5, 0x1C, 0xC0, 0xF1, 0x8C, 0x25, 0xEF, 0xAE, 0xAD, 0x49, 0x23, 0x2D}},
    {EMU_AES_128,
     PSAM_MAK,
     {0x51, 0x2A, 0xDC, 0xEA, 0x57, 0x65, 0xDD, 0x4C, 0x43, 0x8D, 0xF3, 0xF4, 0xC9, 0x6B, 0xDC, 0x05}},
    {EMU_AES_128,
     PSAM_TDK,
     {0xDC, 0xBD, 0x07, 0xF8, 0xD2, 0x1F, 0x32, 0xDC, 0xA9, 0x5B, 0xE0, 0x18, 0xFE, 0x55, 0xF4, 0x2C}},
    {EMU_AES_256, PSAM_PIK, {0x7E, 0x31, 0x10, 0x3C, 0xCB, 0xD3, 0x0C, 0xE6, 0x40, 0x94, 0xA0,
                             0x8F, 0xC2, 0x62, 0x88, 0x5E, 0x35, 0x00, 0x94, 0xFA, 0x1C, 0x1F,
                             0xF7, 0x45, 0x53, 0x60, 0x3C, 0x4E, 0x09, 0x6B, 0xE0, 0x7E}},
    {EMU_AES_256, PSAM_MAK, {0x4B, 0x5E, 0x7C, 0xDB, 0x6B, 0xA5, 0xA7, 0xD2, 0xAA, 0x10, 0x2F,
                             0x4A, 0x7F, 0x09, 0x43, 0xE8, 0xBC, 0x9D, 0x21, 0x54, 0xEE, 0x88,
                             0xEA, 0x4E, 0x00, 0x6C, 0x82, 0x3F, 0x75, 0xC7, 0x57, 0x89}},
    {EMU_AES_256, PSAM_TDK, {0x69, 0x4A, 0x85, 0x8D, 0x35, 0x6D, 0x05, 0x58, 0x4A, 0xC2, 0xB8,
                             0xC9, 0x54, 0x39, 0xDA, 0xC7, 0xAC, 0x0A, 0xFB, 0x9C, 0x17, 0x92,
                             0x3F, 0xF9, 0x7A, 0x22, 0x35, 0xE9, 0x6E, 0xAC, 0xF6, 0xB6}},
};

START_TEST(kek_is_what_the_rule_says)
{
    uint8_t bytes[32];
    AUTO(emu_key) tmk = {0};
    AUTO(emu_key) tdes = psam_key_of(EMU_TDES, 1);
    AUTO(emu_key) kek = {0};
    for (uint8_t i = 0; i < sizeof bytes; i++)
        bytes[i] = i;
    ck_assert_ok(emu_key_init(&tmk, known[_i].algorithm, bytes, emu_key_len(known[_i].algorithm), &psam_err),
                 psam_err);
    kek = kek_of(&tmk, known[_i].usage);
    ck_assert_uint_eq(kek.len, tmk.len);
    ck_assert_mem_eq(kek.bytes, known[_i].kek, kek.len);
    ck_assert_int_eq(emu_working_kek(&tdes, PSAM_PIK, &kek, &psam_err), ERR_INPUT);
}
END_TEST

/* Why version 2 exists: a cryptogram under the TMK says nothing of its usage. Whoever swaps two on the line
 * has the card encipher PIN blocks under the key for tracks. */
START_TEST(version_1_takes_a_pik_for_a_tdk)
{
    const struct emu_key tmk = psam_key_of(suites[_i], 1), pik = psam_key_of(EMU_AES_128, 40),
                         tdk = psam_key_of(EMU_AES_128, 60);
    uint8_t expected[16];
    struct apdu_response response;
    ck_assert_uint_eq(write_tmk(&tmk, (uint8_t)suites[_i]), SW_OK);
    ck_assert_uint_eq(psam_write_working(&tmk, &tdk, PSAM_PIK, 0), SW_OK);
    ck_assert_uint_eq(psam_write_working(&tmk, &pik, PSAM_TDK, 0), SW_OK);
    const struct apdu_command init = psam_init_crypt(PSAM_PIK),
                              command =
                                  psam_crypt(PSAM_ENCRYPT_LAST, (const uint8_t *)"a PIN block here", 16);
    ck_assert_uint_eq(psam_transmit(&init, &response), SW_OK);
    ck_assert_uint_eq(psam_transmit(&command, &response), SW_OK);
    ck_assert_ok(emu_encrypt_ecb(&tdk, (const uint8_t *)"a PIN block here", 16, expected, &psam_err),
                 psam_err);
    ck_assert_mem_eq(response.data, expected, sizeof expected);
}
END_TEST

/* Check values are right in all of these: it is RFC 3394's own check that fails. */
START_TEST(version_2_takes_each_usage_under_its_own_key)
{
    const struct emu_key tmk = psam_key_of(suites[_i], 1), key = psam_key_of(EMU_AES_128, 40);
    uint8_t before[1024], after[1024];
    ck_assert_uint_eq(write_tmk(&tmk, (uint8_t)(suites[_i] | PSAM_WRAP_USAGE)), SW_OK);
    for (size_t is = 0; is < USAGES; is++) {
        const struct emu_key own = kek_of(&tmk, usages[is].usage);
        ck_assert_uint_eq(psam_write_working(&own, &key, usages[is].usage, usages[is].method), SW_OK);
        const size_t len = psam_snapshot(before);
        ck_assert_uint_eq(psam_write_working(&tmk, &key, usages[is].usage, usages[is].method), SW_MAC_WRONG);
        for (size_t as = 0; as < USAGES; as++) {
            const struct emu_key other = kek_of(&tmk, usages[as].usage);
            if (as != is)
                ck_assert_uint_eq(psam_write_working(&other, &key, usages[is].usage, usages[is].method),
                                  SW_MAC_WRONG);
        }
        ck_assert_uint_eq(psam_snapshot(after), len);
        ck_assert_mem_eq(before, after, len);
    }
}
END_TEST

/* The other way round: nothing of version 2 opens in a card of version 1. */
START_TEST(version_1_takes_nothing_of_version_2)
{
    const struct emu_key tmk = psam_key_of(suites[_i], 1), key = psam_key_of(EMU_AES_128, 40),
                         kek = kek_of(&tmk, PSAM_PIK);
    ck_assert_uint_eq(write_tmk(&tmk, (uint8_t)suites[_i]), SW_OK);
    ck_assert_uint_eq(psam_write_working(&kek, &key, PSAM_PIK, 0), SW_MAC_WRONG);
}
END_TEST

START_TEST(version_is_told_and_outlives_power)
{
    const struct emu_key tmk = psam_key_of(EMU_AES_256, 1), key = psam_key_of(EMU_AES_128, 40),
                         kek = kek_of(&tmk, PSAM_PIK);
    const struct apdu_command ask = psam_get_key_info(PSAM_TMK);
    struct apdu_response response;
    struct psam_key_info info;
    ck_assert_uint_eq(write_tmk(&tmk, PSAM_AES_256 | PSAM_WRAP_USAGE), SW_OK);
    card_link_drop(&psam_reader);
    test_card_kill(&psam_card);
    test_card_serve(&psam_card);
    psam_insert();
    ck_assert_uint_eq(psam_transmit(&ask, &response), SW_OK);
    ck_assert_ok(psam_key_info_parse(&response, &info, &psam_err), psam_err);
    ck_assert_uint_eq(info.header.algorithm, 0x13);
    ck_assert_uint_eq(psam_write_working(&tmk, &key, PSAM_PIK, 0), SW_MAC_WRONG);
    ck_assert_uint_eq(psam_write_working(&kek, &key, PSAM_PIK, 0), SW_OK);
}
END_TEST

START_TEST(other_algorithm_bytes_are_refused)
{
    static const struct {
        enum emu_algorithm key;
        uint8_t algorithm;
    } rows[] = {{EMU_TDES, 0x10},    {EMU_TDES, 0x20},    {EMU_AES_128, 0x22}, {EMU_AES_128, 0x14},
                {EMU_AES_128, 0x13}, {EMU_AES_256, 0xF3}, {EMU_AES_256, 0x12}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct emu_key tmk = psam_key_of(rows[i].key, 1);
        ck_assert_uint_eq(write_tmk(&tmk, rows[i].algorithm), SW_BAD_DATA);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("psam wrap");
    TCase *tc = tcase_create("psam wrap");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, psam_setup, psam_teardown);
    tcase_add_loop_test(tc, kek_is_what_the_rule_says, 0, sizeof known / sizeof known[0]);
    tcase_add_loop_test(tc, version_1_takes_a_pik_for_a_tdk, 0, 2);
    tcase_add_loop_test(tc, version_2_takes_each_usage_under_its_own_key, 0, 2);
    tcase_add_loop_test(tc, version_1_takes_nothing_of_version_2, 0, 2);
    tcase_add_test(tc, version_is_told_and_outlives_power);
    tcase_add_test(tc, other_algorithm_bytes_are_refused);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

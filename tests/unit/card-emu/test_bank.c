/* The bank: what it books, once and only once; PINs under zone keys, and what is kept of them. */
#include "card-emu/bank/ledger.h"
#include "card-emu/crypto/pin_block.h"
#include "tests/support/suite.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAN "6225758326736419"

static char directory[64];
static char db_path[80], pvk_path[96], part_paths[4][64];
static struct ledger *ledger;
static struct pins *pins;
static struct err e;

static struct component_config tdes_parts[2], aes_parts[2];
static struct zone_key_config zones[2];
static struct bank_config config;

static void write_part(int at, const char *text, mode_t mode)
{
    snprintf(part_paths[at], sizeof part_paths[at], "%s/part%d", directory, at);
    FILE *file = fopen(part_paths[at], "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "%s\n", text);
    fclose(file);
    ck_assert_int_eq(chmod(part_paths[at], mode), 0);
}

static void setup_config(void)
{
    write_part(0, "00112233445566778899AABBCCDDEEFF", 0400);
    write_part(1, "0123 4567 89AB CDEF FEDC BA98 7654 3210", 0600);
    write_part(2, "00112233445566778899AABBCCDDEEFF", 0400);
    write_part(3, "0f0e0d0c0b0a09080706050403020100", 0400);
    for (int i = 0; i < 2; i++) {
        tdes_parts[i].file = part_paths[i];
        aes_parts[i].file = part_paths[2 + i];
    }
    static char tdes[] = "tdes", aes[] = "aes128";
    zones[0] = (struct zone_key_config){.suite = tdes, .version = 1, .components = {tdes_parts, 2}};
    zones[1] = (struct zone_key_config){.suite = aes, .version = 1, .components = {aes_parts, 2}};
    config = (struct bank_config){.store_path = db_path, .zone_keys = {zones, 2}};
}

static void setup(void)
{
    suite_scratch_name("bank", directory, sizeof directory);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(db_path, sizeof db_path, "%s/bank.db", directory);
    snprintf(pvk_path, sizeof pvk_path, "%s.pvk", db_path);
    setup_config();
    ck_assert_ok(pins_open(&config, true, &pins, &e), e);
    ck_assert_ok(ledger_open(db_path, &ledger, &e), e);
    struct ledger_account account = {.pan = PAN, .expiry = "3012", .balance = 1000};
    ck_assert_ok(pins_check_value(pins, PAN, "123456", account.pin_check, &e), e);
    ck_assert_ok(ledger_open_account(ledger, &account, &e), e);
    account.balance = 5; /* it is there already */
    ck_assert_ok(ledger_open_account(ledger, &account, &e), e);
}

static void teardown(void)
{
    static const char *const tails[] = {"", "-wal", "-shm", ".pvk", ".lock"};
    ledger_free(ledger);
    pins_free(pins);
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s%s", db_path, tails[i]);
        unlink(name);
    }
    for (size_t i = 0; i < 4; i++)
        unlink(part_paths[i]);
    ck_assert_int_eq(rmdir(directory), 0);
}

static struct ledger_key key_of(const char *trace)
{
    struct ledger_key key = {.acquirer = "01050000", .terminal_id = "T0000001", .batch = "000001"};
    strcpy(key.trace, trace);
    return key;
}

static struct ledger_answer buy(const char *trace, int64_t amount, const char *pin)
{
    struct ledger_purchase p = {
        .key = key_of(trace), .pan = PAN, .amount = amount, .today = "2611", .expiry = "3012"};
    struct ledger_answer answer;
    if (pin != NULL) {
        p.pin = LEDGER_PIN_GIVEN;
        ck_assert_ok(pins_check_value(pins, PAN, pin, p.pin_check, &e), e);
    }
    ck_assert_ok(ledger_purchase(ledger, &p, &answer, &e), e);
    return answer;
}

static int64_t balance(void)
{
    int64_t value = -1;
    ck_assert_ok(ledger_balance(ledger, PAN, &value, &e), e);
    return value;
}

START_TEST(purchase_is_booked_once)
{
    const struct ledger_answer first = buy("000001", 300, "123456");
    ck_assert_str_eq(first.response_code, "00");
    ck_assert_uint_eq(strlen(first.authorization), 6);
    ck_assert_uint_eq(strlen(first.reference), 12);
    const struct ledger_answer again = buy("000001", 300, "123456");
    ck_assert_mem_eq(&first, &again, sizeof first);
    ck_assert_str_eq(buy("000001", 301, "123456").response_code, "94");
    ck_assert_int_eq(balance(), 700);
}
END_TEST

START_TEST(funds_must_suffice)
{
    ck_assert_str_eq(buy("000001", 1001, NULL).response_code, "51");
    ck_assert_str_eq(buy("000002", 1000, NULL).response_code, "00");
    ck_assert_str_eq(buy("000003", 1, NULL).response_code, "51");
    ck_assert_int_eq(balance(), 0);
}
END_TEST

START_TEST(unknown_and_expired_cards)
{
    struct ledger_purchase p = {
        .key = key_of("000001"), .pan = "6225758326736420", .amount = 1, .today = "2611"};
    struct ledger_answer answer;
    ck_assert_ok(ledger_purchase(ledger, &p, &answer, &e), e);
    ck_assert_str_eq(answer.response_code, "14");
    p = (struct ledger_purchase){.key = key_of("000002"), .pan = PAN, .amount = 1, .today = "3101"};
    ck_assert_ok(ledger_purchase(ledger, &p, &answer, &e), e);
    ck_assert_str_eq(answer.response_code, "54");
}
END_TEST

START_TEST(three_wrong_pins_lock_the_card)
{
    ck_assert_str_eq(buy("000001", 1, "111111").response_code, "55");
    ck_assert_str_eq(buy("000001", 1, "111111").response_code, "55"); /* a repeat is no try */
    ck_assert_str_eq(buy("000002", 1, "111111").response_code, "55");
    ck_assert_str_eq(buy("000003", 1, "123456").response_code, "00"); /* the count starts anew */
    for (int i = 4; i < 7; i++) {
        char trace[16];
        snprintf(trace, sizeof trace, "%06d", i);
        ck_assert_str_eq(buy(trace, 1, "111111").response_code, "55");
    }
    ck_assert_str_eq(buy("000007", 1, "123456").response_code, "75");
    ck_assert_int_eq(balance(), 999);
}
END_TEST

START_TEST(reversal_undoes_once)
{
    const struct ledger_key key = key_of("000001");
    bool undone = false;
    (void)buy("000001", 300, NULL);
    ck_assert_ok(ledger_reverse(ledger, &key, &undone, &e), e);
    ck_assert(undone);
    ck_assert_ok(ledger_reverse(ledger, &key, &undone, &e), e);
    ck_assert(!undone);
    ck_assert_int_eq(balance(), 1000);
    ck_assert_str_eq(buy("000001", 300, NULL).response_code, "68");
    ck_assert_int_eq(balance(), 1000);
}
END_TEST

START_TEST(late_original_is_refused)
{
    const struct ledger_key key = key_of("000009");
    bool undone = true;
    ck_assert_ok(ledger_reverse(ledger, &key, &undone, &e), e);
    ck_assert(!undone);
    ck_assert_str_eq(buy("000009", 300, NULL).response_code, "68");
    ck_assert_int_eq(balance(), 1000);
}
END_TEST

START_TEST(reversal_of_a_decline_undoes_nothing)
{
    const struct ledger_key key = key_of("000001");
    bool undone = true;
    ck_assert_str_eq(buy("000001", 5000, NULL).response_code, "51");
    ck_assert_ok(ledger_reverse(ledger, &key, &undone, &e), e);
    ck_assert(!undone);
    ck_assert_int_eq(balance(), 1000);
}
END_TEST

START_TEST(books_survive)
{
    const struct ledger_answer first = buy("000001", 300, NULL);
    struct ledger_counts counts;
    ledger_free(ledger);
    ledger = NULL;
    ck_assert_ok(ledger_open(db_path, &ledger, &e), e);
    const struct ledger_answer again = buy("000001", 300, NULL);
    ck_assert_mem_eq(&first, &again, sizeof first);
    ck_assert_int_eq(balance(), 700);
    ck_assert_ok(ledger_count(ledger, &counts, &e), e);
    ck_assert_uint_eq(counts.authorized, 1);
    ck_assert_uint_eq(counts.declined, 0);
}
END_TEST

/* The zone keys as setup_config's components make them. */
static const uint8_t tdes_zone[16] = {0x01, 0x32, 0x67, 0x54, 0xCD, 0xFE, 0xAB, 0x98,
                                      0x76, 0x45, 0x10, 0x23, 0xBA, 0x89, 0xDC, 0xEF};
static uint8_t aes_zone[16];

static Posward__Business__V1__AuthorizeRequest pin_request(uint8_t *block, size_t len, int format)
{
    Posward__Business__V1__AuthorizeRequest request = POSWARD__BUSINESS__V1__AUTHORIZE_REQUEST__INIT;
    request.pan = (char *)(uintptr_t)PAN;
    request.pin_block = (ProtobufCBinaryData){.data = block, .len = len};
    request.pin_format = (Posward__Business__V1__PinBlockFormat)format;
    return request;
}

START_TEST(pin_blocks_of_both_formats_open)
{
    struct emu_key tdes, aes;
    uint8_t wanted[PINS_CHECK_BYTES], got[PINS_CHECK_BYTES], block[16];
    for (int i = 0; i < 16; i++)
        aes_zone[i] = (uint8_t)(i * 0x11 ^ (15 - i));
    ck_assert_ok(pins_check_value(pins, PAN, "123456", wanted, &e), e);
    ck_assert_ok(emu_key_init(&tdes, EMU_TDES, tdes_zone, 16, &e), e);
    ck_assert_ok(emu_pin_block_build(0, "123456", PAN, block, &e), e);
    ck_assert_ok(emu_encrypt_ecb(&tdes, block, 8, block, &e), e);
    Posward__Business__V1__AuthorizeRequest request = pin_request(block, 8, 1);
    ck_assert_ok(pins_open_block(pins, &request, got, &e), e);
    ck_assert_mem_eq(got, wanted, sizeof got);
    request.zone_key_version = 2;
    ck_assert_int_eq(pins_open_block(pins, &request, got, &e), ERR_NOT_FOUND);
    block[0] ^= 1;
    request.zone_key_version = 1;
    ck_assert_int_eq(pins_open_block(pins, &request, got, &e), ERR_CHECK);
    ck_assert_ok(emu_key_init(&aes, EMU_AES_128, aes_zone, 16, &e), e);
    ck_assert_ok(emu_pin_block_4_encrypt(&aes, "123456", PAN, block, &e), e);
    request = pin_request(block, 16, 4);
    ck_assert_ok(pins_open_block(pins, &request, got, &e), e);
    ck_assert_mem_eq(got, wanted, sizeof got);
    request.pin_block.len = 8;
    ck_assert_int_eq(pins_open_block(pins, &request, got, &e), ERR_INPUT);
}
END_TEST

START_TEST(pin_key_is_made_once_and_for_the_owner)
{
    struct stat st;
    uint8_t before[PINS_CHECK_BYTES], after[PINS_CHECK_BYTES];
    ck_assert_int_eq(stat(pvk_path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_ok(pins_check_value(pins, PAN, "1234", before, &e), e);
    pins_free(pins);
    pins = NULL;
    ck_assert_ok(pins_open(&config, true, &pins, &e), e);
    ck_assert_ok(pins_check_value(pins, PAN, "1234", after, &e), e);
    ck_assert_mem_eq(before, after, sizeof before);
}
END_TEST

START_TEST(lost_pin_key_is_not_made_anew)
{
    struct pins *other = NULL;
    ck_assert_int_eq(unlink(pvk_path), 0);
    ck_assert_int_eq(pins_open(&config, false, &other, &e), ERR_IO);
    ck_assert_ptr_nonnull(strstr(e.note, "restore that file"));
    ck_assert_int_ne(access(pvk_path, F_OK), 0);
}
END_TEST

START_TEST(ledger_has_one_owner)
{
    struct ledger *other = NULL;
    ck_assert_int_eq(ledger_open(db_path, &other, &e), ERR_STATE);
    ck_assert_ptr_nonnull(strstr(e.note, "stop it first"));
    ck_assert_ptr_null(other);
}
END_TEST

START_TEST(file_of_another_program_is_refused)
{
    static const char *const others[] = {"CREATE TABLE device (id); PRAGMA application_id = 1",
                                         "CREATE TABLE device (id)"};
    struct ledger *other = NULL;
    sqlite3 *db = NULL;
    ledger_free(ledger);
    ledger = NULL;
    unlink(db_path);
    ck_assert_int_eq(sqlite3_open(db_path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, others[_i], NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(ledger_open(db_path, &other, &e), ERR_STATE);
    ck_assert_ptr_nonnull(strstr(e.note, "another program"));
    ck_assert_int_eq(sqlite3_exec(db, "CREATE TABLE accounts (id)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}
END_TEST

START_TEST(bad_components_are_refused)
{
    struct pins *other = NULL;
    write_part(1, "0123", 0600);
    ck_assert_int_eq(pins_open(&config, true, &other, &e), ERR_INPUT);
    write_part(1, "0123456789ABCDEFFEDCBA9876543210", 0644);
    ck_assert_int_eq(pins_open(&config, true, &other, &e), ERR_DENIED);
    ck_assert_ptr_null(other);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("bank");
    TCase *tc = tcase_create("bank");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, purchase_is_booked_once);
    tcase_add_test(tc, funds_must_suffice);
    tcase_add_test(tc, unknown_and_expired_cards);
    tcase_add_test(tc, three_wrong_pins_lock_the_card);
    tcase_add_test(tc, reversal_undoes_once);
    tcase_add_test(tc, late_original_is_refused);
    tcase_add_test(tc, reversal_of_a_decline_undoes_nothing);
    tcase_add_test(tc, books_survive);
    tcase_add_test(tc, pin_blocks_of_both_formats_open);
    tcase_add_test(tc, pin_key_is_made_once_and_for_the_owner);
    tcase_add_test(tc, lost_pin_key_is_not_made_anew);
    tcase_add_test(tc, ledger_has_one_owner);
    tcase_add_loop_test(tc, file_of_another_program_is_refused, 0, 2);
    tcase_add_test(tc, bad_components_are_refused);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

/* The journal: one transaction a key, its answer byte for byte, and what a process that died leaves behind.
 */
#include "posp/journal.h"
#include "tests/support/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char directory[64];
static char path[80];
static struct store *store;
static struct err e;

static void setup(void)
{
    suite_scratch_name("journal", directory, sizeof directory);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/posp.db", directory);
    ck_assert_ok(store_open(path, &store, &e), e);
}

static void teardown(void)
{
    static const char *const tails[] = {"", "-wal", "-shm", ".lock"};
    store_free(store);
    for (size_t i = 0; i < 4; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s%s", path, tails[i]);
        unlink(name);
    }
    ck_assert_int_eq(rmdir(directory), 0);
}

static struct journal_entry begin(const char *trace)
{
    struct journal_entry entry = {.terminal_id = "T0000001",
                                  .batch = "000001",
                                  .merchant_id = "898100012345678",
                                  .masked_pan = "622575******6419",
                                  .processing_code = "000000",
                                  .amount = "000000000100",
                                  .currency = "156",
                                  .entry_mode = "021",
                                  .mac = {1, 0, 3},
                                  .generation = 4,
                                  .unit = "bank",
                                  .created_ms = 1000};
    strcpy(entry.trace, trace);
    ck_assert_ok(journal_begin(store, &entry, &e), e);
    return entry;
}

static void settle(struct journal_entry *entry, const char *code, enum journal_state state)
{
    strcpy(entry->response_code, code);
    entry->state = state;
    memcpy(entry->answer, "answer\0bytes", 12);
    entry->answer_len = 12;
    ck_assert_ok(journal_settle(store, entry, &e), e);
}

START_TEST(begin_gives_id_and_reference)
{
    const struct journal_entry a = begin("000001"), b = begin("000002");
    ck_assert_int_gt(b.id, a.id);
    ck_assert_int_eq(a.state, JOURNAL_FORWARDED);
    ck_assert_uint_eq(strlen(a.reference), 12);
    ck_assert_str_ne(a.reference, b.reference);
}
END_TEST

START_TEST(second_begin_returns_what_is_on_record)
{
    struct journal_entry first = begin("000001");
    settle(&first, "00", JOURNAL_ANSWERED);
    struct journal_entry again = {
        .terminal_id = "T0000001", .batch = "000001", .trace = "000001", .amount = "other"};
    ck_assert_int_eq(journal_begin(store, &again, &e), ERR_EXISTS);
    ck_assert_int_eq(again.id, first.id);
    ck_assert_str_eq(again.amount, "000000000100");
    ck_assert_str_eq(again.response_code, "00");
    ck_assert_uint_eq(again.answer_len, 12);
    ck_assert_mem_eq(again.answer, "answer\0bytes", 12);
    ck_assert_mem_eq(again.mac, first.mac, 8);
    ck_assert_int_eq(again.generation, 4);
}
END_TEST

START_TEST(another_batch_is_another_transaction)
{
    (void)begin("000001");
    struct journal_entry other = {.terminal_id = "T0000001", .batch = "000002", .trace = "000001"};
    ck_assert_ok(journal_begin(store, &other, &e), e);
}
END_TEST

START_TEST(what_a_dead_process_left_is_reversed_once)
{
    struct journal_entry answered = begin("000001"), found;
    settle(&answered, "00", JOURNAL_ANSWERED);
    const struct journal_entry open_one = begin("000002"), open_two = begin("000003");
    store_free(store); /* the process dies */
    store = NULL;
    ck_assert_ok(store_open(path, &store, &e), e);
    uint64_t count = 0;
    ck_assert_ok(journal_recover(store, 1000, &count, &e), e); /* not older than that */
    ck_assert_uint_eq(count, 0);
    ck_assert_ok(journal_recover(store, INT64_MAX, &count, &e), e);
    ck_assert_uint_eq(count, 2);
    ck_assert_ok(journal_next_reversal(store, 0, &found, &e), e);
    ck_assert_int_eq(found.id, open_one.id);
    ck_assert_ok(journal_next_reversal(store, found.id, &found, &e), e);
    ck_assert_int_eq(found.id, open_two.id);
    ck_assert_int_eq(journal_next_reversal(store, found.id, &found, &e), ERR_NOT_FOUND);
    ck_assert_ok(journal_reversed(store, open_one.id, &e), e);
    ck_assert_ok(journal_reversed(store, open_two.id, &e), e);
    ck_assert_int_eq(journal_next_reversal(store, 0, &found, &e), ERR_NOT_FOUND);
    ck_assert_ok(journal_get(store, "T0000001", "000001", "000002", &found, &e), e);
    ck_assert_str_eq(journal_state_name(found.state), "reversed");
    ck_assert_uint_eq(found.answer_len, 0);
}
END_TEST

START_TEST(what_is_being_reversed_is_approved_no_more)
{
    struct journal_entry entry = begin("000001"), now;
    uint64_t count = 0;
    ck_assert_ok(journal_recover(store, INT64_MAX, &count, &e), e);
    ck_assert_uint_eq(count, 1);
    strcpy(entry.response_code, "00");
    entry.state = JOURNAL_ANSWERED;
    ck_assert_int_eq(journal_settle(store, &entry, &e), ERR_STATE);
    ck_assert_ok(journal_reversed(store, entry.id, &e), e);
    settle(&entry, "96", JOURNAL_REVERSING);
    ck_assert_ok(journal_get(store, entry.terminal_id, entry.batch, entry.trace, &now, &e), e);
    ck_assert_int_eq(now.state, JOURNAL_REVERSED);
    ck_assert_str_eq(now.response_code, "96");
}
END_TEST

START_TEST(list_is_newest_first_and_filtered)
{
    struct journal_entry entries[4];
    size_t count = 9;
    for (int i = 1; i <= 5; i++) {
        char trace[16];
        snprintf(trace, sizeof trace, "%06d", i);
        (void)begin(trace);
    }
    ck_assert_ok(journal_list(store, "", 0, 4, entries, &count, &e), e);
    ck_assert_uint_eq(count, 4);
    ck_assert_str_eq(entries[0].trace, "000005");
    ck_assert_ok(journal_list(store, "", entries[3].id, 4, entries, &count, &e), e);
    ck_assert_uint_eq(count, 1);
    ck_assert_ok(journal_list(store, "T0000002", 0, 4, entries, &count, &e), e);
    ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(counts_follow_states)
{
    struct journal_entry a = begin("000001"), b = begin("000002"), c = begin("000003");
    (void)begin("000004");
    settle(&a, "00", JOURNAL_ANSWERED);
    settle(&b, "51", JOURNAL_ANSWERED);
    settle(&c, "98", JOURNAL_REVERSING);
    struct journal_counts counts;
    ck_assert_ok(journal_count(store, &counts, &e), e);
    ck_assert_uint_eq(counts.transactions, 4);
    ck_assert_uint_eq(counts.approved, 1);
    ck_assert_uint_eq(counts.declined, 2);
    ck_assert_uint_eq(counts.reversals_pending, 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("posp journal");
    TCase *tc = tcase_create("journal");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, begin_gives_id_and_reference);
    tcase_add_test(tc, second_begin_returns_what_is_on_record);
    tcase_add_test(tc, another_batch_is_another_transaction);
    tcase_add_test(tc, what_a_dead_process_left_is_reversed_once);
    tcase_add_test(tc, what_is_being_reversed_is_approved_no_more);
    tcase_add_test(tc, list_is_newest_first_and_filtered);
    tcase_add_test(tc, counts_follow_states);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

#include "tests/unit/posv/store_fixture.h"

#include <pthread.h>
#include <sqlite3.h>

static struct folder folder;
static struct store *store;

static void set_up(void)
{
    folder_make(&folder);
    store = store_must_open(&folder);
}

static void tear_down(void)
{
    store_free(store);
    folder_remove(&folder);
}

START_TEST(register_then_get_by_terminal_and_card)
{
    const struct device made = must_change(store, registration("A0000001", CARD_A));
    ck_assert_int_eq(made.revision, 1);
    ck_assert_int_eq(made.state, DEVICE_ACTIVE);
    ck_assert_int_gt(made.created_ms, 1600000000000);
    ck_assert_int_eq(made.created_ms, made.updated_ms);
    struct err e = {0};
    struct device got;
    ck_assert_ok(store_get(store, "A0000001", &got, &e), e);
    ck_assert_str_eq(got.psam_number, CARD_A);
    ck_assert_str_eq(got.merchant_id, MERCHANT);
    ck_assert_ok(store_get_by_card(store, CARD_A, &got, &e), e);
    ck_assert_str_eq(got.terminal_id, "A0000001");
    ck_assert_int_eq(store_get(store, "A0000002", &got, &e), ERR_NOT_FOUND);
    ck_assert_int_eq(store_get_by_card(store, CARD_B, &got, &e), ERR_NOT_FOUND);
}
END_TEST

START_TEST(second_registration_says_whether_it_is_identical)
{
    must_change(store, registration("A0000001", CARD_A));
    must_refuse(store, registration("A0000001", CARD_A), ERR_EXISTS, "registered already, identical");
    must_refuse(store, registration("A0000001", CARD_B), ERR_EXISTS, "with card " CARD_A ": use ReplaceCard");
    must_refuse(store, registration("A0000002", CARD_A), ERR_EXISTS, "is in terminal A0000001 (ACTIVE)");
}
END_TEST

START_TEST(one_number_spelt_twice_is_one_card)
{
    must_change(store, registration("A0000001", "1234567890123456"));
    must_refuse(store, registration("A0000002", "00001234567890123456"), ERR_EXISTS,
                "is in terminal A0000001");
}
END_TEST

START_TEST(replaced_and_retired_cards_are_free_again)
{
    must_change(store, registration("A0000001", CARD_A));
    const struct device replaced = must_change(store, replacement("A0000001", CARD_B));
    ck_assert_str_eq(replaced.psam_number, CARD_B);
    ck_assert_str_eq(replaced.reason, "card lost");
    must_refuse(store, replacement("A0000001", CARD_B), ERR_EXISTS, "has card " CARD_B " already");
    must_change(store, registration("A0000002", CARD_A));
    must_refuse(store, replacement("A0000001", CARD_A), ERR_EXISTS, "is in terminal A0000002");
    const struct device retired = must_change(store, move(DEVICE_RETIRE, "A0000001", "shop closed"));
    ck_assert_str_eq(retired.psam_number, "");
    must_change(store, registration("A0000003", CARD_B));
    must_refuse(store, registration("A0000001", CARD_A), ERR_EXISTS, "retired for good");
    must_refuse(store, move(DEVICE_RETIRE, "A0000001", ""), ERR_STATE, "is RETIRED and cannot be retired");
}
END_TEST

START_TEST(revisions_grow_by_one_a_change_and_refusals_take_none)
{
    ck_assert_int_eq(must_change(store, registration("A0000001", CARD_A)).revision, 1);
    must_refuse(store, registration("A0000002", CARD_A), ERR_EXISTS, "");
    must_refuse(store, move(DEVICE_RESUME, "A0000001", ""), ERR_STATE, "cannot be resumed");
    ck_assert_int_eq(must_change(store, move(DEVICE_SUSPEND, "A0000001", "fraud")).revision, 2);
    ck_assert_int_eq(must_change(store, move(DEVICE_RESUME, "A0000001", "cleared")).revision, 3);
    struct err e = {0};
    struct store_totals totals;
    ck_assert_ok(store_totals(store, &totals, &e), e);
    ck_assert_int_eq(totals.revision, 3);
    ck_assert_uint_eq(totals.by_state[DEVICE_ACTIVE], 1);
}
END_TEST

START_TEST(totals_of_an_empty_table_are_zero)
{
    struct err e = {0};
    struct store_totals totals;
    ck_assert_ok(store_totals(store, &totals, &e), e);
    ck_assert_int_eq(totals.revision, 0);
    for (int i = 0; i <= DEVICE_STATE_MOST; i++)
        ck_assert_uint_eq(totals.by_state[i], 0);
}
END_TEST

static sqlite3_int64 ask(const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    ck_assert_int_eq(sqlite3_open(folder.db, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    const sqlite3_int64 answer = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return answer;
}

START_TEST(stays_of_cards_are_recorded)
{
    must_change(store, registration("A0000001", CARD_A));
    must_change(store, replacement("A0000001", CARD_B));
    must_change(store, move(DEVICE_RETIRE, "A0000001", "shop closed"));
    ck_assert_int_eq(ask("SELECT count(*) FROM card_stay"), 2);
    ck_assert_int_eq(ask("SELECT count(*) FROM card_stay WHERE psam_number = '" CARD_A
                         "' AND to_ms >= from_ms AND reason = 'card lost'"),
                     1);
    ck_assert_int_eq(ask("SELECT count(*) FROM card_stay WHERE psam_number = '" CARD_B
                         "' AND to_ms >= from_ms AND reason = 'shop closed'"),
                     1);
}
END_TEST

START_TEST(database_itself_refuses_a_second_terminal_for_a_card)
{
    must_change(store, registration("A0000001", CARD_A));
    must_change(store, registration("A0000002", CARD_B));
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open(folder.db, &db), SQLITE_OK);
    static const char *const attempts[] = {
        "UPDATE device SET card_key = '" CARD_A "' WHERE terminal_id = 'A0000002'",
        "UPDATE device SET card_key = NULL WHERE terminal_id = 'A0000002'",
        "UPDATE device SET revision = 1 WHERE terminal_id = 'A0000002'",
        ("INSERT INTO card_stay (terminal_id, psam_number, card_key, suite, master_version, from_ms)"
         " VALUES ('A0000002', '" CARD_A "', '" CARD_A "', 1, 1, 0)"),
        ("INSERT INTO card_stay (terminal_id, psam_number, card_key, suite, master_version, from_ms)"
         " VALUES ('A0000002', '1', '00000000000000000001', 1, 1, 0)"),
    };
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++)
        ck_assert_int_eq(sqlite3_exec(db, attempts[i], NULL, NULL, NULL), SQLITE_CONSTRAINT);
    sqlite3_close(db);
}
END_TEST

static void fill(int count)
{
    for (int i = 0; i < count; i++) {
        char terminal_id[9], card[21];
        snprintf(terminal_id, sizeof terminal_id, "%c%07d", i % 2 ? 'B' : 'A', i);
        snprintf(card, sizeof card, "6201%016d", i);
        struct device_request request = registration(terminal_id, card);
        request.suite = 1 + i % 3;
        must_change(store, request);
    }
}

static size_t list(struct store_filter filter, const char *after, size_t capacity, struct device *out_devices)
{
    struct err e = {0};
    size_t count = 0;
    if (filter.merchant_id == NULL)
        filter.merchant_id = "";
    if (filter.terminal_prefix == NULL)
        filter.terminal_prefix = "";
    ck_assert_ok(store_list(store, &filter, after, capacity, out_devices, &count, &e), e);
    return count;
}

START_TEST(list_pages_by_terminal_and_filters)
{
    fill(30);
    must_change(store, move(DEVICE_SUSPEND, "A0000004", ""));
    struct device page[40];
    ck_assert_uint_eq(list((struct store_filter){0}, "", 40, page), 30);
    for (int i = 1; i < 30; i++)
        ck_assert_int_lt(strcmp(page[i - 1].terminal_id, page[i].terminal_id), 0);
    ck_assert_uint_eq(list((struct store_filter){0}, "A0000028", 10, page), 10);
    ck_assert_str_eq(page[0].terminal_id, "B0000001");
    ck_assert_uint_eq(list((struct store_filter){.terminal_prefix = "B"}, "", 40, page), 15);
    ck_assert_uint_eq(list((struct store_filter){.terminal_prefix = "B000001"}, "", 40, page), 5);
    ck_assert_uint_eq(list((struct store_filter){.suite = 2}, "", 40, page), 10);
    ck_assert_uint_eq(list((struct store_filter){.state = DEVICE_SUSPENDED}, "", 40, page), 1);
    ck_assert_str_eq(page[0].terminal_id, "A0000004");
    ck_assert_uint_eq(list((struct store_filter){.merchant_id = MERCHANT}, "", 40, page), 30);
    ck_assert_uint_eq(list((struct store_filter){.merchant_id = "000000000000000"}, "", 40, page), 0);
}
END_TEST

START_TEST(changes_come_in_order_each_device_in_its_newest_form)
{
    fill(10);
    must_change(store, move(DEVICE_SUSPEND, "A0000000", "x"));
    struct device page[20];
    size_t count = 0;
    struct err e = {0};
    ck_assert_ok(store_changes(store, 0, 20, page, &count, &e), e);
    ck_assert_uint_eq(count, 10);
    ck_assert_int_eq(page[0].revision, 2);
    ck_assert_str_eq(page[9].terminal_id, "A0000000");
    ck_assert_int_eq(page[9].revision, 11);
    ck_assert_ok(store_changes(store, 5, 3, page, &count, &e), e);
    ck_assert_uint_eq(count, 3);
    ck_assert_int_eq(page[2].revision, 8);
    ck_assert_ok(store_changes(store, 11, 3, page, &count, &e), e);
    ck_assert_uint_eq(count, 0);
}
END_TEST

static void *claim_card(void *context)
{
    const struct device_request request = registration(context, CARD_A);
    struct device device;
    struct err e = {0};
    const enum err_code code = store_change(store, &request, &device, &e);
    return code == ERR_OK ? context : NULL;
}

START_TEST(of_many_threads_that_claim_a_card_one_gets_it)
{
    pthread_t threads[16];
    char terminals[16][9];
    for (int i = 0; i < 16; i++) {
        snprintf(terminals[i], sizeof terminals[i], "C%07d", i);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, claim_card, terminals[i]), 0);
    }
    int winners = 0;
    for (int i = 0; i < 16; i++) {
        void *won = NULL;
        pthread_join(threads[i], &won);
        winners += won != NULL;
    }
    ck_assert_int_eq(winners, 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("store");
    TCase *tc = tcase_create("store");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, register_then_get_by_terminal_and_card);
    tcase_add_test(tc, second_registration_says_whether_it_is_identical);
    tcase_add_test(tc, one_number_spelt_twice_is_one_card);
    tcase_add_test(tc, replaced_and_retired_cards_are_free_again);
    tcase_add_test(tc, revisions_grow_by_one_a_change_and_refusals_take_none);
    tcase_add_test(tc, totals_of_an_empty_table_are_zero);
    tcase_add_test(tc, stays_of_cards_are_recorded);
    tcase_add_test(tc, database_itself_refuses_a_second_terminal_for_a_card);
    tcase_add_test(tc, list_pages_by_terminal_and_filters);
    tcase_add_test(tc, changes_come_in_order_each_device_in_its_newest_form);
    tcase_add_test(tc, of_many_threads_that_claim_a_card_one_gets_it);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

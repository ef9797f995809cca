/* What the store does with the file: reopening, kill -9, damage, other programs' files. */
#include "tests/unit/posv/store_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>

static struct folder folder;

static void set_up(void)
{
    folder_make(&folder);
}

static void tear_down(void)
{
    folder_remove(&folder);
}

static struct device_request numbered(int i, char terminal_id[9], char card[21])
{
    snprintf(terminal_id, 9, "A%07d", i);
    snprintf(card, 21, "6201%016d", i);
    return registration(terminal_id, card);
}

static void fill(int count)
{
    struct store *store = store_must_open(&folder);
    for (int i = 0; i < count; i++) {
        char terminal_id[9], card[21];
        must_change(store, numbered(i, terminal_id, card));
    }
    store_free(store);
}

static void expect_open_fails(enum err_code code, const char *note)
{
    struct err e = {0};
    struct store *store = NULL;
    ck_assert_int_eq(store_open_sqlite(folder.db, 1000, &store, &e), code);
    ck_assert_ptr_null(store);
    ck_assert_msg(strstr(e.note, note) != NULL, "note is '%s', without '%s'", e.note, note);
    ck_assert_msg(strstr(e.note, "posv.db") != NULL, "note '%s' does not name the file", e.note);
}

static void execute(const char *sql)
{
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open(folder.db, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

START_TEST(reopened_store_goes_on_where_it_was)
{
    fill(3);
    struct store *store = store_must_open(&folder);
    struct err e = {0};
    int64_t revision = 0;
    ck_assert_ok(store_revision(store, &revision, &e), e);
    ck_assert_int_eq(revision, 3);
    char terminal_id[9], card[21];
    ck_assert_int_eq(must_change(store, numbered(3, terminal_id, card)).revision, 4);
    store_free(store);
}
END_TEST

START_TEST(second_process_is_refused)
{
    struct store *store = store_must_open(&folder);
    expect_open_fails(ERR_STATE, "another posward-posv serves this file");
    store_free(store);
    store = store_must_open(&folder);
    store_free(store);
}
END_TEST

static void write_until_killed(int ready)
{
    struct store *store = NULL;
    struct err e = {0};
    if (store_open_sqlite(folder.db, 5000, &store, &e) != ERR_OK)
        _exit(1);
    for (int i = 0;; i++) {
        char terminal_id[9], card[21];
        const struct device_request request = numbered(i, terminal_id, card);
        struct device device;
        if (store_change(store, &request, &device, &e) != ERR_OK ||
            write(ready, &device.revision, sizeof device.revision) != sizeof device.revision)
            _exit(1);
    }
}

START_TEST(what_was_answered_survives_kill_9)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        write_until_killed(ends[1]);
    close(ends[1]);
    int64_t answered = 0, revision = 0;
    while (answered < 20 * (_i + 1))
        ck_assert_int_eq(read(ends[0], &answered, sizeof answered), sizeof answered);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    for (int64_t more; read(ends[0], &more, sizeof more) == sizeof more;)
        answered = more;
    close(ends[0]);

    struct store *store = store_must_open(&folder);
    struct err e = {0};
    ck_assert_ok(store_revision(store, &revision, &e), e);
    ck_assert_int_ge(revision, answered);
    ck_assert_int_le(revision, answered + 1); /* the one that was committed but not answered */
    struct store_totals totals;
    ck_assert_ok(store_totals(store, &totals, &e), e);
    ck_assert_uint_eq(totals.by_state[DEVICE_ACTIVE], (uint64_t)revision);
    store_free(store);
}
END_TEST

START_TEST(damaged_page_is_found_at_open)
{
    fill(200);
    const int fd = open(folder.db, O_RDWR);
    struct stat status;
    ck_assert_int_eq(fstat(fd, &status), 0);
    char garbage[4096];
    memset(garbage, 0xA5, sizeof garbage);
    ck_assert_int_gt(status.st_size, 8 * 4096);
    ck_assert_int_eq(pwrite(fd, garbage, sizeof garbage, status.st_size - 3 * 4096), sizeof garbage);
    close(fd);
    expect_open_fails(ERR_IO, "damaged");
}
END_TEST

START_TEST(file_cut_anywhere_is_refused)
{
    fill(200);
    struct stat status;
    ck_assert_int_eq(stat(folder.db, &status), 0);
    for (off_t left = status.st_size - 4096; left >= 512; left -= 4096) {
        ck_assert_int_eq(truncate(folder.db, left), 0);
        struct err e = {0};
        struct store *store = NULL;
        ck_assert_msg(store_open_sqlite(folder.db, 1000, &store, &e) == ERR_IO, "a file of %ld bytes: %s",
                      (long)left, e.note);
    }
}
END_TEST

START_TEST(file_that_is_no_database_is_refused_and_kept)
{
    FILE *file = fopen(folder.db, "w");
    for (int i = 0; i < 1000; i++)
        fputs("a letter, not a database\n", file);
    fclose(file);
    expect_open_fails(ERR_IO, "not a database");
    struct stat status;
    ck_assert_int_eq(stat(folder.db, &status), 0);
    ck_assert_int_eq(status.st_size, 25000);
}
END_TEST

START_TEST(database_of_another_program_is_refused)
{
    execute("CREATE TABLE recipe (name TEXT)");
    expect_open_fails(ERR_STATE, "of another program");
}
END_TEST

/* A file of version 0.1 with a device in it, as that release made it. */
static const char first_schema[] =
    "CREATE TABLE table_state ("
    " only_row INTEGER PRIMARY KEY CHECK (only_row = 1),"
    " revision INTEGER NOT NULL);"
    "INSERT INTO table_state VALUES (1, 0);"
    "CREATE TABLE device ("
    " terminal_id TEXT PRIMARY KEY NOT NULL CHECK (length(terminal_id) = 8),"
    " merchant_id TEXT NOT NULL CHECK (length(merchant_id) = 15),"
    " psam_number TEXT NOT NULL,"
    " card_key TEXT UNIQUE,"
    " suite INTEGER NOT NULL CHECK (suite BETWEEN 1 AND 3),"
    " master_version INTEGER NOT NULL CHECK (master_version BETWEEN 1 AND 255),"
    " state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 3),"
    " revision INTEGER NOT NULL UNIQUE,"
    " created_ms INTEGER NOT NULL,"
    " updated_ms INTEGER NOT NULL,"
    " reason TEXT NOT NULL,"
    " CHECK ((state = 3) = (card_key IS NULL))"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX device_by_state ON device (state);"
    "CREATE INDEX device_by_merchant ON device (merchant_id, terminal_id);"
    "CREATE TABLE card_stay ("
    " id INTEGER PRIMARY KEY,"
    " terminal_id TEXT NOT NULL REFERENCES device (terminal_id),"
    " psam_number TEXT NOT NULL,"
    " card_key TEXT NOT NULL CHECK (length(card_key) = 20),"
    " suite INTEGER NOT NULL,"
    " master_version INTEGER NOT NULL,"
    " from_ms INTEGER NOT NULL,"
    " to_ms INTEGER,"
    " reason TEXT NOT NULL DEFAULT ''"
    ") STRICT;"
    "CREATE UNIQUE INDEX one_card_a_terminal ON card_stay (terminal_id) WHERE to_ms IS NULL;"
    "CREATE UNIQUE INDEX one_terminal_a_card ON card_stay (card_key) WHERE to_ms IS NULL;"
    "CREATE INDEX card_stay_by_card ON card_stay (card_key, from_ms);"
    "INSERT INTO device VALUES ('A0000001', '" MERCHANT "', '" CARD_A "', '" CARD_A
    "', 3, 7, 1, 1, 5, 5, '');"
    "INSERT INTO card_stay VALUES (1, 'A0000001', '" CARD_A "', '" CARD_A "', 3, 7, 5, NULL, '');"
    "UPDATE table_state SET revision = 1;"
    "PRAGMA application_id = 0x504F5356;"
    "PRAGMA user_version = 1;";

START_TEST(store_of_the_first_schema_is_taken_over)
{
    struct device device;
    struct err e = {0};
    execute(first_schema);
    struct store *store = store_must_open(&folder);
    ck_assert_ok(store_get(store, "A0000001", &device, &e), e);
    ck_assert_int_eq(device.master_version, 7);
    ck_assert_int_eq(device.wrap_version, 1);
    struct device_request request = replacement("A0000001", CARD_A);
    request.suite = 3;
    request.master_version = 7;
    must_refuse(store, request, ERR_EXISTS, "the same suite, master and wrap version");
    request.wrap_version = 2; /* the card was issued again */
    ck_assert_int_eq(must_change(store, request).revision, 2);
    store_free(store);
    store = store_must_open(&folder);
    ck_assert_ok(store_get(store, "A0000001", &device, &e), e);
    ck_assert_int_eq(device.wrap_version, 2);
    store_free(store);
}
END_TEST

START_TEST(newer_schema_is_refused)
{
    fill(1);
    execute("PRAGMA user_version = 99");
    expect_open_fails(ERR_UNSUPPORTED, "schema version 99 is newer");
}
END_TEST

START_TEST(missing_folder_says_what_to_do)
{
    struct err e = {0};
    struct store *store = NULL;
    ck_assert_int_eq(store_open_sqlite("/nonexistent/posv.db", 1000, &store, &e), ERR_IO);
    ck_assert_ptr_nonnull(strstr(e.note, "folder must exist"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("store_file");
    TCase *tc = tcase_create("store_file");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, reopened_store_goes_on_where_it_was);
    tcase_add_test(tc, second_process_is_refused);
    tcase_add_loop_test(tc, what_was_answered_survives_kill_9, 0, 5);
    tcase_add_test(tc, damaged_page_is_found_at_open);
    tcase_add_test(tc, file_cut_anywhere_is_refused);
    tcase_add_test(tc, file_that_is_no_database_is_refused_and_kept);
    tcase_add_test(tc, database_of_another_program_is_refused);
    tcase_add_test(tc, store_of_the_first_schema_is_taken_over);
    tcase_add_test(tc, newer_schema_is_refused);
    tcase_add_test(tc, missing_folder_says_what_to_do);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())

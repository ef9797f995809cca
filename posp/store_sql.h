/* Inside the store: statements by name, and how a write reaches the writing thread. */
#ifndef POSWARD_POSP_STORE_SQL_H
#define POSWARD_POSP_STORE_SQL_H

#include "posp/store.h"

#include <pthread.h>
#include <sqlite3.h>

enum store_sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_SAVEPOINT,
    SQL_SAVEPOINT_ROLLBACK,
    SQL_SAVEPOINT_RELEASE,
    SQL_SEQUENCE_TAKE,
    SQL_DEVICE_PUT,
    SQL_DEVICES_CLEAR,
    SQL_DEVICE_GET,
    SQL_REVISION_PUT,
    SQL_PROGRESS,
    SQL_KEYS_DROP_UNUSED,
    SQL_KEYS_DROP_OLDER,
    SQL_KEYS_PUT,
    SQL_KEYS_GET,
    SQL_KEYS_USED,
    SQL_CARD_PUT,
    SQL_CARD_GET,
    SQL_CARD_WRITTEN,
    SQL_SEALED_SETS,
    SQL_SEALED_CARDS,
    SQL_SEALED_OF_TERMINAL,
    SQL_SEALED_CARD_OF_TERMINAL,
    SQL_SEALED_SET_SWAP,
    SQL_SEALED_CARD_SWAP,
    SQL_USE_MASTER,
    SQL_USE_CONTROL,
    SQL_USE_STORAGE,
    SQL_USE_TAG,
    SQL_JOURNAL_BEGIN,
    SQL_JOURNAL_SETTLE,
    SQL_JOURNAL_GET,
    SQL_JOURNAL_RECOVER,
    SQL_JOURNAL_NEXT_REVERSAL,
    SQL_JOURNAL_REVERSED,
    SQL_JOURNAL_LIST,
    SQL_JOURNAL_LIST_TERMINAL,
    SQL_JOURNAL_COUNT,
    SQL_COUNT_
};

/* One connection and its prepared statements. One thread at a time. */
struct store_db {
    sqlite3 *db;
    sqlite3_stmt *statements[SQL_COUNT_];
};

/* A prepared statement, reset and without bindings. */
enum err_code db_take(struct store_db *db, enum store_sql which, sqlite3_stmt **out_statement,
                      struct err *e) MUST_CHECK;
/* Step once. *out_row: a row is there to be read. The caller resets with db_give when it has read it. */
enum err_code db_step(struct store_db *db, sqlite3_stmt *statement, bool *out_row, struct err *e) MUST_CHECK;
void db_give(sqlite3_stmt *statement);
/* Step a statement that returns no row, and give it back. */
enum err_code db_run(struct store_db *db, sqlite3_stmt *statement, struct err *e) MUST_CHECK;
enum err_code db_run_plain(struct store_db *db, enum store_sql which, struct err *e) MUST_CHECK;

/* Bindings cannot fail but for memory, which SQLite then reports at the step. Text and blobs live until
 * db_give. */
void db_bind_text(sqlite3_stmt *statement, int at, const char *text);
void db_bind_blob(sqlite3_stmt *statement, int at, const void *bytes, size_t len);
/* Copy a column, cut to the capacity. */
void db_text(sqlite3_stmt *statement, int column, char *out_text, size_t capacity);
size_t db_blob(sqlite3_stmt *statement, int column, void *out_bytes, size_t capacity);

/* Run `apply` on the writing thread inside a transaction; return when it is committed. An apply that fails is
 * rolled back alone. */
typedef enum err_code (*store_apply_fn)(struct store_db *db, void *context, struct err *e);
enum err_code store_write(struct store *store, store_apply_fn apply, void *context, struct err *e) MUST_CHECK;
/* Run `apply` on the reading connection, on the caller's thread. */
enum err_code store_read(struct store *store, store_apply_fn apply, void *context, struct err *e) MUST_CHECK;

/* The same on a connection of its own, for what may take long: nobody at a terminal waits behind it. */
enum err_code store_report(struct store *store, store_apply_fn apply, void *context,
                           struct err *e) MUST_CHECK;

/* Inside an apply. */
enum err_code db_take_numbers(struct store_db *db, int64_t count, int64_t *out_first,
                              struct err *e) MUST_CHECK;

#endif

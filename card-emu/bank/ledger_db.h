/* Inside the ledger: statements by name, and how a booking becomes one transaction. */
#ifndef POSWARD_CARD_EMU_BANK_LEDGER_DB_H
#define POSWARD_CARD_EMU_BANK_LEDGER_DB_H

#include "card-emu/bank/ledger.h"

#include <sqlite3.h>

enum ledger_sql {
    BEGIN,
    COMMIT,
    ROLLBACK,
    ACCOUNT_OPEN,
    ACCOUNT_GET,
    ACCOUNT_ADD,
    ACCOUNT_TRIES,
    ENTRY_GET,
    ENTRY_PUT,
    ENTRY_FINISH,
    ENTRY_REVERSED,
    COUNTS,
    STATEMENT_COUNT
};

/* A prepared statement, reset and without bindings. Text and blobs bound to it live until it has run. */
enum err_code ledger_take(struct ledger *ledger, enum ledger_sql which, sqlite3_stmt **out_statement,
                          struct err *e) MUST_CHECK;
/* One step; *out_row: there is a row, which the caller reads and then resets. */
enum err_code ledger_step(struct ledger *ledger, sqlite3_stmt *statement, bool *out_row,
                          struct err *e) MUST_CHECK;
/* A statement that returns no row. */
enum err_code ledger_run(struct ledger *ledger, sqlite3_stmt *statement, struct err *e) MUST_CHECK;
int64_t ledger_last_id(const struct ledger *ledger);

void ledger_bind_text(sqlite3_stmt *statement, int at, const char *text);
void ledger_column_text(sqlite3_stmt *statement, int column, char *out_text, size_t capacity);

/* `book` runs alone, and all of it or nothing is committed. */
typedef enum err_code (*ledger_book_fn)(struct ledger *ledger, void *context, struct err *e);
enum err_code ledger_book(struct ledger *ledger, ledger_book_fn book, void *context,
                          struct err *e) MUST_CHECK;

#endif

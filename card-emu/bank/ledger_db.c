#include "card-emu/bank/ledger_db.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

static const char *const texts[STATEMENT_COUNT] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [ACCOUNT_OPEN] =
        "INSERT INTO accounts (pan, pin_check, expiry, balance, wrong_tries) VALUES (?1, ?2, ?3, ?4, 0) "
        "ON CONFLICT (pan) DO NOTHING",
    [ACCOUNT_GET] = "SELECT pin_check, expiry, balance, wrong_tries FROM accounts WHERE pan = ?1",
    [ACCOUNT_ADD] = "UPDATE accounts SET balance = balance + ?2 WHERE pan = ?1",
    [ACCOUNT_TRIES] = "UPDATE accounts SET wrong_tries = ?2 WHERE pan = ?1",
    [ENTRY_GET] = "SELECT id, pan, amount, response_code, authorization, reference, state FROM entries "
                  "WHERE acquirer = ?1 AND terminal_id = ?2 AND batch = ?3 AND trace = ?4",
    [ENTRY_PUT] =
        "INSERT INTO entries (acquirer, terminal_id, batch, trace, pan, amount, response_code, "
        "authorization, reference, state, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, '', '', ?8, ?9)",
    [ENTRY_FINISH] = "UPDATE entries SET authorization = ?2, reference = ?3 WHERE id = ?1",
    [ENTRY_REVERSED] = "UPDATE entries SET state = 2 WHERE id = ?1",
    [COUNTS] = "SELECT count(*) FILTER (WHERE response_code = '00'), "
               "count(*) FILTER (WHERE response_code NOT IN ('00', '')), count(*) FILTER (WHERE state = 2), "
               "(SELECT count(*) FROM accounts) FROM entries",
};

#define APPLICATION_ID 0x42414E4B /* "BANK" */

static const char schema[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA application_id = 0x42414E4B;"
    "CREATE TABLE IF NOT EXISTS accounts (pan TEXT PRIMARY KEY, pin_check BLOB NOT NULL, expiry TEXT NOT "
    "NULL,"
    " balance INTEGER NOT NULL CHECK (balance >= 0), wrong_tries INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, acquirer TEXT NOT NULL, terminal_id TEXT "
    "NOT NULL,"
    " batch TEXT NOT NULL, trace TEXT NOT NULL, pan TEXT NOT NULL, amount INTEGER NOT NULL,"
    " response_code TEXT NOT NULL, authorization TEXT NOT NULL, reference TEXT NOT NULL, state INTEGER NOT "
    "NULL,"
    " created_ms INTEGER NOT NULL, UNIQUE (acquirer, terminal_id, batch, trace));";

struct ledger {
    pthread_mutex_t lock;
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    int lock_fd; /* of PATH.lock */
};

enum err_code ledger_take(struct ledger *l, enum ledger_sql which, sqlite3_stmt **out_statement,
                          struct err *e)
{
    if (l->statements[which] == NULL && sqlite3_prepare_v3(l->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT,
                                                           &l->statements[which], NULL) != SQLITE_OK)
        return err_set(e, ERR_IO, "ledger: %s", sqlite3_errmsg(l->db));
    sqlite3_reset(l->statements[which]);
    sqlite3_clear_bindings(l->statements[which]);
    *out_statement = l->statements[which];
    return ERR_OK;
}

/* One step; *out_row: there is a row, which the caller reads before the statement is taken again or reset. */
enum err_code ledger_step(struct ledger *l, sqlite3_stmt *s, bool *out_row, struct err *e)
{
    const int rc = sqlite3_step(s);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        sqlite3_reset(s);
        return err_native(e, ERR_IO, rc, "ledger: %s", sqlite3_errmsg(l->db));
    }
    *out_row = rc == SQLITE_ROW;
    if (!*out_row)
        sqlite3_reset(s);
    return ERR_OK;
}

enum err_code ledger_run(struct ledger *l, sqlite3_stmt *s, struct err *e)
{
    bool row;
    return ledger_step(l, s, &row, e);
}

static enum err_code run_plain(struct ledger *l, enum ledger_sql which, struct err *e)
{
    sqlite3_stmt *s;
    TRY(ledger_take(l, which, &s, e));
    return ledger_run(l, s, e);
}

void ledger_bind_text(sqlite3_stmt *s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

void ledger_column_text(sqlite3_stmt *s, int column, char *out, size_t capacity)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    snprintf(out, capacity, "%s", text != NULL ? text : "");
}

int64_t ledger_last_id(const struct ledger *l)
{
    return sqlite3_last_insert_rowid(l->db);
}

/* Two banks on one set of books would not see each other's wrong PINs in time. The lock dies with the
 * process. */
static enum err_code lock_file(struct ledger *l, const char *path, struct err *e)
{
    char name[4096];
    if ((size_t)snprintf(name, sizeof name, "%s.lock", path) >= sizeof name)
        return err_set(e, ERR_INPUT, "store.path is too long");
    l->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (l->lock_fd < 0)
        return err_errno(e, "cannot open %.100s; its folder must exist and belong to the service's user",
                         name);
    if (flock(l->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(e, ERR_STATE, "another process uses the ledger %.100s; stop it first", path);
    return ERR_OK;
}

/* The first statements that read the file: what is no database is found out here too. */
static enum err_code check_owner(struct ledger *l, struct err *e)
{
    sqlite3_stmt *s = NULL;
    static const char sql[] =
        "SELECT (SELECT count(*) FROM sqlite_schema), (SELECT application_id FROM pragma_application_id)";
    int rc = sqlite3_prepare_v2(l->db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    const bool foreign =
        rc == SQLITE_ROW && sqlite3_column_int64(s, 0) != 0 && sqlite3_column_int64(s, 1) != APPLICATION_ID;
    sqlite3_finalize(s);
    if (rc != SQLITE_ROW)
        return err_native(e, ERR_IO, rc, "%s", sqlite3_errmsg(l->db));
    if (foreign)
        return err_set(e, ERR_STATE,
                       "the file is a database of another program: name another file in store.path");
    return ERR_OK;
}

static enum err_code open_db(struct ledger *l, const char *path, struct err *e)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, "cannot open");
    close(fd);
    if (sqlite3_open_v2(path, &l->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(l->db, 5000) != SQLITE_OK)
        return err_set(e, ERR_IO, "%s", sqlite3_errmsg(l->db));
    TRY(check_owner(l, e));
    if (sqlite3_exec(l->db, schema, NULL, NULL, NULL) != SQLITE_OK)
        return err_set(e, ERR_IO, "%s", sqlite3_errmsg(l->db));
    return ERR_OK;
}

enum err_code ledger_open(const char *path, struct ledger **out_ledger, struct err *e)
{
    struct ledger *l = calloc(1, sizeof *l);
    if (l == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    l->lock_fd = -1;
    pthread_mutex_init(&l->lock, NULL);
    enum err_code code = lock_file(l, path, e);
    if (code == ERR_OK && (code = open_db(l, path, e)) != ERR_OK)
        err_context(e, "ledger %.100s", path);
    if (code != ERR_OK) {
        ledger_free(l);
        return code;
    }
    *out_ledger = l;
    return ERR_OK;
}

void ledger_free(struct ledger *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(l->statements[i]);
    sqlite3_close(l->db);
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static enum err_code in_transaction(struct ledger *l, ledger_book_fn book, void *context, struct err *e)
{
    TRY(run_plain(l, BEGIN, e));
    enum err_code code = book(l, context, e);
    if (code == ERR_OK)
        code = run_plain(l, COMMIT, e);
    if (code != ERR_OK && !sqlite3_get_autocommit(l->db))
        (void)!run_plain(l, ROLLBACK, NULL);
    return code;
}

enum err_code ledger_book(struct ledger *l, ledger_book_fn book, void *context, struct err *e)
{
    pthread_mutex_lock(&l->lock);
    const enum err_code code = in_transaction(l, book, context, e);
    pthread_mutex_unlock(&l->lock);
    return code;
}

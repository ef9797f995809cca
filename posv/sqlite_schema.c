#include "posv/sqlite.h"

#include <stdio.h>
#include <string.h>

#define APPLICATION_ID 0x504F5356 /* "POSV" */

/* migrations[n] brings a file of version n to version n + 1. A released one never changes.
 * card_key is device_card_key(): the two partial indexes are the rule "one card a terminal, one terminal a
 * card". */
static const char *const migrations[] = {
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
    "CREATE INDEX card_stay_by_card ON card_stay (card_key, from_ms);",
};
#define SCHEMA_VERSION ((int)(sizeof migrations / sizeof migrations[0]))

static enum err_code read_number(struct sqlite_link *link, const char *sql, int64_t *out_number,
                                 struct err *e)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(link->db, sql, -1, &statement, NULL);
    if (result != SQLITE_OK)
        return sqlite_failure(link->db, result, e);
    result = sqlite3_step(statement);
    enum err_code code = ERR_OK;
    if (result == SQLITE_ROW)
        *out_number = sqlite3_column_int64(statement, 0);
    else
        code = sqlite_failure(link->db, result, e);
    sqlite3_finalize(statement);
    return code;
}

static enum err_code check_integrity(struct sqlite_link *link, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(link->db, "PRAGMA integrity_check(1)", -1, &statement, NULL);
    if (result != SQLITE_OK)
        return sqlite_failure(link->db, result, e);
    result = sqlite3_step(statement);
    enum err_code code = ERR_OK;
    const char *finding = result == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (finding == NULL)
        code = sqlite_failure(link->db, result, e);
    else if (strcmp(finding, "ok") != 0)
        code = err_native(e, ERR_IO, SQLITE_CORRUPT,
                          "the database file is damaged (%.60s): restore it from a backup", finding);
    sqlite3_finalize(statement);
    return code;
}

static enum err_code check_owner(struct sqlite_link *link, int64_t version, struct err *e)
{
    int64_t application = 0, tables = 0;
    TRY(read_number(link, "PRAGMA application_id", &application, e));
    TRY(read_number(link, "SELECT count(*) FROM sqlite_schema", &tables, e));
    if (application != APPLICATION_ID && (application != 0 || version != 0 || tables != 0))
        return err_set(e, ERR_IO,
                       "the file is a database of another program: name another file in store.path");
    if (version > SCHEMA_VERSION)
        return err_set(
            e, ERR_UNSUPPORTED,
            "schema version %lld is newer than this release knows (%d): start the release that made it",
            (long long)version, SCHEMA_VERSION);
    return ERR_OK;
}

static enum err_code migrate_one(struct sqlite_link *link, int version, struct err *e)
{
    char mark[80];
    snprintf(mark, sizeof mark, "PRAGMA application_id=%d; PRAGMA user_version=%d", APPLICATION_ID,
             version + 1);
    TRY(sqlite_execute(link, migrations[version], e));
    TRY(sqlite_execute(link, mark, e));
    return sqlite_execute(link, "COMMIT", e);
}

static enum err_code migrate(struct sqlite_link *link, int version, struct err *e)
{
    for (; version < SCHEMA_VERSION; version++) {
        TRY(sqlite_execute(link, "BEGIN IMMEDIATE", e));
        const enum err_code code = migrate_one(link, version, e);
        if (code != ERR_OK) {
            sqlite3_exec(link->db, "ROLLBACK", NULL, NULL, NULL);
            return code;
        }
    }
    return ERR_OK;
}

static enum err_code prepare(struct sqlite_link *link, struct err *e)
{
    TRY(check_integrity(link, e));
    int64_t version = 0;
    TRY(read_number(link, "PRAGMA user_version", &version, e));
    TRY(check_owner(link, version, e));
    return migrate(link, (int)version, e);
}

enum err_code sqlite_schema_prepare(struct sqlite_link *link, const char *path, struct err *e)
{
    const enum err_code code = prepare(link, e);
    if (code != ERR_OK)
        err_context(e, "%s", path);
    return code;
}

#include "posp/store_sql.h"

#include <string.h>

#define JOURNAL_COLUMNS                                                                                      \
    "id, terminal_id, batch, trace, merchant_id, masked_pan, processing_code, amount, currency, "            \
    "entry_mode, "                                                                                           \
    "mac, generation, unit, response_code, reference, authorization, answer, state, created_ms"

/* Rows with the number of their blobs. */
#define BLOBS(version)                                                                                       \
    "SELECT " version ", (length(pik) > 0) + (length(mak) > 0) + (length(tdk) > 0) AS blobs FROM key_sets "  \
    "UNION ALL SELECT " version ", length(tmk) > 0 FROM cards"

#define SEALED_SET                                                                                           \
    "SELECT terminal_id, generation, pik, mak, tdk, storage_version, tag_version FROM key_sets WHERE "
#define SEALED_CARD "SELECT psam_number, 0, tmk, x'', x'', storage_version, tag_version FROM cards WHERE "

static const char *const texts[SQL_COUNT_] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_SAVEPOINT] = "SAVEPOINT one",
    [SQL_SAVEPOINT_ROLLBACK] = "ROLLBACK TO one",
    [SQL_SAVEPOINT_RELEASE] = "RELEASE one",
    [SQL_SEQUENCE_TAKE] = "UPDATE sequence SET value = value + ?1 RETURNING value",
    [SQL_DEVICE_PUT] =
        "INSERT INTO devices (terminal_id, merchant_id, psam_number, suite, master_version, state, "
        "revision, wrap_version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (terminal_id) DO "
        "UPDATE SET merchant_id = ?2, psam_number = ?3, suite = ?4, master_version = ?5, state = ?6, "
        "revision = ?7, wrap_version = ?8 WHERE revision <= ?7",
    [SQL_DEVICES_CLEAR] = "DELETE FROM devices",
    [SQL_DEVICE_GET] = "SELECT terminal_id, merchant_id, psam_number, suite, master_version, state, "
                       "revision, wrap_version FROM devices WHERE terminal_id = ?1",
    [SQL_REVISION_PUT] = "UPDATE followed SET revision = ?1",
    [SQL_PROGRESS] = "SELECT revision, (SELECT count(*) FROM devices) FROM followed",
    [SQL_KEYS_DROP_UNUSED] = "DELETE FROM key_sets WHERE terminal_id = ?1 AND used = 0",
    [SQL_KEYS_DROP_OLDER] = "DELETE FROM key_sets WHERE terminal_id = ?1 AND generation < ?2",
    [SQL_KEYS_PUT] =
        "INSERT INTO key_sets (terminal_id, generation, psam_number, suite, pik, mak, tdk, used, "
        "created_ms, storage_version, tag_version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9, ?10)",
    [SQL_KEYS_GET] = "SELECT generation, psam_number, suite, pik, mak, tdk, used FROM key_sets "
                     "WHERE terminal_id = ?1 ORDER BY generation DESC LIMIT 2",
    [SQL_KEYS_USED] = "UPDATE key_sets SET used = 1 WHERE terminal_id = ?1 AND generation = ?2",
    [SQL_CARD_PUT] =
        "INSERT INTO cards (psam_number, suite, master_version, kcv, tmk, state, updated_ms, "
        "storage_version, tag_version, control_suite, control_version, wrap_version) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT (psam_number) DO UPDATE SET "
        "suite = ?2, master_version = ?3, kcv = ?4, tmk = ?5, state = ?6, updated_ms = ?7, "
        "storage_version = ?8, tag_version = ?9, control_suite = ?10, control_version = ?11, "
        "wrap_version = ?12",
    [SQL_CARD_GET] = "SELECT psam_number, suite, master_version, kcv, tmk, state, updated_ms, "
                     "storage_version, tag_version, control_suite, control_version, wrap_version "
                     "FROM cards WHERE psam_number = ?1",
    [SQL_CARD_WRITTEN] = "UPDATE cards SET state = ?3, updated_ms = ?4 WHERE psam_number = ?1 AND kcv = ?2",
    [SQL_SEALED_SETS] = SEALED_SET
    "terminal_id > ?1 OR (terminal_id = ?1 AND generation > ?2) ORDER BY terminal_id, generation LIMIT ?3",
    [SQL_SEALED_CARDS] = SEALED_CARD "psam_number > ?1 AND 0 = ?2 ORDER BY psam_number LIMIT ?3",
    [SQL_SEALED_OF_TERMINAL] = SEALED_SET "terminal_id = ?1 ORDER BY generation DESC LIMIT 3",
    [SQL_SEALED_CARD_OF_TERMINAL] =
        SEALED_CARD "psam_number = (SELECT psam_number FROM devices WHERE terminal_id = ?1)",
    [SQL_SEALED_SET_SWAP] =
        "UPDATE key_sets SET pik = ?6, mak = ?7, tdk = ?8, storage_version = ?9, tag_version = ?10 "
        "WHERE terminal_id = ?1 AND generation = ?2 AND pik = ?3 AND mak = ?4 AND tdk = ?5",
    [SQL_SEALED_CARD_SWAP] = "UPDATE cards SET tmk = ?6, storage_version = ?9, tag_version = ?10 "
                             "WHERE psam_number = ?1 AND tmk = ?3",
    [SQL_USE_MASTER] =
        "SELECT suite, master_version, count(*) FROM (SELECT psam_number, suite, master_version FROM devices "
        "WHERE state <> 3 UNION SELECT psam_number, suite, master_version FROM cards) GROUP BY 1, 2",
    [SQL_USE_CONTROL] = "SELECT control_suite, control_version, count(*) FROM cards GROUP BY 1, 2",
    [SQL_USE_STORAGE] =
        "SELECT 0, storage_version, sum(blobs) FROM (" BLOBS("storage_version") ") GROUP BY 2",
    [SQL_USE_TAG] = "SELECT 0, tag_version, sum(blobs) FROM (" BLOBS("tag_version") ") GROUP BY 2",
    [SQL_JOURNAL_BEGIN] =
        "INSERT INTO journal (" JOURNAL_COLUMNS
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, '', ?14, '', x'', 1, ?15)",
    [SQL_JOURNAL_SETTLE] =
        "UPDATE journal SET response_code = ?2, authorization = ?3, answer = ?4, state = max(state, ?5) "
        "WHERE id = ?1 AND (state = 1 OR ?5 <> 2 OR ?2 <> '00')",
    [SQL_JOURNAL_GET] =
        "SELECT " JOURNAL_COLUMNS " FROM journal WHERE terminal_id = ?1 AND batch = ?2 AND trace = ?3",
    [SQL_JOURNAL_RECOVER] = "UPDATE journal SET state = 3 WHERE state = 1 AND created_ms < ?1",
    [SQL_JOURNAL_NEXT_REVERSAL] =
        "SELECT " JOURNAL_COLUMNS " FROM journal WHERE state = 3 AND id > ?1 ORDER BY id LIMIT 1",
    [SQL_JOURNAL_REVERSED] = "UPDATE journal SET state = 4 WHERE id = ?1 AND state = 3",
    [SQL_JOURNAL_LIST] =
        "SELECT " JOURNAL_COLUMNS " FROM journal WHERE (?2 = 0 OR id < ?2) ORDER BY id DESC LIMIT ?3",
    [SQL_JOURNAL_LIST_TERMINAL] = "SELECT " JOURNAL_COLUMNS " FROM journal WHERE terminal_id = ?1 AND "
                                  "(?2 = 0 OR id < ?2) ORDER BY id DESC LIMIT ?3",
    [SQL_JOURNAL_COUNT] = "SELECT transactions, approved, declined, reversing FROM counts",
};

enum err_code db_take(struct store_db *db, enum store_sql which, sqlite3_stmt **out_statement, struct err *e)
{
    if (db->statements[which] == NULL) {
        const int rc = sqlite3_prepare_v3(db->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT,
                                          &db->statements[which], NULL);
        if (rc != SQLITE_OK)
            return err_native(e, ERR_IO, rc, "the store refuses statement %d: %s", (int)which,
                              sqlite3_errmsg(db->db));
    }
    *out_statement = db->statements[which];
    return ERR_OK;
}

enum err_code db_step(struct store_db *db, sqlite3_stmt *statement, bool *out_row, struct err *e)
{
    const int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
        *out_row = rc == SQLITE_ROW;
        return ERR_OK;
    }
    const enum err_code code = rc == SQLITE_CONSTRAINT ? ERR_EXISTS : ERR_IO;
    err_native(e, code, sqlite3_extended_errcode(db->db), "store: %s", sqlite3_errmsg(db->db));
    db_give(statement);
    return code;
}

void db_give(sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

enum err_code db_run(struct store_db *db, sqlite3_stmt *statement, struct err *e)
{
    bool row;
    TRY(db_step(db, statement, &row, e));
    db_give(statement);
    return ERR_OK;
}

enum err_code db_run_plain(struct store_db *db, enum store_sql which, struct err *e)
{
    sqlite3_stmt *statement;
    TRY(db_take(db, which, &statement, e));
    return db_run(db, statement, e);
}

void db_bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

void db_bind_blob(sqlite3_stmt *statement, int at, const void *bytes, size_t len)
{
    if (len == 0)
        sqlite3_bind_zeroblob(statement, at, 0);
    else
        sqlite3_bind_blob(statement, at, bytes, (int)len, SQLITE_STATIC);
}

void db_text(sqlite3_stmt *statement, int column, char *out_text, size_t capacity)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    const size_t len = text != NULL ? strnlen(text, capacity - 1) : 0;
    if (len > 0)
        memcpy(out_text, text, len);
    out_text[len] = '\0';
}

size_t db_blob(sqlite3_stmt *statement, int column, void *out_bytes, size_t capacity)
{
    const void *bytes = sqlite3_column_blob(statement, column);
    size_t len = (size_t)sqlite3_column_bytes(statement, column);
    if (len > capacity)
        len = capacity;
    if (len > 0)
        memcpy(out_bytes, bytes, len);
    return len;
}

enum err_code db_take_numbers(struct store_db *db, int64_t count, int64_t *out_first, struct err *e)
{
    sqlite3_stmt *s;
    bool row;
    TRY(db_take(db, SQL_SEQUENCE_TAKE, &s, e));
    sqlite3_bind_int64(s, 1, count);
    TRY(db_step(db, s, &row, e));
    if (!row) {
        db_give(s);
        return err_set(e, ERR_INTERNAL, "the store has no sequence");
    }
    const int64_t first = sqlite3_column_int64(s, 0) - count + 1;
    /* RETURNING hands its rows out before the statement is done. */
    TRY(db_step(db, s, &row, e));
    db_give(s);
    *out_first = first;
    return ERR_OK;
}

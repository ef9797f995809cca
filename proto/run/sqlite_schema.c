#include "run/sqlite.h"

#include <stdio.h>
#include <string.h>

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

static enum err_code check_owner(struct sqlite_link *link, const struct sqlite_schema *schema,
                                 int64_t version, struct err *e)
{
    int64_t application = 0, tables = 0;
    TRY(read_number(link, "PRAGMA application_id", &application, e));
    TRY(read_number(link, "SELECT count(*) FROM sqlite_schema", &tables, e));
    if (application != schema->application_id && (application != 0 || version != 0 || tables != 0))
        return err_set(e, ERR_STATE, "the file is a database of another program: name another file in %s",
                       schema->key);
    if (version > schema->version)
        return err_set(
            e, ERR_UNSUPPORTED,
            "schema version %lld is newer than this release knows (%d): start the release that made it",
            (long long)version, schema->version);
    return ERR_OK;
}

static enum err_code migrate_one(struct sqlite_link *link, const struct sqlite_schema *schema, int version,
                                 struct err *e)
{
    char mark[80];
    snprintf(mark, sizeof mark, "PRAGMA application_id=%d; PRAGMA user_version=%d", schema->application_id,
             version + 1);
    TRY(sqlite_execute(link, schema->migrations[version], e));
    TRY(sqlite_execute(link, mark, e));
    return sqlite_execute(link, "COMMIT", e);
}

static enum err_code migrate(struct sqlite_link *link, const struct sqlite_schema *schema, int version,
                             struct err *e)
{
    for (; version < schema->version; version++) {
        TRY(sqlite_execute(link, "BEGIN IMMEDIATE", e));
        const enum err_code code = migrate_one(link, schema, version, e);
        if (code != ERR_OK) {
            sqlite_rollback(link);
            return code;
        }
    }
    return ERR_OK;
}

static enum err_code prepare(struct sqlite_link *link, const struct sqlite_schema *schema, struct err *e)
{
    TRY(check_integrity(link, e));
    int64_t version = 0;
    TRY(read_number(link, "PRAGMA user_version", &version, e));
    TRY(check_owner(link, schema, version, e));
    return migrate(link, schema, (int)version, e);
}

enum err_code sqlite_schema_prepare(struct sqlite_link *link, const struct sqlite_schema *schema,
                                    const char *path, struct err *e)
{
    const enum err_code code = prepare(link, schema, e);
    if (code != ERR_OK)
        err_context(e, "%s", path);
    return code;
}

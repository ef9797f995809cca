#include "run/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

static const struct {
    int result;
    enum err_code code;
    const char *advice;
} results[] = {
    {SQLITE_BUSY, ERR_UNAVAILABLE, "the database is locked by another process; try again"},
    {SQLITE_LOCKED, ERR_UNAVAILABLE, "the database is locked; try again"},
    {SQLITE_CONSTRAINT, ERR_EXISTS, "the change contradicts the table"},
    {SQLITE_CORRUPT, ERR_IO, "the database file is damaged: stop the service and restore it from a backup"},
    {SQLITE_NOTADB, ERR_IO, "the file is not a database: restore it from a backup"},
    {SQLITE_FULL, ERR_UNAVAILABLE, "the disk is full: make room, then try again"},
    {SQLITE_READONLY, ERR_IO, "the file is read-only: give it to the service's user"},
    {SQLITE_CANTOPEN, ERR_IO,
     "the file cannot be opened: its folder must exist and belong to the service's user"},
    {SQLITE_IOERR, ERR_IO, "the disk failed"},
    {SQLITE_PERM, ERR_IO, "access is denied: give the file to the service's user"},
    {SQLITE_NOMEM, ERR_LIMIT, "out of memory"},
};

enum err_code sqlite_failure(sqlite3 *db, int result, struct err *e)
{
    const char *message = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(result);
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++)
        if ((result & 0xFF) == results[i].result)
            return err_native(e, results[i].code, result, "%s (SQLite: %s)", results[i].advice, message);
    return err_native(e, ERR_INTERNAL, result, "SQLite: %s", message);
}

enum err_code sqlite_execute(struct sqlite_link *link, const char *sql, struct err *e)
{
    const int result = sqlite3_exec(link->db, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? ERR_OK : sqlite_failure(link->db, result, e);
}

static enum err_code open_and_set(struct sqlite_link *link, const char *path, enum sqlite_mode mode,
                                  int64_t busy_timeout_ms, struct err *e)
{
    const int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (mode == SQLITE_WRITER ? SQLITE_OPEN_CREATE : 0);
    const int result = sqlite3_open_v2(path, &link->db, flags, NULL);
    if (result != SQLITE_OK)
        return sqlite_failure(link->db, result, e);
    sqlite3_extended_result_codes(link->db, 1);
    sqlite3_busy_timeout(link->db, (int)busy_timeout_ms);
    if (mode == SQLITE_READER)
        return sqlite_execute(link, "PRAGMA query_only=1", e);
    return sqlite_execute(link,
                          "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=1;"
                          "PRAGMA cell_size_check=1",
                          e);
}

enum err_code sqlite_link_open(struct sqlite_link *link, const char *path, enum sqlite_mode mode,
                               int64_t busy_timeout_ms, struct err *e)
{
    const enum err_code code = open_and_set(link, path, mode, busy_timeout_ms, e);
    if (code == ERR_OK)
        return ERR_OK;
    sqlite_link_close(link);
    err_context(e, "%s", path);
    return code;
}

void sqlite_link_close(struct sqlite_link *link)
{
    for (int i = 0; i < SQLITE_STATEMENTS_MOST; i++) {
        sqlite3_finalize(link->statements[i]);
        link->statements[i] = NULL;
    }
    sqlite3_close(link->db);
    link->db = NULL;
}

enum err_code sqlite_take(struct sqlite_link *link, int number, sqlite3_stmt **out_statement, struct err *e)
{
    if (link->statements[number] == NULL) {
        const int result = sqlite3_prepare_v3(link->db, link->sql[number], -1, SQLITE_PREPARE_PERSISTENT,
                                              &link->statements[number], NULL);
        if (result != SQLITE_OK)
            return sqlite_failure(link->db, result, e);
    }
    sqlite3_reset(link->statements[number]);
    sqlite3_clear_bindings(link->statements[number]);
    *out_statement = link->statements[number];
    return ERR_OK;
}

enum err_code sqlite_step(struct sqlite_link *link, sqlite3_stmt *statement, bool *out_row, struct err *e)
{
    const int result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        *out_row = true;
        return ERR_OK;
    }
    enum err_code code = ERR_OK;
    if (result != SQLITE_DONE)
        code = sqlite_failure(link->db, result, e);
    else
        *out_row = false;
    sqlite3_reset(statement); /* ends the read snapshot, so that checkpoints can proceed */
    return code;
}

enum err_code sqlite_run(struct sqlite_link *link, sqlite3_stmt *statement, struct err *e)
{
    bool row = true;
    while (row)
        TRY(sqlite_step(link, statement, &row, e));
    return ERR_OK;
}

void sqlite_rollback(struct sqlite_link *link)
{
    if (!sqlite3_get_autocommit(link->db)) /* some failures roll back by themselves */
        sqlite3_exec(link->db, "ROLLBACK", NULL, NULL, NULL);
}

void sqlite_bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    sqlite3_bind_text(statement, index, text, -1, SQLITE_TRANSIENT);
}

void sqlite_read_text(sqlite3_stmt *row, int column, char *out_text, size_t capacity)
{
    const unsigned char *const text = sqlite3_column_text(row, column);
    snprintf(out_text, capacity, "%s", text != NULL ? (const char *)text : "");
}

enum err_code sqlite_lock(const char *path, const char *program, int *out_fd, struct err *e)
{
    char name[PATH_MAX + 8];
    snprintf(name, sizeof name, "%s.lock", path);
    const int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, "%s: its folder must exist and belong to the service's user", name);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *out_fd = fd;
        return ERR_OK;
    }
    const int failed = errno;
    close(fd);
    errno = failed;
    if (failed == EWOULDBLOCK)
        return err_set(e, ERR_STATE, "%s: another %s serves this file", path, program);
    return err_errno(e, "%s", name);
}

/* One SQLite connection with its prepared statements, how result codes become errors, and whose file it is.
 */
#ifndef POSWARD_RUN_SQLITE_H
#define POSWARD_RUN_SQLITE_H

#include "base/err.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#define SQLITE_STATEMENTS_MOST 32

struct sqlite_link {
    sqlite3 *db;
    const char *const *sql; /* by statement number */
    sqlite3_stmt *statements[SQLITE_STATEMENTS_MOST];
    struct sqlite_link *next; /* for a pool's list */
};

enum sqlite_mode { SQLITE_WRITER, SQLITE_READER };

/* Open `path` in WAL mode with synchronous=FULL: a commit that returned is on disk. A writer makes the file.
 */
enum err_code sqlite_link_open(struct sqlite_link *link, const char *path, enum sqlite_mode mode,
                               int64_t busy_timeout_ms, struct err *e) MUST_CHECK;
/* Accepts a zeroed one. */
void sqlite_link_close(struct sqlite_link *link);

/* The statement, prepared once, reset and without bindings. */
enum err_code sqlite_take(struct sqlite_link *link, int number, sqlite3_stmt **out_statement,
                          struct err *e) MUST_CHECK;
/* Step: *out_row tells whether there is a row. The statement is reset at its end and on failure. */
enum err_code sqlite_step(struct sqlite_link *link, sqlite3_stmt *statement, bool *out_row,
                          struct err *e) MUST_CHECK;
/* Step a statement that returns nothing. */
enum err_code sqlite_run(struct sqlite_link *link, sqlite3_stmt *statement, struct err *e) MUST_CHECK;
/* SQL without parameters and results. */
enum err_code sqlite_execute(struct sqlite_link *link, const char *sql, struct err *e) MUST_CHECK;

/* The class for a result code, with SQLite's message and what to do next. */
enum err_code sqlite_failure(sqlite3 *db, int result, struct err *e);

/* End a transaction that failed. */
void sqlite_rollback(struct sqlite_link *link);

/* A copy of `text`; memory that fails shows at the step. */
void sqlite_bind_text(sqlite3_stmt *statement, int index, const char *text);
/* Copy a column, cut to the capacity; "" for NULL. */
void sqlite_read_text(sqlite3_stmt *row, int column, char *out_text, size_t capacity);

/* Whose file it is, and how it came to be. */
struct sqlite_schema {
    int application_id;
    const char *const *migrations; /* [n] brings a file of version n to n + 1; a released one never changes */
    int version;                   /* how many there are */
    const char *key;               /* of the configuration, which names the file: "store.path" */
};
/* Refuse a damaged file, one of another program and one of a newer release; bring an older one up to date,
 * each step in a transaction. On the writer's connection, before others open. */
enum err_code sqlite_schema_prepare(struct sqlite_link *link, const struct sqlite_schema *schema,
                                    const char *path, struct err *e) MUST_CHECK;
/* One process a file, by a lock on PATH.lock that the kernel lets go of when the process ends, however it
 * ends. ERR_STATE: another `program` has it. */
enum err_code sqlite_lock(const char *path, const char *program, int *out_fd, struct err *e) MUST_CHECK;

#endif

#include "hsm-service/control/store.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define BUSY_MS 5000

/* A key, or the policy, has one open proposal at a time: two could contradict each other. */
static const char *const migrations[] = {
    "CREATE TABLE proposal ("
    " number INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE CHECK (length(id) = 12),"
    " state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 6),"
    " label TEXT NOT NULL,"
    " summary TEXT NOT NULL,"
    " reason TEXT NOT NULL,"
    " proposed_by TEXT NOT NULL,"
    " proposed_ms INTEGER NOT NULL,"
    " expires_ms INTEGER NOT NULL,"
    " approvals_needed INTEGER NOT NULL CHECK (approvals_needed BETWEEN 2 AND 8),"
    " attempts INTEGER NOT NULL,"
    " request BLOB NOT NULL,"
    " outcome BLOB,"
    " would_break TEXT NOT NULL,"
    " detail TEXT NOT NULL,"
    " closed_by TEXT NOT NULL,"
    " closed_ms INTEGER NOT NULL"
    ") STRICT;"
    "CREATE UNIQUE INDEX one_open_proposal_a_key ON proposal (label) WHERE state <= 2;"
    "CREATE INDEX proposal_by_state ON proposal (state, expires_ms);"
    "CREATE INDEX proposal_by_label ON proposal (label, number);"
    "CREATE TABLE approval ("
    " id INTEGER PRIMARY KEY,"
    " proposal INTEGER NOT NULL REFERENCES proposal (number),"
    " identity TEXT NOT NULL,"
    " at_ms INTEGER NOT NULL,"
    " UNIQUE (proposal, identity)"
    ") STRICT;"
    "CREATE TABLE component ("
    " proposal INTEGER NOT NULL REFERENCES proposal (number),"
    " number INTEGER NOT NULL CHECK (number BETWEEN 1 AND 9),"
    " identity TEXT NOT NULL,"
    " kcv BLOB NOT NULL CHECK (length(kcv) = 3),"
    " at_ms INTEGER NOT NULL,"
    " ciphertext BLOB,"
    " PRIMARY KEY (proposal, number),"
    " UNIQUE (proposal, identity)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE policy ("
    " only_row INTEGER PRIMARY KEY CHECK (only_row = 1),"
    " message BLOB NOT NULL"
    ") STRICT;"
    "CREATE TABLE reporter ("
    " identity TEXT PRIMARY KEY,"
    " reported_ms INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE key_use ("
    " reporter TEXT NOT NULL REFERENCES reporter (identity),"
    " label TEXT NOT NULL,"
    " what TEXT NOT NULL,"
    " count INTEGER NOT NULL,"
    " PRIMARY KEY (reporter, label, what)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE destroyed_key ("
    " label TEXT PRIMARY KEY,"
    " message BLOB NOT NULL"
    ") STRICT, WITHOUT ROWID;",
};

static const struct sqlite_schema schema = {
    .application_id = 0x504F5348, /* "POSH" */
    .migrations = migrations,
    .version = (int)(sizeof migrations / sizeof migrations[0]),
    .key = "keymgmt.path",
};

#define COLUMNS                                                                                              \
    "number, id, state, label, summary, reason, proposed_by, proposed_ms, expires_ms, approvals_needed,"     \
    " attempts, request, outcome, would_break, detail, closed_by, closed_ms"

static const char *const statements[SQL_COUNT_] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_INSERT_PROPOSAL] =
        "INSERT INTO proposal (id, state, label, summary, reason, proposed_by, proposed_ms, expires_ms,"
        " approvals_needed, attempts, request, outcome, would_break, detail, closed_by, closed_ms)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10, ?11, ?12, '', '', 0) RETURNING number",
    [SQL_UPDATE_PROPOSAL] =
        "UPDATE proposal SET state = ?2, approvals_needed = ?3, attempts = ?4, request = ?5,"
        " outcome = ?6, would_break = ?7, detail = ?8, closed_by = ?9, closed_ms = ?10"
        " WHERE number = ?1",
    [SQL_PROPOSAL_BY_ID] = "SELECT " COLUMNS " FROM proposal WHERE id = ?1",
    [SQL_PROPOSALS] = "SELECT " COLUMNS " FROM proposal WHERE ?1 OR state <= 2 ORDER BY number DESC LIMIT ?2",
    [SQL_PROPOSALS_OF_KEY] =
        "SELECT " COLUMNS " FROM proposal WHERE label = ?1 ORDER BY number DESC LIMIT ?2",
    [SQL_PROPOSALS_IN_STATE] = "SELECT " COLUMNS " FROM proposal WHERE state = ?1 AND expires_ms <= ?2"
                               " ORDER BY expires_ms, number LIMIT ?3",
    [SQL_OPEN_OF_KEY] = "SELECT " COLUMNS " FROM proposal WHERE label = ?1 AND state <= 2",
    [SQL_COUNT_STATES] = "SELECT state, count(*), min(proposed_ms) FROM proposal GROUP BY state",
    [SQL_COUNT_PENDING_OF] =
        "SELECT count(*) FROM proposal WHERE state = 1 AND (?1 = '' OR proposed_by = ?1)",
    [SQL_INSERT_APPROVAL] = "INSERT INTO approval (proposal, identity, at_ms) VALUES (?1, ?2, ?3)",
    [SQL_APPROVALS] = "SELECT identity, at_ms FROM approval WHERE proposal = ?1 ORDER BY id",
    [SQL_INSERT_COMPONENT] = "INSERT INTO component (proposal, number, identity, kcv, at_ms, ciphertext)"
                             " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [SQL_COMPONENTS] =
        "SELECT identity, kcv, at_ms, ciphertext FROM component WHERE proposal = ?1 ORDER BY number",
    [SQL_FORGET_COMPONENTS] = "UPDATE component SET ciphertext = NULL WHERE proposal = ?1",
    [SQL_GET_POLICY] = "SELECT message FROM policy",
    [SQL_PUT_POLICY] = "INSERT OR REPLACE INTO policy VALUES (1, ?1)",
    [SQL_PUT_REPORTER] =
        "INSERT INTO reporter VALUES (?1, ?2) ON CONFLICT (identity) DO UPDATE SET reported_ms = ?2",
    [SQL_FORGET_USES] = "DELETE FROM key_use WHERE reporter = ?1",
    [SQL_INSERT_USE] = "INSERT INTO key_use VALUES (?1, ?2, ?3, ?4)"
                       " ON CONFLICT (reporter, label, what) DO UPDATE SET count = count + ?4",
    [SQL_USES] = "SELECT reporter.identity, reporter.reported_ms, label, what, count FROM key_use"
                 " JOIN reporter ON reporter.identity = key_use.reporter WHERE label = ?1 AND count > 0"
                 " ORDER BY 1, what LIMIT ?2",
    [SQL_REPORTERS] = "SELECT count(*) FROM reporter",
    [SQL_INSERT_DESTROYED] = "INSERT OR REPLACE INTO destroyed_key VALUES (?1, ?2)",
    [SQL_DESTROYED] = "SELECT message FROM destroyed_key ORDER BY label",
};

/* SQLite would make the file as the umask says. */
static enum err_code make_file(const char *path, struct err *e)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, "%s: its folder must exist and belong to the service's user", path);
    close(fd);
    return ERR_OK;
}

static enum err_code open_all(struct control_store *s, const char *path, struct err *e)
{
    if (strlen(path) >= PATH_MAX)
        return err_set(e, ERR_INPUT, "keymgmt.path is longer than %d characters", PATH_MAX - 1);
    TRY(sqlite_lock(path, "posward-hsm", &s->lock_fd, e));
    TRY(make_file(path, e));
    TRY(sqlite_link_open(&s->link, path, SQLITE_WRITER, BUSY_MS, e));
    TRY(sqlite_schema_prepare(&s->link, &schema, path, e));
    /* What is deleted was enciphered, and still need not stay readable in free pages. */
    return sqlite_execute(&s->link, "PRAGMA secure_delete=1", e);
}

enum err_code control_store_open(struct control_store *s, const char *path, struct err *e)
{
    _Static_assert(SQL_COUNT_ <= SQLITE_STATEMENTS_MOST, "a statement has no place");
    *s = (struct control_store){.link = {.sql = statements}, .lock_fd = -1};
    const enum err_code code = open_all(s, path, e);
    if (code != ERR_OK)
        control_store_close(s);
    return code;
}

void control_store_close(struct control_store *s)
{
    sqlite_link_close(&s->link);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    s->lock_fd = -1;
}

enum err_code control_take(struct control_store *s, enum control_sql which, sqlite3_stmt **out_statement,
                           struct err *e)
{
    return sqlite_take(&s->link, (int)which, out_statement, e);
}

static enum err_code run_plain(struct control_store *s, enum control_sql which, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    TRY(control_take(s, which, &statement, e));
    return sqlite_run(&s->link, statement, e);
}

enum err_code control_transaction(struct control_store *s, control_step_fn step, void *context, struct err *e)
{
    TRY(run_plain(s, SQL_BEGIN, e));
    enum err_code code = step(s, context, e);
    if (code == ERR_OK)
        code = run_plain(s, SQL_COMMIT, e);
    if (code != ERR_OK)
        sqlite_rollback(&s->link);
    return code;
}

enum err_code control_number(struct control_store *s, sqlite3_stmt *statement, int64_t *out_number,
                             struct err *e)
{
    bool row = false;
    TRY(sqlite_step(&s->link, statement, &row, e));
    if (row)
        *out_number = sqlite3_column_int64(statement, 0);
    return row ? sqlite_run(&s->link, statement, e)
               : err_set(e, ERR_INTERNAL, "a statement that counts gave no row");
}

#include "posp/store_sql.h"
#include "run/sqlite.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS   5000
#define BATCH_MAX 256 /* writes joined in one commit */

static const char *const migrations[] = {
    "CREATE TABLE sequence (value INTEGER NOT NULL);"
    "INSERT INTO sequence VALUES (0);"
    "CREATE TABLE followed (revision INTEGER NOT NULL);"
    "INSERT INTO followed VALUES (0);"
    "CREATE TABLE devices (terminal_id TEXT PRIMARY KEY, merchant_id TEXT NOT NULL, psam_number TEXT NOT "
    "NULL,"
    " suite INTEGER NOT NULL, master_version INTEGER NOT NULL, state INTEGER NOT NULL,"
    " revision INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE key_sets (terminal_id TEXT NOT NULL, generation INTEGER NOT NULL, psam_number TEXT NOT "
    "NULL,"
    " suite INTEGER NOT NULL, pik BLOB NOT NULL, mak BLOB NOT NULL, tdk BLOB NOT NULL, used INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, PRIMARY KEY (terminal_id, generation)) WITHOUT ROWID;"
    "CREATE TABLE cards (psam_number TEXT PRIMARY KEY, suite INTEGER NOT NULL, master_version INTEGER NOT "
    "NULL,"
    " kcv BLOB NOT NULL, tmk BLOB NOT NULL, state INTEGER NOT NULL, updated_ms INTEGER NOT NULL) WITHOUT "
    "ROWID;"
    "CREATE TABLE journal (id INTEGER PRIMARY KEY, terminal_id TEXT NOT NULL, batch TEXT NOT NULL,"
    " trace TEXT NOT NULL, merchant_id TEXT NOT NULL, masked_pan TEXT NOT NULL, processing_code TEXT NOT "
    "NULL,"
    " amount TEXT NOT NULL, currency TEXT NOT NULL, entry_mode TEXT NOT NULL, mac BLOB NOT NULL,"
    " generation INTEGER NOT NULL, unit TEXT NOT NULL, response_code TEXT NOT NULL, reference TEXT NOT NULL,"
    " authorization TEXT NOT NULL, answer BLOB NOT NULL, state INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    " UNIQUE (terminal_id, batch, trace));"
    "CREATE INDEX journal_forwarded ON journal (created_ms) WHERE state = 1;"
    "CREATE INDEX journal_reversing ON journal (id) WHERE state = 3;"
    "CREATE INDEX journal_terminal ON journal (terminal_id, id);"
    /* Counted as it changes: a status request must not read the whole journal. */
    "CREATE TABLE counts (transactions INTEGER NOT NULL, approved INTEGER NOT NULL, declined INTEGER NOT "
    "NULL,"
    " reversing INTEGER NOT NULL);"
    "INSERT INTO counts VALUES (0, 0, 0, 0);"
    "CREATE TRIGGER journal_begun AFTER INSERT ON journal BEGIN"
    " UPDATE counts SET transactions = transactions + 1; END;"
    "CREATE TRIGGER journal_changed AFTER UPDATE OF state, response_code ON journal BEGIN UPDATE counts SET"
    " approved = approved + (new.state = 2 AND new.response_code = '00')"
    " - (old.state = 2 AND old.response_code = '00'),"
    " declined = declined + (new.response_code NOT IN ('00', '')) - (old.response_code NOT IN ('00', '')),"
    " reversing = reversing + (new.state = 3) - (old.state = 3); END;",
    /* Which of the token's keys a row depends on; 0: not known, as it was made before. */
    "ALTER TABLE key_sets ADD COLUMN storage_version INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE key_sets ADD COLUMN tag_version INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE cards ADD COLUMN storage_version INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE cards ADD COLUMN tag_version INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE cards ADD COLUMN control_suite INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE cards ADD COLUMN control_version INTEGER NOT NULL DEFAULT 0;",
    /* Cards of before are of wrap version 1. What POSV says of devices is asked for anew: an older release
     * has not kept the version of those that it followed. */
    "ALTER TABLE devices ADD COLUMN wrap_version INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE cards ADD COLUMN wrap_version INTEGER NOT NULL DEFAULT 1;"
    "UPDATE followed SET revision = 0;",
};

static const struct sqlite_schema schema = {
    .application_id = 0x504F5350, /* "POSP" */
    .migrations = migrations,
    .version = (int)(sizeof migrations / sizeof migrations[0]),
    .key = "store.path",
};

struct write_request {
    store_apply_fn apply;
    void *context;
    struct err err;
    enum err_code code;
    bool done;
    struct write_request *next;
};

struct store {
    struct store_db writer, reader, reporter;
    pthread_mutex_t reader_lock, reporter_lock;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t work, done;
    struct write_request *first, **last;
    bool stopping, started;
    int lock_fd; /* of PATH.lock: SQLite's own locks let a second process in */
    pthread_t thread;
};

static enum err_code exec(sqlite3 *db, const char *sql, struct err *e)
{
    const int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ERR_OK : err_native(e, ERR_IO, rc, "store: %s", sqlite3_errmsg(db));
}

static enum err_code open_db(const char *path, struct store_db *db, struct err *e)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    const int rc = sqlite3_open_v2(path, &db->db, flags, NULL);
    if (rc != SQLITE_OK)
        return err_native(e, ERR_IO, rc, "cannot open %.100s: %s", path, sqlite3_errstr(rc));
    sqlite3_busy_timeout(db->db, BUSY_MS);
    TRY(exec(db->db, "PRAGMA journal_mode = WAL", e));
    return exec(db->db, "PRAGMA synchronous = FULL", e);
}

static void close_db(struct store_db *db)
{
    for (size_t i = 0; i < SQL_COUNT_; i++)
        sqlite3_finalize(db->statements[i]);
    sqlite3_close(db->db);
}

static enum err_code apply_one(struct store_db *db, struct write_request *request, struct err *e)
{
    TRY(db_run_plain(db, SQL_SAVEPOINT, e));
    request->code = request->apply(db, request->context, &request->err);
    if (request->code != ERR_OK)
        TRY(db_run_plain(db, SQL_SAVEPOINT_ROLLBACK, e));
    return db_run_plain(db, SQL_SAVEPOINT_RELEASE, e);
}

static enum err_code apply_all(struct store_db *db, struct write_request *list, struct err *e)
{
    TRY(db_run_plain(db, SQL_BEGIN, e));
    for (struct write_request *r = list; r != NULL; r = r->next)
        TRY(apply_one(db, r, e));
    return db_run_plain(db, SQL_COMMIT, e);
}

static void commit_batch(struct store *store, struct write_request *list)
{
    struct err e = {0};
    const enum err_code code = apply_all(&store->writer, list, &e);
    if (code != ERR_OK && !sqlite3_get_autocommit(store->writer.db))
        (void)sqlite3_exec(store->writer.db, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_lock(&store->lock);
    for (struct write_request *r = list, *next; r != NULL; r = next) {
        next = r->next; /* the owner may return as soon as it sees `done` */
        if (code != ERR_OK) {
            r->code = code;
            r->err = e;
        }
        r->done = true;
    }
    pthread_cond_broadcast(&store->done);
    pthread_mutex_unlock(&store->lock);
}

/* Take up to BATCH_MAX waiting requests. The lock is held. */
static struct write_request *take_batch(struct store *store)
{
    struct write_request *list = store->first;
    struct write_request **end = &store->first;
    for (size_t n = 0; n < BATCH_MAX && *end != NULL; n++)
        end = &(*end)->next;
    struct write_request *rest = *end;
    *end = NULL;
    store->first = rest;
    if (rest == NULL)
        store->last = &store->first;
    return list;
}

static void *write_loop(void *context)
{
    struct store *store = context;
    pthread_mutex_lock(&store->lock);
    for (;;) {
        while (store->first == NULL && !store->stopping)
            pthread_cond_wait(&store->work, &store->lock);
        if (store->first == NULL)
            break;
        struct write_request *list = take_batch(store);
        pthread_mutex_unlock(&store->lock);
        commit_batch(store, list);
        pthread_mutex_lock(&store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

enum err_code store_write(struct store *store, store_apply_fn apply, void *context, struct err *e)
{
    struct write_request request = {.apply = apply, .context = context};
    pthread_mutex_lock(&store->lock);
    *store->last = &request;
    store->last = &request.next; /* cppcheck-suppress autoVariables ; it is taken off before we return */
    pthread_cond_signal(&store->work);
    while (!request.done)
        pthread_cond_wait(&store->done, &store->lock);
    pthread_mutex_unlock(&store->lock);
    if (request.code != ERR_OK && e != NULL)
        *e = request.err;
    return request.code;
}

enum err_code store_read(struct store *store, store_apply_fn apply, void *context, struct err *e)
{
    pthread_mutex_lock(&store->reader_lock);
    const enum err_code code = apply(&store->reader, context, e);
    pthread_mutex_unlock(&store->reader_lock);
    return code;
}

enum err_code store_report(struct store *store, store_apply_fn apply, void *context, struct err *e)
{
    pthread_mutex_lock(&store->reporter_lock);
    const enum err_code code = apply(&store->reporter, context, e);
    pthread_mutex_unlock(&store->reporter_lock);
    return code;
}

static enum err_code open_all(struct store *store, const char *path, struct err *e)
{
    /* Two front ends on one journal would reverse each other's transactions. */
    TRY(sqlite_lock(path, "posward-posp", &store->lock_fd, e));
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, "cannot open %.100s", path);
    close(fd);
    if (open_db(path, &store->writer, e) != ERR_OK)
        return err_context(e, "%.100s", path);
    /* A damaged journal must be seen before a terminal is served from it. */
    TRY(sqlite_schema_prepare(&(struct sqlite_link){.db = store->writer.db}, &schema, path, e));
    TRY(open_db(path, &store->reader, e));
    TRY(open_db(path, &store->reporter, e));
    if (pthread_create(&store->thread, NULL, write_loop, store) != 0)
        return err_set(e, ERR_LIMIT, "cannot start the store's thread");
    store->started = true;
    return ERR_OK;
}

enum err_code store_open(const char *path, struct store **out_store, struct err *e)
{
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    store->last = &store->first;
    store->lock_fd = -1;
    pthread_mutex_init(&store->reader_lock, NULL);
    pthread_mutex_init(&store->reporter_lock, NULL);
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->work, NULL);
    pthread_cond_init(&store->done, NULL);
    const enum err_code code = open_all(store, path, e);
    if (code != ERR_OK) {
        store_free(store);
        return code;
    }
    *out_store = store;
    return ERR_OK;
}

void store_free(struct store *store)
{
    if (store == NULL)
        return;
    pthread_mutex_lock(&store->lock);
    store->stopping = true;
    pthread_cond_signal(&store->work);
    pthread_mutex_unlock(&store->lock);
    if (store->started)
        pthread_join(store->thread, NULL);
    close_db(&store->writer);
    close_db(&store->reader);
    close_db(&store->reporter);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    pthread_cond_destroy(&store->done);
    pthread_cond_destroy(&store->work);
    pthread_mutex_destroy(&store->lock);
    pthread_mutex_destroy(&store->reader_lock);
    pthread_mutex_destroy(&store->reporter_lock);
    free(store);
}

#include "posv/store_sqlite.h"

#include <stdio.h>
#include <stdlib.h>

#define IDLE_READERS_MOST 8 /* more are opened under load and closed after it */

#define DEVICE_COLUMNS                                                                                       \
    "terminal_id, merchant_id, psam_number, suite, master_version, state, revision, created_ms, "            \
    "updated_ms, reason, wrap_version"

const char *const store_sqlite_statements[] = {
    [FIND_TERMINAL] = "SELECT " DEVICE_COLUMNS " FROM device WHERE terminal_id = ?1",
    [FIND_CARD] = "SELECT " DEVICE_COLUMNS " FROM device WHERE card_key = ?1",
    [NEXT_REVISION] = "UPDATE table_state SET revision = revision + 1 RETURNING revision",
    [PUT] = "INSERT INTO device (" DEVICE_COLUMNS ", card_key)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
            " ON CONFLICT (terminal_id) DO UPDATE SET merchant_id = ?2, psam_number = ?3, suite = ?4,"
            " master_version = ?5, state = ?6, revision = ?7, updated_ms = ?9, reason = ?10,"
            " wrap_version = ?11, card_key = ?12",
    [STAY_BEGIN] =
        "INSERT INTO card_stay (terminal_id, psam_number, card_key, suite, master_version, from_ms,"
        " wrap_version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [STAY_END] = "UPDATE card_stay SET to_ms = ?2, reason = ?3 WHERE terminal_id = ?1 AND to_ms IS NULL",
    /* '~' stands behind every character of a terminal_id */
    [LIST] = "SELECT " DEVICE_COLUMNS " FROM device WHERE terminal_id > ?1 AND terminal_id >= ?2"
             " AND terminal_id < ?2 || '~' AND (?3 = 0 OR state = ?3) AND (?4 = 0 OR suite = ?4)"
             " AND (?5 = '' OR merchant_id = ?5) ORDER BY terminal_id LIMIT ?6",
    [CHANGES] = "SELECT " DEVICE_COLUMNS " FROM device WHERE revision > ?1 ORDER BY revision LIMIT ?2",
    [TOTALS] = "SELECT table_state.revision, device.state, count(device.state) FROM table_state"
               " LEFT JOIN device GROUP BY device.state",
    [REVISION] = "SELECT revision FROM table_state",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
};

static void read_device(sqlite3_stmt *row, struct device *out_device)
{
    struct device *d = out_device;
    sqlite_read_text(row, 0, d->terminal_id, sizeof d->terminal_id);
    sqlite_read_text(row, 1, d->merchant_id, sizeof d->merchant_id);
    sqlite_read_text(row, 2, d->psam_number, sizeof d->psam_number);
    d->suite = sqlite3_column_int(row, 3);
    d->master_version = sqlite3_column_int(row, 4);
    d->state = (enum device_state)sqlite3_column_int(row, 5);
    d->revision = sqlite3_column_int64(row, 6);
    d->created_ms = sqlite3_column_int64(row, 7);
    d->updated_ms = sqlite3_column_int64(row, 8);
    sqlite_read_text(row, 9, d->reason, sizeof d->reason);
    d->wrap_version = sqlite3_column_int(row, 10);
}

enum err_code store_sqlite_devices(struct sqlite_link *link, sqlite3_stmt *statement, size_t capacity,
                                   struct device *out_devices, size_t *out_count, struct err *e)
{
    size_t count = 0;
    for (bool row = true; count < capacity; count++) {
        TRY(sqlite_step(link, statement, &row, e));
        if (!row)
            break;
        read_device(statement, &out_devices[count]);
    }
    sqlite3_reset(statement);
    *out_count = count;
    return ERR_OK;
}

enum err_code store_sqlite_find(struct sqlite_link *link, enum statement number, const char *key,
                                struct device *out_device, bool *out_found, struct err *e)
{
    sqlite3_stmt *statement;
    TRY(sqlite_take(link, number, &statement, e));
    sqlite_bind_text(statement, 1, key);
    size_t count = 0;
    TRY(store_sqlite_devices(link, statement, 1, out_device, &count, e));
    *out_found = count == 1;
    return ERR_OK;
}

enum err_code store_sqlite_revision(struct sqlite_link *link, enum statement number, int64_t *out_revision,
                                    struct err *e)
{
    sqlite3_stmt *statement;
    TRY(sqlite_take(link, number, &statement, e));
    bool row = false;
    TRY(sqlite_step(link, statement, &row, e));
    if (!row)
        return err_set(e, ERR_IO, "the database has lost its revision: restore it from a backup");
    *out_revision = sqlite3_column_int64(statement, 0);
    return sqlite_run(link, statement, e);
}

/* Reading side: a connection from the pool for the length of a call. */

static enum err_code reader_take(struct store_sqlite *s, struct sqlite_link **out_link, struct err *e)
{
    pthread_mutex_lock(&s->pool);
    struct sqlite_link *link = s->idle;
    if (link != NULL) {
        s->idle = link->next;
        s->idle_count--;
    }
    pthread_mutex_unlock(&s->pool);
    if (link == NULL) {
        link = calloc(1, sizeof *link);
        if (link == NULL)
            return err_set(e, ERR_LIMIT, "out of memory");
        link->sql = store_sqlite_statements;
        const enum err_code code = sqlite_link_open(link, s->path, SQLITE_READER, s->busy_timeout_ms, e);
        if (code != ERR_OK) {
            free(link);
            return code;
        }
    }
    *out_link = link;
    return ERR_OK;
}

static void reader_give(struct store_sqlite *s, struct sqlite_link *link)
{
    pthread_mutex_lock(&s->pool);
    const bool keep = s->idle_count < IDLE_READERS_MOST;
    if (keep) {
        link->next = s->idle;
        s->idle = link;
        s->idle_count++;
    }
    pthread_mutex_unlock(&s->pool);
    if (keep)
        return;
    sqlite_link_close(link);
    free(link);
}

enum err_code store_sqlite_get(struct store *s, const char *terminal_id, const char *card_key,
                               struct device *out_device, bool *out_found, struct err *e)
{
    struct sqlite_link *link;
    TRY(reader_take(sqlite_of(s), &link, e));
    const enum err_code code =
        terminal_id != NULL ? store_sqlite_find(link, FIND_TERMINAL, terminal_id, out_device, out_found, e)
                            : store_sqlite_find(link, FIND_CARD, card_key, out_device, out_found, e);
    reader_give(sqlite_of(s), link);
    return code;
}

static enum err_code list_on(struct sqlite_link *link, const struct store_filter *filter, const char *after,
                             size_t capacity, struct device *out_devices, size_t *out_count, struct err *e)
{
    sqlite3_stmt *statement;
    TRY(sqlite_take(link, LIST, &statement, e));
    sqlite_bind_text(statement, 1, after);
    sqlite_bind_text(statement, 2, filter->terminal_prefix);
    sqlite3_bind_int(statement, 3, filter->state);
    sqlite3_bind_int(statement, 4, filter->suite);
    sqlite_bind_text(statement, 5, filter->merchant_id);
    sqlite3_bind_int64(statement, 6, (sqlite3_int64)capacity);
    return store_sqlite_devices(link, statement, capacity, out_devices, out_count, e);
}

enum err_code store_sqlite_list(struct store *s, const struct store_filter *filter, const char *after,
                                size_t capacity, struct device *out_devices, size_t *out_count, struct err *e)
{
    struct sqlite_link *link;
    TRY(reader_take(sqlite_of(s), &link, e));
    const enum err_code code = list_on(link, filter, after, capacity, out_devices, out_count, e);
    reader_give(sqlite_of(s), link);
    return code;
}

static enum err_code changes_on(struct sqlite_link *link, int64_t revision, size_t capacity,
                                struct device *out_devices, size_t *out_count, struct err *e)
{
    sqlite3_stmt *statement;
    TRY(sqlite_take(link, CHANGES, &statement, e));
    sqlite3_bind_int64(statement, 1, revision);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)capacity);
    return store_sqlite_devices(link, statement, capacity, out_devices, out_count, e);
}

enum err_code store_sqlite_changes(struct store *s, int64_t revision, size_t capacity,
                                   struct device *out_devices, size_t *out_count, struct err *e)
{
    struct sqlite_link *link;
    TRY(reader_take(sqlite_of(s), &link, e));
    const enum err_code code = changes_on(link, revision, capacity, out_devices, out_count, e);
    reader_give(sqlite_of(s), link);
    return code;
}

static enum err_code totals_on(struct sqlite_link *link, struct store_totals *out_totals, struct err *e)
{
    sqlite3_stmt *statement;
    TRY(sqlite_take(link, TOTALS, &statement, e));
    struct store_totals totals = {0};
    bool row = false;
    TRY(sqlite_step(link, statement, &row, e));
    while (row) {
        totals.revision = sqlite3_column_int64(statement, 0);
        const int state = sqlite3_column_int(statement, 1); /* 0 of an empty table's NULL */
        if (state >= 0 && state <= DEVICE_STATE_MOST)
            totals.by_state[state] = (uint64_t)sqlite3_column_int64(statement, 2);
        TRY(sqlite_step(link, statement, &row, e));
    }
    *out_totals = totals;
    return ERR_OK;
}

enum err_code store_sqlite_totals(struct store *s, struct store_totals *out_totals, struct err *e)
{
    struct sqlite_link *link;
    TRY(reader_take(sqlite_of(s), &link, e));
    const enum err_code code = totals_on(link, out_totals, e);
    reader_give(sqlite_of(s), link);
    return code;
}

enum err_code store_sqlite_now(struct store *s, int64_t *out_revision, struct err *e)
{
    struct sqlite_link *link;
    TRY(reader_take(sqlite_of(s), &link, e));
    const enum err_code code = store_sqlite_revision(link, REVISION, out_revision, e);
    reader_give(sqlite_of(s), link);
    return code;
}

void store_sqlite_close_readers(struct store_sqlite *s)
{
    while (s->idle != NULL) {
        struct sqlite_link *link = s->idle;
        s->idle = link->next;
        sqlite_link_close(link);
        free(link);
    }
}

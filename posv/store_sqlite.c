#include "posv/store_sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Writing side: on the writer's connection, under store.c's lock. */

static enum err_code run_plain(struct sqlite_link *link, enum statement number, struct err *e)
{
    sqlite3_stmt *statement;
    TRY(sqlite_take(link, number, &statement, e));
    return sqlite_run(link, statement, e);
}

static enum err_code writer_begin(struct store *s, struct err *e)
{
    return run_plain(&sqlite_of(s)->writer, BEGIN, e);
}

static enum err_code writer_commit(struct store *s, struct err *e)
{
    return run_plain(&sqlite_of(s)->writer, COMMIT, e);
}

static void writer_rollback(struct store *s)
{
    sqlite_rollback(&sqlite_of(s)->writer);
}

static enum err_code writer_find_terminal(struct store *s, const char *terminal_id, struct device *out_device,
                                          bool *out_found, struct err *e)
{
    return store_sqlite_find(&sqlite_of(s)->writer, FIND_TERMINAL, terminal_id, out_device, out_found, e);
}

static enum err_code writer_find_card(struct store *s, const char *card_key, struct device *out_device,
                                      bool *out_found, struct err *e)
{
    return store_sqlite_find(&sqlite_of(s)->writer, FIND_CARD, card_key, out_device, out_found, e);
}

static enum err_code writer_next_revision(struct store *s, int64_t *out_revision, struct err *e)
{
    return store_sqlite_revision(&sqlite_of(s)->writer, NEXT_REVISION, out_revision, e);
}

static enum err_code writer_put(struct store *s, const struct device *device, struct err *e)
{
    struct sqlite_link *link = &sqlite_of(s)->writer;
    sqlite3_stmt *statement;
    TRY(sqlite_take(link, PUT, &statement, e));
    sqlite_bind_text(statement, 1, device->terminal_id);
    sqlite_bind_text(statement, 2, device->merchant_id);
    sqlite_bind_text(statement, 3, device->psam_number);
    sqlite3_bind_int(statement, 4, device->suite);
    sqlite3_bind_int(statement, 5, device->master_version);
    sqlite3_bind_int(statement, 6, (int)device->state);
    sqlite3_bind_int64(statement, 7, device->revision);
    sqlite3_bind_int64(statement, 8, device->created_ms);
    sqlite3_bind_int64(statement, 9, device->updated_ms);
    sqlite_bind_text(statement, 10, device->reason);
    sqlite3_bind_int(statement, 11, device->wrap_version);
    char card_key[PSAM_DIGITS_MAX + 1];
    device_card_key(device->psam_number, card_key);
    if (device->psam_number[0] != '\0')
        sqlite_bind_text(statement, 12, card_key);
    return sqlite_run(link, statement, e);
}

static enum err_code writer_stay_begin(struct store *s, const struct device *device, struct err *e)
{
    struct sqlite_link *link = &sqlite_of(s)->writer;
    sqlite3_stmt *statement;
    TRY(sqlite_take(link, STAY_BEGIN, &statement, e));
    char card_key[PSAM_DIGITS_MAX + 1];
    device_card_key(device->psam_number, card_key);
    sqlite_bind_text(statement, 1, device->terminal_id);
    sqlite_bind_text(statement, 2, device->psam_number);
    sqlite_bind_text(statement, 3, card_key);
    sqlite3_bind_int(statement, 4, device->suite);
    sqlite3_bind_int(statement, 5, device->master_version);
    sqlite3_bind_int64(statement, 6, device->updated_ms);
    sqlite3_bind_int(statement, 7, device->wrap_version);
    return sqlite_run(link, statement, e);
}

static enum err_code writer_stay_end(struct store *s, const struct device *device, struct err *e)
{
    struct sqlite_link *link = &sqlite_of(s)->writer;
    sqlite3_stmt *statement;
    TRY(sqlite_take(link, STAY_END, &statement, e));
    sqlite_bind_text(statement, 1, device->terminal_id);
    sqlite3_bind_int64(statement, 2, device->updated_ms);
    sqlite_bind_text(statement, 3, device->reason);
    return sqlite_run(link, statement, e);
}

static void sqlite_free(struct store *base)
{
    struct store_sqlite *s = sqlite_of(base);
    store_sqlite_close_readers(s);
    sqlite_link_close(&s->writer);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    pthread_mutex_destroy(&s->pool);
    pthread_mutex_destroy(&s->base.writing);
    free(s);
}

static const struct store_backend sqlite_backend = {
    .begin = writer_begin,
    .find_terminal = writer_find_terminal,
    .find_card = writer_find_card,
    .next_revision = writer_next_revision,
    .put = writer_put,
    .stay_begin = writer_stay_begin,
    .stay_end = writer_stay_end,
    .commit = writer_commit,
    .rollback = writer_rollback,
    .get = store_sqlite_get,
    .list = store_sqlite_list,
    .changes = store_sqlite_changes,
    .totals = store_sqlite_totals,
    .revision = store_sqlite_now,
    .free = sqlite_free,
};

static enum err_code open_all(struct store_sqlite *s, struct err *e)
{
    /* A second service's changes would not wake the watchers of the first. */
    TRY(sqlite_lock(s->path, "posward-posv", &s->lock_fd, e));
    TRY(sqlite_link_open(&s->writer, s->path, SQLITE_WRITER, s->busy_timeout_ms, e));
    return sqlite_schema_prepare(&s->writer, &store_sqlite_schema, s->path, e);
}

enum err_code store_open_sqlite(const char *path, int64_t busy_timeout_ms, struct store **out_store,
                                struct err *e)
{
    if (strlen(path) >= PATH_MAX)
        return err_set(e, ERR_INPUT, "store.path is longer than %d characters", PATH_MAX - 1);
    struct store_sqlite *s = calloc(1, sizeof *s);
    if (s == NULL)
        return err_set(e, ERR_LIMIT, "out of memory");
    s->base.backend = &sqlite_backend;
    s->writer.sql = store_sqlite_statements;
    s->lock_fd = -1;
    s->busy_timeout_ms = busy_timeout_ms;
    snprintf(s->path, sizeof s->path, "%s", path);
    pthread_mutex_init(&s->base.writing, NULL);
    pthread_mutex_init(&s->pool, NULL);
    const enum err_code code = open_all(s, e);
    if (code != ERR_OK) {
        sqlite_free(&s->base);
        return code;
    }
    *out_store = &s->base;
    return ERR_OK;
}

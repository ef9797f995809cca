/* Counts of what depends on the token's keys. */
#include "posp/store_sql.h"

struct uses_context {
    enum store_sql sql;
    struct store_use *uses;
    size_t capacity, count;
};

static enum err_code apply_uses(struct store_db *db, void *context, struct err *e)
{
    struct uses_context *c = context;
    sqlite3_stmt *s;
    bool row;
    TRY(db_take(db, c->sql, &s, e));
    TRY(db_step(db, s, &row, e));
    while (row && c->count < c->capacity) {
        c->uses[c->count++] = (struct store_use){.suite = sqlite3_column_int(s, 0),
                                                 .version = (uint32_t)sqlite3_column_int64(s, 1),
                                                 .count = (uint64_t)sqlite3_column_int64(s, 2)};
        TRY(db_step(db, s, &row, e));
    }
    db_give(s);
    return row ? err_set(e, ERR_LIMIT, "more than %zu keys are in use", c->capacity) : ERR_OK;
}

enum err_code store_uses(struct store *store, enum store_use_kind kind, struct store_use *out_uses,
                         size_t capacity, size_t *out_count, struct err *e)
{
    static const enum store_sql statements[] = {[STORE_USE_MASTER] = SQL_USE_MASTER,
                                                [STORE_USE_CONTROL] = SQL_USE_CONTROL,
                                                [STORE_USE_STORAGE] = SQL_USE_STORAGE,
                                                [STORE_USE_TAG] = SQL_USE_TAG};
    struct uses_context c = {.sql = statements[kind], .uses = out_uses, .capacity = capacity};
    TRY(store_report(store, apply_uses, &c, e));
    *out_count = c.count;
    return ERR_OK;
}

/* Working-key blobs and the number sequence. */
#include "base/clock.h"
#include "posp/store_sql.h"

struct keys_context {
    const char *terminal_id;
    const struct store_key_set *set; /* put */
    int64_t generation;              /* used */
    struct store_keys keys;          /* get */
};

static enum err_code drop_unused(struct store_db *db, const char *terminal_id, struct err *e)
{
    sqlite3_stmt *s;
    TRY(db_take(db, SQL_KEYS_DROP_UNUSED, &s, e));
    db_bind_text(s, 1, terminal_id);
    return db_run(db, s, e);
}

static enum err_code apply_put(struct store_db *db, void *context, struct err *e)
{
    const struct keys_context *c = context;
    const struct store_key_set *set = c->set;
    int64_t generation;
    sqlite3_stmt *s;
    TRY(drop_unused(db, c->terminal_id, e));
    TRY(db_take_numbers(db, 1, &generation, e));
    TRY(db_take(db, SQL_KEYS_PUT, &s, e));
    db_bind_text(s, 1, c->terminal_id);
    sqlite3_bind_int64(s, 2, generation);
    db_bind_text(s, 3, set->psam_number);
    sqlite3_bind_int(s, 4, set->suite);
    db_bind_blob(s, 5, set->pik.bytes, set->pik.len);
    db_bind_blob(s, 6, set->mak.bytes, set->mak.len);
    db_bind_blob(s, 7, set->tdk.bytes, set->tdk.len);
    sqlite3_bind_int64(s, 8, clock_wall_ms());
    sqlite3_bind_int64(s, 9, set->seal.storage);
    sqlite3_bind_int64(s, 10, set->seal.tag);
    return db_run(db, s, e);
}

enum err_code store_keys_put(struct store *store, const char *terminal_id, const struct store_key_set *set,
                             struct err *e)
{
    struct keys_context c = {.terminal_id = terminal_id, .set = set};
    return store_write(store, apply_put, &c, e);
}

static void read_set(sqlite3_stmt *s, struct store_key_set *set)
{
    set->generation = sqlite3_column_int64(s, 0);
    db_text(s, 1, set->psam_number, sizeof set->psam_number);
    set->suite = sqlite3_column_int(s, 2);
    set->pik.len = db_blob(s, 3, set->pik.bytes, sizeof set->pik.bytes);
    set->mak.len = db_blob(s, 4, set->mak.bytes, sizeof set->mak.bytes);
    set->tdk.len = db_blob(s, 5, set->tdk.bytes, sizeof set->tdk.bytes);
    set->used = sqlite3_column_int(s, 6) != 0;
}

static enum err_code apply_get(struct store_db *db, void *context, struct err *e)
{
    struct keys_context *c = context;
    sqlite3_stmt *s;
    bool row;
    TRY(db_take(db, SQL_KEYS_GET, &s, e));
    db_bind_text(s, 1, c->terminal_id);
    TRY(db_step(db, s, &row, e));
    while (row && c->keys.count < 2) {
        read_set(s, &c->keys.sets[c->keys.count++]);
        TRY(db_step(db, s, &row, e));
    }
    db_give(s);
    return ERR_OK;
}

enum err_code store_keys_get(struct store *store, const char *terminal_id, struct store_keys *out_keys,
                             struct err *e)
{
    struct keys_context c = {.terminal_id = terminal_id};
    TRY(store_read(store, apply_get, &c, e));
    *out_keys = c.keys;
    return ERR_OK;
}

static enum err_code apply_used(struct store_db *db, void *context, struct err *e)
{
    const struct keys_context *c = context;
    sqlite3_stmt *s;
    TRY(db_take(db, SQL_KEYS_USED, &s, e));
    db_bind_text(s, 1, c->terminal_id);
    sqlite3_bind_int64(s, 2, c->generation);
    TRY(db_run(db, s, e));
    TRY(db_take(db, SQL_KEYS_DROP_OLDER, &s, e));
    db_bind_text(s, 1, c->terminal_id);
    sqlite3_bind_int64(s, 2, c->generation);
    return db_run(db, s, e);
}

enum err_code store_keys_used(struct store *store, const char *terminal_id, int64_t generation, struct err *e)
{
    struct keys_context c = {.terminal_id = terminal_id, .generation = generation};
    return store_write(store, apply_used, &c, e);
}

struct numbers {
    int64_t count, first;
};

static enum err_code apply_take_numbers(struct store_db *db, void *context, struct err *e)
{
    struct numbers *numbers = context;
    return db_take_numbers(db, numbers->count, &numbers->first, e);
}

enum err_code store_take_numbers(struct store *store, int64_t count, int64_t *out_first, struct err *e)
{
    struct numbers numbers = {.count = count};
    TRY(store_write(store, apply_take_numbers, &numbers, e));
    *out_first = numbers.first;
    return ERR_OK;
}

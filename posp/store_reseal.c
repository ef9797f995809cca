/* Rows with sealed blobs, for those who move them to newer keys. */
#include "posp/store_sql.h"

static void read_blob(sqlite3_stmt *s, int column, struct store_blob *blob)
{
    blob->len = db_blob(s, column, blob->bytes, sizeof blob->bytes);
}

/* Columns: name, generation, three blobs, two versions. */
static void read_sealed(sqlite3_stmt *s, enum store_sealed_kind kind, struct store_sealed *row)
{
    row->kind = kind;
    db_text(s, 0, row->name, sizeof row->name);
    row->generation = sqlite3_column_int64(s, 1);
    for (int i = 0; i < STORE_SEALED_BLOBS; i++)
        read_blob(s, 2 + i, &row->blobs[i]);
    row->seal = (struct store_seal){(uint32_t)sqlite3_column_int64(s, 2 + STORE_SEALED_BLOBS),
                                    (uint32_t)sqlite3_column_int64(s, 3 + STORE_SEALED_BLOBS)};
}

struct page {
    enum store_sealed_kind kind;
    const struct store_sealed *after;
    struct store_sealed *rows;
    size_t capacity, count;
};

static enum err_code apply_page(struct store_db *db, void *context, struct err *e)
{
    static const enum store_sql statements[] = {
        [STORE_SEALED_SET] = SQL_SEALED_SETS, [STORE_SEALED_CARD] = SQL_SEALED_CARDS};
    struct page *const p = context;
    sqlite3_stmt *s;
    bool row;
    TRY(db_take(db, statements[p->kind], &s, e));
    db_bind_text(s, 1, p->after != NULL ? p->after->name : "");
    sqlite3_bind_int64(s, 2, p->after != NULL ? p->after->generation : 0);
    sqlite3_bind_int64(s, 3, (int64_t)p->capacity);
    TRY(db_step(db, s, &row, e));
    while (row && p->count < p->capacity) {
        read_sealed(s, p->kind, &p->rows[p->count++]);
        TRY(db_step(db, s, &row, e));
    }
    db_give(s);
    return ERR_OK;
}

enum err_code store_sealed_page(struct store *store, enum store_sealed_kind kind,
                                const struct store_sealed *after, size_t capacity,
                                struct store_sealed *out_rows, size_t *out_count, struct err *e)
{
    struct page p = {.kind = kind, .after = after, .rows = out_rows, .capacity = capacity};
    TRY(store_report(store, apply_page, &p, e));
    *out_count = p.count;
    return ERR_OK;
}

struct device_rows {
    const char *terminal_id;
    struct store_sealed *rows;
    size_t count;
};

static enum err_code apply_device(struct store_db *db, void *context, struct err *e)
{
    static const struct {
        enum store_sql sql;
        enum store_sealed_kind kind;
    } parts[] = {{SQL_SEALED_OF_TERMINAL, STORE_SEALED_SET},
                 {SQL_SEALED_CARD_OF_TERMINAL, STORE_SEALED_CARD}};
    struct device_rows *const d = context;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        sqlite3_stmt *s;
        bool row;
        TRY(db_take(db, parts[i].sql, &s, e));
        db_bind_text(s, 1, d->terminal_id);
        TRY(db_step(db, s, &row, e));
        while (row && d->count < STORE_SEALED_OF_DEVICE) {
            read_sealed(s, parts[i].kind, &d->rows[d->count++]);
            TRY(db_step(db, s, &row, e));
        }
        db_give(s);
    }
    return ERR_OK;
}

enum err_code store_sealed_device(struct store *store, const char *terminal_id,
                                  struct store_sealed out_rows[STORE_SEALED_OF_DEVICE], size_t *out_count,
                                  struct err *e)
{
    struct device_rows d = {.terminal_id = terminal_id, .rows = out_rows};
    TRY(store_report(store, apply_device, &d, e));
    *out_count = d.count;
    return ERR_OK;
}

struct swaps {
    struct store_swap *swaps;
    size_t count;
};

static enum err_code swap_one(struct store_db *db, struct store_swap *swap, struct err *e)
{
    static const enum store_sql statements[] = {
        [STORE_SEALED_SET] = SQL_SEALED_SET_SWAP, [STORE_SEALED_CARD] = SQL_SEALED_CARD_SWAP};
    sqlite3_stmt *s;
    TRY(db_take(db, statements[swap->old->kind], &s, e));
    db_bind_text(s, 1, swap->old->name);
    sqlite3_bind_int64(s, 2, swap->old->generation);
    for (int i = 0; i < STORE_SEALED_BLOBS; i++) {
        const struct store_blob *const from = &swap->old->blobs[i], *const to = &swap->blobs[i];
        db_bind_blob(s, 3 + i, from->bytes, from->len);
        db_bind_blob(s, 3 + STORE_SEALED_BLOBS + i, to->bytes, to->len);
    }
    sqlite3_bind_int64(s, 3 + 2 * STORE_SEALED_BLOBS, swap->seal.storage);
    sqlite3_bind_int64(s, 4 + 2 * STORE_SEALED_BLOBS, swap->seal.tag);
    TRY(db_run(db, s, e));
    swap->swapped = sqlite3_changes(db->db) == 1;
    return ERR_OK;
}

static enum err_code apply_swaps(struct store_db *db, void *context, struct err *e)
{
    const struct swaps *const all = context;
    for (size_t i = 0; i < all->count; i++)
        TRY(swap_one(db, &all->swaps[i], e));
    return ERR_OK;
}

enum err_code store_sealed_swap(struct store *store, struct store_swap *swaps, size_t count, struct err *e)
{
    struct swaps all = {swaps, count};
    return count > 0 ? store_write(store, apply_swaps, &all, e) : ERR_OK;
}

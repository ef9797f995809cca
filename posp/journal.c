#include "posp/journal.h"

#include "posp/reference.h"
#include "posp/store_sql.h"

#include <stdio.h>
#include <string.h>

static const char *const state_names[] = {
    [JOURNAL_FORWARDED] = "forwarded",
    [JOURNAL_ANSWERED] = "answered",
    [JOURNAL_REVERSING] = "reversing",
    [JOURNAL_REVERSED] = "reversed",
};

const char *journal_state_name(enum journal_state state)
{
    return state >= JOURNAL_FORWARDED && state <= JOURNAL_REVERSED ? state_names[state] : "unknown";
}

/* The columns of JOURNAL_COLUMNS in store_sql.c, in their order. */
static void read_entry(sqlite3_stmt *s, struct journal_entry *entry)
{
    *entry = (struct journal_entry){.id = sqlite3_column_int64(s, 0)};
    const struct {
        int column;
        char *text;
        size_t capacity;
    } texts[] = {
        {1, entry->terminal_id, sizeof entry->terminal_id},
        {2, entry->batch, sizeof entry->batch},
        {3, entry->trace, sizeof entry->trace},
        {4, entry->merchant_id, sizeof entry->merchant_id},
        {5, entry->masked_pan, sizeof entry->masked_pan},
        {6, entry->processing_code, sizeof entry->processing_code},
        {7, entry->amount, sizeof entry->amount},
        {8, entry->currency, sizeof entry->currency},
        {9, entry->entry_mode, sizeof entry->entry_mode},
        {12, entry->unit, sizeof entry->unit},
        {13, entry->response_code, sizeof entry->response_code},
        {14, entry->reference, sizeof entry->reference},
        {15, entry->authorization, sizeof entry->authorization},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        db_text(s, texts[i].column, texts[i].text, texts[i].capacity);
    (void)db_blob(s, 10, entry->mac, sizeof entry->mac);
    entry->generation = sqlite3_column_int64(s, 11);
    entry->answer_len = db_blob(s, 16, entry->answer, sizeof entry->answer);
    entry->state = (enum journal_state)sqlite3_column_int(s, 17);
    entry->created_ms = sqlite3_column_int64(s, 18);
}

static enum err_code read_key(struct store_db *db, struct journal_entry *entry, struct err *e)
{
    sqlite3_stmt *s;
    bool row;
    struct journal_entry found;
    TRY(db_take(db, SQL_JOURNAL_GET, &s, e));
    db_bind_text(s, 1, entry->terminal_id);
    db_bind_text(s, 2, entry->batch);
    db_bind_text(s, 3, entry->trace);
    TRY(db_step(db, s, &row, e));
    if (row)
        read_entry(s, &found);
    db_give(s);
    if (!row)
        return err_set(e, ERR_NOT_FOUND, "no such transaction");
    *entry = found;
    return ERR_OK;
}

static enum err_code insert(struct store_db *db, const struct journal_entry *entry, struct err *e)
{
    sqlite3_stmt *s;
    TRY(db_take(db, SQL_JOURNAL_BEGIN, &s, e));
    sqlite3_bind_int64(s, 1, entry->id);
    const char *const texts[] = {entry->terminal_id, entry->batch,      entry->trace,
                                 entry->merchant_id, entry->masked_pan, entry->processing_code,
                                 entry->amount,      entry->currency,   entry->entry_mode};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        db_bind_text(s, (int)i + 2, texts[i]);
    db_bind_blob(s, 11, entry->mac, sizeof entry->mac);
    sqlite3_bind_int64(s, 12, entry->generation);
    db_bind_text(s, 13, entry->unit);
    db_bind_text(s, 14, entry->reference);
    sqlite3_bind_int64(s, 15, entry->created_ms);
    return db_run(db, s, e);
}

static enum err_code apply_begin(struct store_db *db, void *context, struct err *e)
{
    struct journal_entry *entry = context;
    struct journal_entry known = *entry;
    const enum err_code code = read_key(db, &known, e);
    if (code == ERR_OK) {
        *entry = known;
        return err_set(e, ERR_EXISTS, "this transaction is in the journal already");
    }
    if (code != ERR_NOT_FOUND)
        return code;
    TRY(db_take_numbers(db, 1, &entry->id, e));
    reference_number(entry->id, entry->created_ms, entry->reference);
    entry->state = JOURNAL_FORWARDED;
    return insert(db, entry, e);
}

enum err_code journal_begin(struct store *store, struct journal_entry *entry, struct err *e)
{
    struct journal_entry work = *entry;
    const enum err_code code = store_write(store, apply_begin, &work, e);
    if (code == ERR_OK || code == ERR_EXISTS)
        *entry = work;
    return code;
}

static enum err_code apply_settle(struct store_db *db, void *context, struct err *e)
{
    const struct journal_entry *entry = context;
    sqlite3_stmt *s;
    TRY(db_take(db, SQL_JOURNAL_SETTLE, &s, e));
    sqlite3_bind_int64(s, 1, entry->id);
    db_bind_text(s, 2, entry->response_code);
    db_bind_text(s, 3, entry->authorization);
    db_bind_blob(s, 4, entry->answer, entry->answer_len);
    sqlite3_bind_int(s, 5, (int)entry->state);
    TRY(db_run(db, s, e));
    return sqlite3_changes(db->db) == 1
               ? ERR_OK
               : err_set(e, ERR_STATE, "the transaction is being reversed; it is approved no more");
}

enum err_code journal_settle(struct store *store, const struct journal_entry *entry, struct err *e)
{
    struct journal_entry work = *entry;
    return store_write(store, apply_settle, &work, e);
}

static enum err_code apply_get(struct store_db *db, void *context, struct err *e)
{
    return read_key(db, context, e);
}

enum err_code journal_get(struct store *store, const char *terminal_id, const char *batch, const char *trace,
                          struct journal_entry *out_entry, struct err *e)
{
    struct journal_entry work = {0};
    if (strlen(terminal_id) >= sizeof work.terminal_id || strlen(batch) >= sizeof work.batch ||
        strlen(trace) >= sizeof work.trace)
        return err_set(e, ERR_NOT_FOUND, "no such transaction");
    snprintf(work.terminal_id, sizeof work.terminal_id, "%s", terminal_id);
    snprintf(work.batch, sizeof work.batch, "%s", batch);
    snprintf(work.trace, sizeof work.trace, "%s", trace);
    TRY(store_read(store, apply_get, &work, e));
    *out_entry = work;
    return ERR_OK;
}

struct recover {
    int64_t before_ms;
    uint64_t count;
};

static enum err_code apply_recover(struct store_db *db, void *context, struct err *e)
{
    struct recover *recover = context;
    sqlite3_stmt *s;
    TRY(db_take(db, SQL_JOURNAL_RECOVER, &s, e));
    sqlite3_bind_int64(s, 1, recover->before_ms);
    TRY(db_run(db, s, e));
    recover->count = (uint64_t)sqlite3_changes64(db->db);
    return ERR_OK;
}

enum err_code journal_recover(struct store *store, int64_t before_ms, uint64_t *out_count, struct err *e)
{
    struct recover recover = {.before_ms = before_ms};
    TRY(store_write(store, apply_recover, &recover, e));
    *out_count = recover.count;
    return ERR_OK;
}

static enum err_code apply_next_reversal(struct store_db *db, void *context, struct err *e)
{
    struct journal_entry *entry = context;
    sqlite3_stmt *s;
    bool row;
    TRY(db_take(db, SQL_JOURNAL_NEXT_REVERSAL, &s, e));
    sqlite3_bind_int64(s, 1, entry->id);
    TRY(db_step(db, s, &row, e));
    if (row)
        read_entry(s, entry);
    db_give(s);
    return row ? ERR_OK : err_set(e, ERR_NOT_FOUND, "nothing to reverse");
}

enum err_code journal_next_reversal(struct store *store, int64_t after, struct journal_entry *out_entry,
                                    struct err *e)
{
    struct journal_entry work = {.id = after};
    TRY(store_read(store, apply_next_reversal, &work, e));
    *out_entry = work;
    return ERR_OK;
}

static enum err_code apply_reversed(struct store_db *db, void *context, struct err *e)
{
    sqlite3_stmt *s;
    TRY(db_take(db, SQL_JOURNAL_REVERSED, &s, e));
    sqlite3_bind_int64(s, 1, *(const int64_t *)context);
    return db_run(db, s, e);
}

enum err_code journal_reversed(struct store *store, int64_t id, struct err *e)
{
    return store_write(store, apply_reversed, &id, e);
}

struct list {
    const char *terminal_id;
    int64_t before;
    size_t most;
    struct journal_entry *entries;
    size_t count;
};

static enum err_code apply_list(struct store_db *db, void *context, struct err *e)
{
    struct list *list = context;
    sqlite3_stmt *s;
    bool row;
    const bool all = list->terminal_id[0] == '\0';
    TRY(db_take(db, all ? SQL_JOURNAL_LIST : SQL_JOURNAL_LIST_TERMINAL, &s, e));
    if (!all)
        db_bind_text(s, 1, list->terminal_id);
    sqlite3_bind_int64(s, 2, list->before);
    sqlite3_bind_int64(s, 3, (int64_t)list->most);
    TRY(db_step(db, s, &row, e));
    while (row && list->count < list->most) {
        read_entry(s, &list->entries[list->count++]);
        TRY(db_step(db, s, &row, e));
    }
    db_give(s);
    return ERR_OK;
}

enum err_code journal_list(struct store *store, const char *terminal_id, int64_t before, size_t most,
                           struct journal_entry *out_entries, size_t *out_count, struct err *e)
{
    struct list list = {terminal_id, before, most, out_entries, 0};
    TRY(store_report(store, apply_list, &list, e));
    *out_count = list.count;
    return ERR_OK;
}

static enum err_code apply_count(struct store_db *db, void *context, struct err *e)
{
    struct journal_counts *counts = context;
    sqlite3_stmt *s;
    bool row;
    TRY(db_take(db, SQL_JOURNAL_COUNT, &s, e));
    TRY(db_step(db, s, &row, e));
    if (row)
        *counts = (struct journal_counts){
            (uint64_t)sqlite3_column_int64(s, 0), (uint64_t)sqlite3_column_int64(s, 1),
            (uint64_t)sqlite3_column_int64(s, 2), (uint64_t)sqlite3_column_int64(s, 3)};
    db_give(s);
    return ERR_OK;
}

enum err_code journal_count(struct store *store, struct journal_counts *out_counts, struct err *e)
{
    struct journal_counts counts = {0};
    TRY(store_report(store, apply_count, &counts, e));
    *out_counts = counts;
    return ERR_OK;
}

/* Devices and cards. */
#include "posp/store_sql.h"

struct device_put {
    const struct store_device *device;
    int64_t revision;
};

static enum err_code apply_device_put(struct store_db *db, void *context, struct err *e)
{
    const struct device_put *put = context;
    sqlite3_stmt *s;
    if (put->device != NULL) {
        TRY(db_take(db, SQL_DEVICE_PUT, &s, e));
        db_bind_text(s, 1, put->device->terminal_id);
        db_bind_text(s, 2, put->device->merchant_id);
        db_bind_text(s, 3, put->device->psam_number);
        sqlite3_bind_int(s, 4, put->device->suite);
        sqlite3_bind_int64(s, 5, put->device->master_version);
        sqlite3_bind_int(s, 6, put->device->state);
        sqlite3_bind_int64(s, 7, put->device->revision);
        sqlite3_bind_int64(s, 8, put->device->wrap_version);
        TRY(db_run(db, s, e));
    }
    TRY(db_take(db, SQL_REVISION_PUT, &s, e));
    sqlite3_bind_int64(s, 1, put->revision);
    return db_run(db, s, e);
}

enum err_code store_device_put(struct store *store, const struct store_device *device, int64_t revision,
                               struct err *e)
{
    struct device_put put = {device, revision};
    return store_write(store, apply_device_put, &put, e);
}

static enum err_code apply_devices_clear(struct store_db *db, void *context, struct err *e)
{
    (void)context;
    sqlite3_stmt *s;
    TRY(db_run_plain(db, SQL_DEVICES_CLEAR, e));
    TRY(db_take(db, SQL_REVISION_PUT, &s, e));
    sqlite3_bind_int64(s, 1, 0);
    return db_run(db, s, e);
}

enum err_code store_devices_clear(struct store *store, struct err *e)
{
    return store_write(store, apply_devices_clear, NULL, e);
}

struct device_get {
    const char *terminal_id;
    struct store_device device;
};

static enum err_code apply_device_get(struct store_db *db, void *context, struct err *e)
{
    struct device_get *get = context;
    sqlite3_stmt *s;
    bool row;
    TRY(db_take(db, SQL_DEVICE_GET, &s, e));
    db_bind_text(s, 1, get->terminal_id);
    TRY(db_step(db, s, &row, e));
    if (row) {
        struct store_device *d = &get->device;
        db_text(s, 0, d->terminal_id, sizeof d->terminal_id);
        db_text(s, 1, d->merchant_id, sizeof d->merchant_id);
        db_text(s, 2, d->psam_number, sizeof d->psam_number);
        d->suite = sqlite3_column_int(s, 3);
        d->master_version = (uint32_t)sqlite3_column_int64(s, 4);
        d->state = sqlite3_column_int(s, 5);
        d->revision = sqlite3_column_int64(s, 6);
        d->wrap_version = (uint32_t)sqlite3_column_int64(s, 7);
    }
    db_give(s);
    return row ? ERR_OK : err_set(e, ERR_NOT_FOUND, "terminal is not registered");
}

enum err_code store_device_get(struct store *store, const char *terminal_id, struct store_device *out_device,
                               struct err *e)
{
    struct device_get get = {.terminal_id = terminal_id};
    TRY(store_read(store, apply_device_get, &get, e));
    *out_device = get.device;
    return ERR_OK;
}

struct progress {
    int64_t revision;
    uint64_t count;
};

static enum err_code apply_progress(struct store_db *db, void *context, struct err *e)
{
    struct progress *progress = context;
    sqlite3_stmt *s;
    bool row;
    TRY(db_take(db, SQL_PROGRESS, &s, e));
    TRY(db_step(db, s, &row, e));
    if (row)
        *progress = (struct progress){sqlite3_column_int64(s, 0), (uint64_t)sqlite3_column_int64(s, 1)};
    db_give(s);
    return row ? ERR_OK : err_set(e, ERR_INTERNAL, "the store has no revision row");
}

enum err_code store_device_progress(struct store *store, int64_t *out_revision, uint64_t *out_count,
                                    struct err *e)
{
    struct progress progress = {0};
    TRY(store_read(store, apply_progress, &progress, e));
    *out_revision = progress.revision;
    *out_count = progress.count;
    return ERR_OK;
}

static enum err_code apply_card_put(struct store_db *db, void *context, struct err *e)
{
    const struct store_card *card = context;
    sqlite3_stmt *s;
    TRY(db_take(db, SQL_CARD_PUT, &s, e));
    db_bind_text(s, 1, card->psam_number);
    sqlite3_bind_int(s, 2, card->suite);
    sqlite3_bind_int64(s, 3, card->master_version);
    db_bind_blob(s, 4, card->kcv, sizeof card->kcv);
    db_bind_blob(s, 5, card->tmk.bytes, card->tmk.len);
    sqlite3_bind_int(s, 6, card->state);
    sqlite3_bind_int64(s, 7, card->updated_ms);
    sqlite3_bind_int64(s, 8, card->seal.storage);
    sqlite3_bind_int64(s, 9, card->seal.tag);
    sqlite3_bind_int(s, 10, card->control_suite);
    sqlite3_bind_int64(s, 11, card->control_version);
    sqlite3_bind_int64(s, 12, card->wrap_version);
    return db_run(db, s, e);
}

enum err_code store_card_put(struct store *store, const struct store_card *card, struct err *e)
{
    struct store_card copy = *card;
    return store_write(store, apply_card_put, &copy, e);
}

struct card_written {
    const struct store_card *card;
    bool found;
};

static enum err_code apply_card_written(struct store_db *db, void *context, struct err *e)
{
    struct card_written *const w = context;
    sqlite3_stmt *s;
    TRY(db_take(db, SQL_CARD_WRITTEN, &s, e));
    db_bind_text(s, 1, w->card->psam_number);
    db_bind_blob(s, 2, w->card->kcv, sizeof w->card->kcv);
    sqlite3_bind_int(s, 3, w->card->state);
    sqlite3_bind_int64(s, 4, w->card->updated_ms);
    TRY(db_run(db, s, e));
    w->found = sqlite3_changes(db->db) == 1;
    return ERR_OK;
}

enum err_code store_card_written(struct store *store, const struct store_card *card, struct err *e)
{
    struct card_written w = {.card = card};
    TRY(store_write(store, apply_card_written, &w, e));
    return w.found
               ? ERR_OK
               : err_set(e, ERR_STATE, "another key was asked for meanwhile; ask for the card's key again");
}

struct card_get {
    const char *psam_number;
    struct store_card card;
};

static enum err_code apply_card_get(struct store_db *db, void *context, struct err *e)
{
    struct card_get *get = context;
    sqlite3_stmt *s;
    bool row;
    TRY(db_take(db, SQL_CARD_GET, &s, e));
    db_bind_text(s, 1, get->psam_number);
    TRY(db_step(db, s, &row, e));
    if (row) {
        struct store_card *c = &get->card;
        db_text(s, 0, c->psam_number, sizeof c->psam_number);
        c->suite = sqlite3_column_int(s, 1);
        c->master_version = (uint32_t)sqlite3_column_int64(s, 2);
        (void)db_blob(s, 3, c->kcv, sizeof c->kcv);
        c->tmk.len = db_blob(s, 4, c->tmk.bytes, sizeof c->tmk.bytes);
        c->state = sqlite3_column_int(s, 5);
        c->updated_ms = sqlite3_column_int64(s, 6);
        c->seal =
            (struct store_seal){(uint32_t)sqlite3_column_int64(s, 7), (uint32_t)sqlite3_column_int64(s, 8)};
        c->control_suite = sqlite3_column_int(s, 9);
        c->control_version = (uint32_t)sqlite3_column_int64(s, 10);
        c->wrap_version = (uint32_t)sqlite3_column_int64(s, 11);
    }
    db_give(s);
    return row ? ERR_OK : err_set(e, ERR_NOT_FOUND, "no key was asked for this PSAM number");
}

enum err_code store_card_get(struct store *store, const char *psam_number, struct store_card *out_card,
                             struct err *e)
{
    struct card_get get = {.psam_number = psam_number};
    TRY(store_read(store, apply_card_get, &get, e));
    *out_card = get.card;
    return ERR_OK;
}

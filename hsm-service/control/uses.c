/* Who depends on which key, as those who know told it, and the register of keys that are gone. */
#include "hsm-service/control/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANONYMOUS      "anonymous"
#define DESTROYED_MOST 4096

struct reporting {
    const char *reporter;
    int64_t now_ms;
    const struct control_use *uses;
    size_t count;
};

static enum err_code put_reporter(struct control_store *s, const struct reporting *x, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    TRY(control_take(s, SQL_PUT_REPORTER, &statement, e));
    sqlite_bind_text(statement, 1, x->reporter);
    sqlite3_bind_int64(statement, 2, x->now_ms);
    TRY(sqlite_run(&s->link, statement, e));
    TRY(control_take(s, SQL_FORGET_USES, &statement, e));
    sqlite_bind_text(statement, 1, x->reporter);
    return sqlite_run(&s->link, statement, e);
}

static enum err_code report_step(struct control_store *s, void *context, struct err *e)
{
    const struct reporting *const x = context;
    TRY(put_reporter(s, x, e));
    for (size_t i = 0; i < x->count; i++) {
        sqlite3_stmt *statement = NULL;
        TRY(control_take(s, SQL_INSERT_USE, &statement, e));
        sqlite_bind_text(statement, 1, x->reporter);
        sqlite_bind_text(statement, 2, x->uses[i].label);
        sqlite_bind_text(statement, 3, x->uses[i].what);
        sqlite3_bind_int64(statement, 4, (int64_t)x->uses[i].count);
        TRY(sqlite_run(&s->link, statement, e));
    }
    return ERR_OK;
}

enum err_code control_report(struct control *c, const struct control_caller *caller,
                             const struct control_use *uses, size_t count, struct err *e)
{
    const bool known = caller->identity != NULL && caller->identity[0] != '\0';
    struct reporting x = {known ? caller->identity : ANONYMOUS, caller->now_ms, uses, count};
    if (known)
        TRY(control_check_caller(caller, e));
    if (count > CONTROL_USES_MOST)
        return err_set(e, ERR_INPUT, "a report has at most %d uses", CONTROL_USES_MOST);
    for (size_t i = 0; i < count; i++)
        if (uses[i].count > INT64_MAX / CONTROL_USES_MOST) /* their sum has to fit, too */
            return err_set(e, ERR_INPUT, "uses[%zu].count is too large", i);
    return control_change(c, report_step, &x, e);
}

static enum err_code read_uses(struct control *c, const char *label, size_t capacity,
                               struct control_use *out_uses, size_t *out_count, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    size_t count = 0;
    TRY(control_take(&c->store, SQL_USES, &statement, e));
    sqlite_bind_text(statement, 1, label);
    sqlite3_bind_int64(statement, 2, (int64_t)capacity);
    TRY(sqlite_step(&c->store.link, statement, &row, e));
    while (row) {
        struct control_use *const use = &out_uses[count++];
        *use = (struct control_use){.reported_ms = sqlite3_column_int64(statement, 1),
                                    .count = (uint64_t)sqlite3_column_int64(statement, 4)};
        sqlite_read_text(statement, 0, use->reporter, sizeof use->reporter);
        sqlite_read_text(statement, 2, use->label, sizeof use->label);
        sqlite_read_text(statement, 3, use->what, sizeof use->what);
        TRY(sqlite_step(&c->store.link, statement, &row, e));
    }
    *out_count = count;
    return ERR_OK;
}

enum err_code control_uses(struct control *c, const char *label, size_t capacity,
                           struct control_use *out_uses, size_t *out_count, struct err *e)
{
    pthread_mutex_lock(&c->lock);
    const enum err_code code = read_uses(c, label, capacity, out_uses, out_count, e);
    pthread_mutex_unlock(&c->lock);
    return code;
}

enum err_code control_is_told(struct control *c, bool *out_told, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    int64_t reporters = 0;
    pthread_mutex_lock(&c->lock);
    enum err_code code = control_take(&c->store, SQL_REPORTERS, &statement, e);
    if (code == ERR_OK)
        code = control_number(&c->store, statement, &reporters, e);
    pthread_mutex_unlock(&c->lock);
    if (code == ERR_OK)
        *out_told = reporters > 0;
    return code;
}

/* ---- The register ---- */

void control_keys_free(ControlKey **keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        posward__hsm__v1__key__free_unpacked(keys[i], NULL);
    free(keys);
}

static enum err_code read_destroyed(struct control *c, ControlKey **keys, size_t *count, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    TRY(control_take(&c->store, SQL_DESTROYED, &statement, e));
    TRY(sqlite_step(&c->store.link, statement, &row, e));
    while (row && *count < DESTROYED_MOST) {
        ControlKey *const key = posward__hsm__v1__key__unpack(
            NULL, (size_t)sqlite3_column_bytes(statement, 0), sqlite3_column_blob(statement, 0));
        if (key == NULL)
            return err_set(e, ERR_IO, "the register of destroyed keys cannot be read");
        keys[(*count)++] = key;
        TRY(sqlite_step(&c->store.link, statement, &row, e));
    }
    sqlite3_reset(statement);
    return ERR_OK;
}

enum err_code control_destroyed(struct control *c, ControlKey ***out_keys, size_t *out_count, struct err *e)
{
    ControlKey **const keys = calloc(DESTROYED_MOST, sizeof(ControlKey *));
    size_t count = 0;
    if (keys == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the register of destroyed keys");
    pthread_mutex_lock(&c->lock);
    const enum err_code code = read_destroyed(c, keys, &count, e);
    pthread_mutex_unlock(&c->lock);
    if (code != ERR_OK) {
        control_keys_free(keys, count);
        return code;
    }
    *out_keys = keys;
    *out_count = count;
    return ERR_OK;
}

#include "hsm-service/control/control.h"

#include "hsm-service/control/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Open and close ---- */

static enum err_code load_policy(struct control *c, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    TRY(control_take(&c->store, SQL_GET_POLICY, &statement, e));
    TRY(sqlite_step(&c->store.link, statement, &row, e));
    if (!row)
        return ERR_OK;
    Posward__Hsm__V1__Policy *const m = posward__hsm__v1__policy__unpack(
        NULL, (size_t)sqlite3_column_bytes(statement, 0), sqlite3_column_blob(statement, 0));
    const struct control_policy none = {0};
    enum err_code code = err_set(e, ERR_IO, "the policy in the store cannot be read");
    if (m != NULL) {
        code = control_policy_read(m, &none, &c->changed, e);
        posward__hsm__v1__policy__free_unpacked(m, NULL);
    }
    sqlite3_reset(statement);
    return code;
}

enum err_code control_open(const struct control_options *options, struct control **out_control, struct err *e)
{
    struct control *const c = calloc(1, sizeof *c);
    if (c == NULL)
        return err_set(e, ERR_LIMIT, "no memory for dual control");
    c->options = *options;
    enum err_code code = control_store_open(&c->store, options->path, e);
    if (code == ERR_OK)
        code = load_policy(c, e);
    if (code != ERR_OK) {
        control_store_close(&c->store);
        free(c);
        return code;
    }
    pthread_mutex_init(&c->lock, NULL);
    *out_control = c;
    return ERR_OK;
}

void control_close(struct control *c)
{
    if (c == NULL)
        return;
    control_store_close(&c->store);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- What every change does ---- */

enum err_code control_change(struct control *c, control_step_fn step, void *context, struct err *e)
{
    pthread_mutex_lock(&c->lock);
    const enum err_code code = control_transaction(&c->store, step, context, e);
    pthread_mutex_unlock(&c->lock);
    return code;
}

enum err_code control_record(struct control *c, const struct control_event *event, struct err *e)
{
    return c->options.record != NULL ? c->options.record(c->options.context, event, e) : ERR_OK;
}

enum err_code control_record_attempt(struct control *c, const struct control_caller *caller, const char *what,
                                     const struct control_proposal *p, const struct err *failure,
                                     struct err *e)
{
    char note[CONTROL_SUMMARY_BYTES + CONTROL_REASON_BYTES + 64];
    snprintf(note, sizeof note, "id=%s %s; reason: %s", p->id, p->summary, p->reason);
    const struct control_event event = {.what = what,
                                        .who = caller->identity != NULL ? caller->identity : "service",
                                        .label = p->label,
                                        .grade = "",
                                        .note = note,
                                        .failure = failure,
                                        .trace = caller->trace != NULL ? caller->trace : ""};
    return control_record(c, &event, e);
}

enum err_code control_record_proposal(struct control *c, const struct control_caller *caller,
                                      const char *what, const struct control_proposal *p, struct err *e)
{
    return control_record_attempt(c, caller, what, p, NULL, e);
}

enum err_code control_check_caller(const struct control_caller *caller, struct err *e)
{
    if (caller->identity == NULL || caller->identity[0] == '\0')
        return err_set(e, ERR_STATE, "dual control needs callers who prove who they are: turn on TLS");
    if (strlen(caller->identity) >= CONTROL_IDENTITY_BYTES)
        return err_set(e, ERR_INPUT, "an operator's identity has at most %d characters",
                       CONTROL_IDENTITY_BYTES - 1);
    return ERR_OK;
}

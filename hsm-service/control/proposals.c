/* Proposals in and out of the store. */
#include "hsm-service/control/control.h"
#include "hsm-service/control/store.h"

#include <stdlib.h>
#include <string.h>

static enum err_code bind_message(sqlite3_stmt *statement, int index, const ProtobufCMessage *message,
                                  struct err *e)
{
    if (message == NULL)
        return ERR_OK; /* NULL is what an unbound parameter is */
    const size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *const bytes = malloc(len + 1);
    if (bytes == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a proposal");
    protobuf_c_message_pack(message, bytes);
    sqlite3_bind_blob(statement, index, bytes, (int)len, free);
    return ERR_OK;
}

enum err_code control_insert_approval(struct control_store *s, struct control_proposal *p,
                                      const struct control_approval *approval, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    if (p->approval_count >= CONTROL_APPROVALS_MOST)
        return err_set(e, ERR_LIMIT, "a proposal has at most %d approvals", CONTROL_APPROVALS_MOST);
    TRY(control_take(s, SQL_INSERT_APPROVAL, &statement, e));
    sqlite3_bind_int64(statement, 1, p->number);
    sqlite_bind_text(statement, 2, approval->identity);
    sqlite3_bind_int64(statement, 3, approval->at_ms);
    TRY(sqlite_run(&s->link, statement, e));
    p->approvals[p->approval_count++] = *approval;
    return ERR_OK;
}

enum err_code control_insert(struct control_store *s, struct control_proposal *p, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    struct control_approval first = {.at_ms = p->proposed_ms};
    memcpy(first.identity, p->proposed_by, sizeof first.identity);
    TRY(control_take(s, SQL_INSERT_PROPOSAL, &statement, e));
    const char *const texts[] = {p->label, p->summary, p->reason, p->proposed_by};
    sqlite_bind_text(statement, 1, p->id);
    sqlite3_bind_int(statement, 2, (int)p->state);
    for (int i = 0; i < 4; i++)
        sqlite_bind_text(statement, 3 + i, texts[i]);
    sqlite3_bind_int64(statement, 7, p->proposed_ms);
    sqlite3_bind_int64(statement, 8, p->expires_ms);
    sqlite3_bind_int(statement, 9, (int)p->approvals_needed);
    TRY(bind_message(statement, 10, &p->request->base, e));
    TRY(bind_message(statement, 11, p->outcome != NULL ? &p->outcome->base : NULL, e));
    sqlite_bind_text(statement, 12, p->would_break);
    TRY(control_number(s, statement, &p->number, e));
    return control_insert_approval(s, p, &first, e);
}

enum err_code control_insert_component(struct control_store *s, struct control_proposal *p,
                                       const struct control_component *component, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    if (p->component_count >= CONTROL_COMPONENTS_MOST)
        return err_set(e, ERR_LIMIT, "a key has at most %d components", CONTROL_COMPONENTS_MOST);
    TRY(control_take(s, SQL_INSERT_COMPONENT, &statement, e));
    sqlite3_bind_int64(statement, 1, p->number);
    sqlite3_bind_int(statement, 2, (int)p->component_count + 1);
    sqlite_bind_text(statement, 3, component->identity);
    sqlite3_bind_blob(statement, 4, component->kcv, sizeof component->kcv, SQLITE_TRANSIENT);
    sqlite3_bind_int64(statement, 5, component->at_ms);
    sqlite3_bind_blob(statement, 6, component->ciphertext, (int)component->len, SQLITE_TRANSIENT);
    TRY(sqlite_run(&s->link, statement, e));
    p->components[p->component_count++] = *component;
    return ERR_OK;
}

static enum err_code forget_what_was_brought(struct control_store *s, struct control_proposal *p,
                                             struct err *e)
{
    sqlite3_stmt *statement = NULL;
    control_strip(p->request);
    for (size_t i = 0; i < p->component_count; i++)
        p->components[i].len = 0;
    TRY(control_take(s, SQL_FORGET_COMPONENTS, &statement, e));
    sqlite3_bind_int64(statement, 1, p->number);
    return sqlite_run(&s->link, statement, e);
}

enum err_code control_update(struct control_store *s, struct control_proposal *p, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    if (p->state != CONTROL_PENDING && p->state != CONTROL_EXECUTING)
        TRY(forget_what_was_brought(s, p, e));
    TRY(control_take(s, SQL_UPDATE_PROPOSAL, &statement, e));
    sqlite3_bind_int64(statement, 1, p->number);
    sqlite3_bind_int(statement, 2, (int)p->state);
    sqlite3_bind_int(statement, 3, (int)p->approvals_needed);
    sqlite3_bind_int(statement, 4, (int)p->attempts);
    TRY(bind_message(statement, 5, &p->request->base, e));
    TRY(bind_message(statement, 6, p->outcome != NULL ? &p->outcome->base : NULL, e));
    sqlite_bind_text(statement, 7, p->would_break);
    sqlite_bind_text(statement, 8, p->detail);
    sqlite_bind_text(statement, 9, p->closed_by);
    sqlite3_bind_int64(statement, 10, p->closed_ms);
    return sqlite_run(&s->link, statement, e);
}

/* ---- Reading ---- */

static size_t read_bytes(sqlite3_stmt *row, int column, void *out_bytes, size_t capacity)
{
    const void *const bytes = sqlite3_column_blob(row, column);
    const size_t len = (size_t)sqlite3_column_bytes(row, column);
    if (bytes == NULL || len > capacity)
        return 0;
    memcpy(out_bytes, bytes, len);
    return len;
}

static enum err_code read_row(sqlite3_stmt *row, struct control_proposal *p, struct err *e)
{
    const struct {
        int column;
        char *text;
        size_t capacity;
    } texts[] = {
        {1, p->id, sizeof p->id},
        {3, p->label, sizeof p->label},
        {4, p->summary, sizeof p->summary},
        {5, p->reason, sizeof p->reason},
        {6, p->proposed_by, sizeof p->proposed_by},
        {13, p->would_break, sizeof p->would_break},
        {14, p->detail, sizeof p->detail},
        {15, p->closed_by, sizeof p->closed_by},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        sqlite_read_text(row, texts[i].column, texts[i].text, texts[i].capacity);
    p->number = sqlite3_column_int64(row, 0);
    p->state = (enum control_state)sqlite3_column_int(row, 2);
    p->proposed_ms = sqlite3_column_int64(row, 7);
    p->expires_ms = sqlite3_column_int64(row, 8);
    p->approvals_needed = (unsigned)sqlite3_column_int(row, 9);
    p->attempts = (unsigned)sqlite3_column_int(row, 10);
    p->closed_ms = sqlite3_column_int64(row, 16);
    p->request = posward__hsm__v1__propose_request__unpack(NULL, (size_t)sqlite3_column_bytes(row, 11),
                                                           sqlite3_column_blob(row, 11));
    if (p->request != NULL && sqlite3_column_type(row, 12) != SQLITE_NULL)
        p->outcome = posward__hsm__v1__key_outcome__unpack(NULL, (size_t)sqlite3_column_bytes(row, 12),
                                                           sqlite3_column_blob(row, 12));
    if (p->request == NULL || (p->outcome == NULL && sqlite3_column_type(row, 12) != SQLITE_NULL))
        return err_set(e, ERR_IO,
                       "proposal %s in the store cannot be read: restore keymgmt.path from a backup", p->id);
    return ERR_OK;
}

static enum err_code read_approvals(struct control_store *s, struct control_proposal *p, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    TRY(control_take(s, SQL_APPROVALS, &statement, e));
    sqlite3_bind_int64(statement, 1, p->number);
    TRY(sqlite_step(&s->link, statement, &row, e));
    while (row && p->approval_count < CONTROL_APPROVALS_MOST) {
        struct control_approval *const a = &p->approvals[p->approval_count++];
        sqlite_read_text(statement, 0, a->identity, sizeof a->identity);
        a->at_ms = sqlite3_column_int64(statement, 1);
        TRY(sqlite_step(&s->link, statement, &row, e));
    }
    return ERR_OK;
}

static enum err_code read_components(struct control_store *s, struct control_proposal *p, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    TRY(control_take(s, SQL_COMPONENTS, &statement, e));
    sqlite3_bind_int64(statement, 1, p->number);
    TRY(sqlite_step(&s->link, statement, &row, e));
    while (row && p->component_count < CONTROL_COMPONENTS_MOST) {
        struct control_component *const c = &p->components[p->component_count++];
        sqlite_read_text(statement, 0, c->identity, sizeof c->identity);
        (void)read_bytes(statement, 1, c->kcv, sizeof c->kcv);
        c->at_ms = sqlite3_column_int64(statement, 2);
        c->len = read_bytes(statement, 3, c->ciphertext, sizeof c->ciphertext);
        TRY(sqlite_step(&s->link, statement, &row, e));
    }
    return ERR_OK;
}

static enum err_code read_parts(struct control_store *s, struct control_proposal *p, struct err *e)
{
    TRY(read_approvals(s, p, e));
    return read_components(s, p, e);
}

enum err_code control_find(struct control_store *s, const char *id, struct control_proposal *out_proposal,
                           struct err *e)
{
    sqlite3_stmt *statement = NULL;
    struct control_proposal p = {0};
    bool row = false;
    TRY(control_take(s, SQL_PROPOSAL_BY_ID, &statement, e));
    sqlite_bind_text(statement, 1, id);
    TRY(sqlite_step(&s->link, statement, &row, e));
    if (!row)
        return err_set(e, ERR_NOT_FOUND, "there is no proposal '%.20s'; posward key proposals lists them",
                       id);
    enum err_code code = read_row(statement, &p, e);
    sqlite3_reset(statement);
    if (code == ERR_OK)
        code = read_parts(s, &p, e);
    if (code == ERR_OK)
        *out_proposal = p;
    else
        control_proposal_drop(&p);
    return code;
}

void control_proposals_free(struct control_proposal *proposals, size_t count)
{
    for (size_t i = 0; i < count; i++)
        control_proposal_drop(&proposals[i]);
    free(proposals);
}

static enum err_code collect_rows(struct control_store *s, sqlite3_stmt *statement, size_t capacity,
                                  struct control_proposal *list, size_t *count, struct err *e)
{
    bool row = false;
    TRY(sqlite_step(&s->link, statement, &row, e));
    while (row && *count < capacity) {
        TRY(read_row(statement, &list[(*count)++], e));
        TRY(sqlite_step(&s->link, statement, &row, e));
    }
    sqlite3_reset(statement);
    for (size_t i = 0; i < *count; i++)
        TRY(read_parts(s, &list[i], e));
    return ERR_OK;
}

enum err_code control_collect(struct control_store *s, sqlite3_stmt *statement, size_t capacity,
                              struct control_proposal **out_proposals, size_t *out_count, struct err *e)
{
    struct control_proposal *const list = calloc(capacity, sizeof *list);
    size_t count = 0;
    if (list == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a list of proposals");
    const enum err_code code = collect_rows(s, statement, capacity, list, &count, e);
    if (code != ERR_OK) {
        control_proposals_free(list, count);
        return code;
    }
    *out_proposals = list;
    *out_count = count;
    return ERR_OK;
}

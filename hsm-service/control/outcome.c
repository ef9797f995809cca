/* How a proposal that was carried out ends: in the store, the policy and the register of destroyed keys. */
#include "hsm-service/control/inside.h"

#include "base/hex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err_code copy_outcome(const ControlOutcome *outcome, ControlOutcome **out_copy, struct err *e)
{
    const size_t len = posward__hsm__v1__key_outcome__get_packed_size(outcome);
    uint8_t *const bytes = malloc(len + 1);
    if (bytes == NULL)
        return err_set(e, ERR_LIMIT, "no memory for an outcome");
    posward__hsm__v1__key_outcome__pack(outcome, bytes);
    ControlOutcome *const copy = posward__hsm__v1__key_outcome__unpack(NULL, len, bytes);
    free(bytes);
    if (copy == NULL)
        return err_set(e, ERR_LIMIT, "no memory for an outcome");
    *out_copy = copy;
    return ERR_OK;
}

static enum err_code put_message(struct control_store *s, sqlite3_stmt *statement, int index,
                                 const ProtobufCMessage *message, struct err *e)
{
    const size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *const bytes = malloc(len + 1);
    if (bytes == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the store");
    protobuf_c_message_pack(message, bytes);
    sqlite3_bind_blob(statement, index, bytes, (int)len, free);
    return sqlite_run(&s->link, statement, e);
}

static enum err_code put_policy(struct control *c, const struct control_proposal *p, struct err *e)
{
    struct control_policy policy;
    sqlite3_stmt *statement = NULL;
    TRY(control_policy_read(p->request->policy->policy, &c->changed, &policy, e));
    const Posward__Hsm__V1__Policy message = control_policy_message(&policy);
    TRY(control_take(&c->store, SQL_PUT_POLICY, &statement, e));
    return put_message(&c->store, statement, 1, &message.base, e);
}

void control_adopt_policy(struct control *c, const struct control_proposal *p)
{
    struct err e = {0};
    struct control_policy policy;
    if (p->state != CONTROL_EXECUTED ||
        p->request->action_case != POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_POLICY)
        return;
    pthread_mutex_lock(&c->lock);
    if (control_policy_read(p->request->policy->policy, &c->changed, &policy, &e) == ERR_OK)
        c->changed = policy;
    pthread_mutex_unlock(&c->lock);
}

/* The token forgets a destroyed key; who looks for it later must find that it was, and its version is not
 * used again. */
static enum err_code register_destroyed(struct control *c, const struct control_proposal *p, int64_t now_ms,
                                        struct err *e)
{
    const ControlKeyName *const name = p->request->destroy->key;
    Posward__Hsm__V1__Key key = POSWARD__HSM__V1__KEY__INIT;
    sqlite3_stmt *statement = NULL;
    if (p->outcome != NULL && p->outcome->n_keys > 0)
        key = *p->outcome->keys[0];
    key.role = name->role;
    key.suite = name->suite;
    key.zone = name->zone;
    key.version = name->version;
    key.state = POSWARD__HSM__V1__KEY_STATE__KEY_STATE_DESTROYED;
    key.destroyed_ms = key.destroyed_ms != 0 ? key.destroyed_ms : now_ms;
    TRY(control_take(&c->store, SQL_INSERT_DESTROYED, &statement, e));
    sqlite_bind_text(statement, 1, p->label);
    return put_message(&c->store, statement, 2, &key.base, e);
}

static enum err_code apply(struct control *c, const struct control_proposal *p, int64_t now_ms, struct err *e)
{
    if (p->request->action_case == POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_POLICY)
        return put_policy(c, p, e);
    if (p->request->action_case == POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_DESTROY)
        return register_destroyed(c, p, now_ms, e);
    return ERR_OK;
}

static const char *grade_of(const struct control_proposal *p)
{
    if (p->outcome == NULL)
        return "";
    if (p->outcome->grade == POSWARD__TYPES__V1__GRADE__GRADE_IN_TOKEN)
        return "IN_TOKEN";
    return p->outcome->grade == POSWARD__TYPES__V1__GRADE__GRADE_PROCESS_MEMORY ? "PROCESS_MEMORY" : "";
}

static void kcv_text(const struct control_proposal *p, char out_text[2 * CONTROL_KCV_BYTES + 1])
{
    const ControlOutcome *const o = p->outcome;
    out_text[0] = '\0';
    if (o != NULL && o->n_keys > 0 && o->keys[0]->kcv.len == CONTROL_KCV_BYTES)
        hex_encode(o->keys[0]->kcv.data, CONTROL_KCV_BYTES, out_text);
}

static enum err_code record_end(struct control *c, const struct control_caller *caller,
                                const struct control_proposal *p, const struct err *failure, struct err *e)
{
    char note[CONTROL_SUMMARY_BYTES + CONTROL_DETAIL_BYTES + 64], kcv[2 * CONTROL_KCV_BYTES + 1];
    kcv_text(p, kcv);
    snprintf(note, sizeof note, "id=%s %s%s%s%s%s", p->id, p->summary, kcv[0] != '\0' ? " kcv=" : "", kcv,
             p->detail[0] != '\0' ? ": " : "", p->detail);
    const struct control_event event = {
        .what = p->request->action_case == POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_POLICY ? "policy"
                                                                                            : "execute",
        .who = caller->identity != NULL ? caller->identity : "service",
        .label = p->label,
        .grade = grade_of(p),
        .failure = failure,
        .note = note,
        .trace = caller->trace != NULL ? caller->trace : ""};
    return control_record(c, &event, e);
}

enum err_code control_end_proposal(struct control *c, const struct control_caller *caller,
                                   struct control_proposal *p, const struct control_end *end, struct err *e)
{
    ControlOutcome *copy = NULL;
    if (end->outcome != NULL) {
        TRY(copy_outcome(end->outcome, &copy, e));
        if (p->outcome != NULL)
            posward__hsm__v1__key_outcome__free_unpacked(p->outcome, NULL);
        p->outcome = copy;
    }
    if (end->failure == NULL)
        TRY(apply(c, p, caller->now_ms, e));
    p->state = end->failure == NULL ? CONTROL_EXECUTED : CONTROL_FAILED;
    p->closed_ms = caller->now_ms;
    snprintf(p->detail, sizeof p->detail, "%s", end->detail);
    TRY(control_update(&c->store, p, e));
    return record_end(c, caller, p, end->failure, e);
}

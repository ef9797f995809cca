/* A key that is there: its state, and its end. */
#include "p11/keys/keys.h"
#include "p11/keys/role.h"
#include "p11/keys/state.h"
#include "p11/module/state.h"
#include "p11/object/object.h"

#include <stdio.h>
#include <string.h>

#define OBJECTS_MOST 4 /* of one label: a key, or the two of a pair */

/* A key under the token's lock. */
struct held {
    struct tok_lock lock;
    struct tok_session rw;
    char label[TOK_LABEL_BYTES];
    CK_OBJECT_HANDLE objects[OBJECTS_MOST]; /* the secret or private key first */
    size_t object_count;
    struct tok_stamp stamp;
};

static void held_drop(struct held *h)
{
    tok_session_drop(&h->rw);
    tok_lock_drop(&h->lock);
}

static CK_OBJECT_CLASS class_of(struct tok_session *s, CK_OBJECT_HANDLE object)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_ATTRIBUTE row = {CKA_CLASS, &class, sizeof class};
    return s->fn->C_GetAttributeValue(s->handle, object, &row, 1) == CKR_OK ? class
                                                                            : (CK_OBJECT_CLASS)CKO_DATA;
}

static enum err_code list_objects(struct held *h, struct err *e)
{
    TRY(tok_objects_labelled(&h->rw, h->label, h->objects, OBJECTS_MOST, &h->object_count, e));
    for (size_t i = 1; i < h->object_count; i++) {
        if (class_of(&h->rw, h->objects[0]) != CKO_PUBLIC_KEY)
            break;
        const CK_OBJECT_HANDLE public_key = h->objects[0];
        h->objects[0] = h->objects[i];
        h->objects[i] = public_key;
    }
    if (h->object_count == 0 || class_of(&h->rw, h->objects[0]) == CKO_PUBLIC_KEY)
        return err_set(e, ERR_NOT_FOUND, "the token has no key %s", h->label);
    return ERR_OK;
}

static enum err_code hold(struct tok *tok, const struct tok_key_name *name, struct held *h, struct err *e)
{
    bool found = false;
    TRY(tok_key_check_name(name, e));
    tok_key_label(name, h->label);
    TRY(tok_lock_take(tok->lock_path, &h->lock, e));
    TRY(tok_session_open_rw(tok, &h->rw, e));
    TRY(list_objects(h, e));
    TRY(tok_stamp_find(&h->rw, h->label, &h->stamp, &found, e));
    if (!found) /* a key from before there were stamps */
        h->stamp = (struct tok_stamp){.state = TOK_KEY_ACTIVE};
    return ERR_OK;
}

static enum err_code read_kcv(struct held *h, const struct tok_key_name *name, struct tok_key_info *info,
                              struct err *e)
{
    char id[TOK_RECORD_BYTES];
    size_t len = 0;
    struct tok_key_record record;
    if (tok_role_is_pair(name->role))
        return ERR_OK;
    if (!tok_attribute_text(&h->rw, h->objects[0], CKA_ID, id, sizeof id, &len))
        len = 0;
    TRY(tok_record_parse((const uint8_t *)id, len, h->label, &record, e));
    memcpy(info->kcv, record.kcv, sizeof info->kcv);
    info->has_kcv = true;
    return ERR_OK;
}

enum err_code tok_key_set_state(struct tok *tok, const struct tok_key_name *name, enum tok_key_state state,
                                struct tok_key_info *out_info, struct err *e)
{
    AUTO(held) held = {0};
    struct tok_stamp next;
    TRY(hold(tok, name, &held, e));
    TRY(tok_stamp_next(&held.stamp, state, held.label, &next, e));
    struct tok_key_info info = {.name = *name,
                                .state = next.state,
                                .created_s = next.created_s,
                                .activated_s = next.activated_s,
                                .deactivated_s = next.deactivated_s};
    memcpy(info.label, held.label, sizeof info.label);
    TRY(read_kcv(&held, name, &info, e));
    TRY(tok_stamp_keep(&held.rw, held.label, &next, e));
    TRY(tok_stamps_destroy(&held.rw, held.label, next.generation, e));
    *out_info = info;
    return ERR_OK;
}

static enum err_code destroy(struct tok_session *rw, CK_OBJECT_HANDLE object, struct err *e)
{
    return tok_rv(rw->fn->C_DestroyObject(rw->handle, object), "C_DestroyObject", e);
}

enum err_code tok_key_destroy(struct tok *tok, const struct tok_key_name *name, struct err *e)
{
    AUTO(held) held = {0};
    char left[TOK_LABEL_BYTES + TOK_SUFFIX_BYTES];
    CK_OBJECT_HANDLE halves[OBJECTS_MOST];
    size_t half_count = 0;
    TRY(hold(tok, name, &held, e));
    if (held.stamp.state == TOK_KEY_ACTIVE)
        return err_set(e, ERR_STATE, "%s is active; deactivate it before it is destroyed", held.label);
    snprintf(left, sizeof left, "%s" TOK_LEFT_SUFFIX, held.label);
    TRY(tok_objects_labelled(&held.rw, left, halves, OBJECTS_MOST, &half_count, e));
    /* The key first: what may be left behind is no key, and is cleared away when one of this name is made. */
    for (size_t i = 0; i < held.object_count; i++)
        TRY(destroy(&held.rw, held.objects[i], e));
    for (size_t i = 0; i < half_count; i++)
        TRY(destroy(&held.rw, halves[i], e));
    return tok_stamps_destroy(&held.rw, held.label, TOK_GENERATIONS + 1, e);
}

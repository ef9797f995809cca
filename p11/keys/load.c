/* Finding the keys of the token: each object is checked before it is one. */
#include "p11/keys/cache.h"
#include "p11/keys/table.h"
#include "p11/object/object.h"

#include <stdlib.h>
#include <string.h>

#define KEYS_MOST    4096  /* of posward in one token */
#define OBJECTS_MOST 16384 /* of a class, of whomever */
#define PREFIX       "posward/"

/* What belongs to a key comes after it. */
enum round { ROUND_KEYS, ROUND_LEFTS, ROUND_STATES };
static const char *const suffixes[] = {[ROUND_LEFTS] = TOK_LEFT_SUFFIX, [ROUND_STATES] = TOK_STATE_SUFFIX};

struct load {
    struct tok_session *s;
    struct tok_keys *keys;
    CK_OBJECT_CLASS class; /* of the objects that are listed */
    enum round round;
};

/* A session object is many times faster than a token object; a token that refuses the copy is used as it is.
 */
static CK_OBJECT_HANDLE copy_of(struct tok_session *s, CK_OBJECT_HANDLE handle)
{
    struct tok_template t = {0};
    CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
    tok_template_bool(&t, CKA_TOKEN, false);
    tok_template_bool(&t, CKA_PRIVATE, false);
    if (s->fn->C_CopyObject(s->handle, handle, t.rows, t.count, &copy) == CKR_OK)
        return copy;
    tok_template_bool(&t, CKA_PRIVATE, true);
    return s->fn->C_CopyObject(s->handle, handle, t.rows, t.count, &copy) == CKR_OK ? copy
                                                                                    : CK_INVALID_HANDLE;
}

/* The object is the one that was made under `label` as a key of this name, or as its half. */
static enum err_code check_object(struct tok_session *s, CK_OBJECT_HANDLE handle,
                                  const struct tok_key_name *name, const char *label,
                                  struct tok_key_record *out_record, struct err *e)
{
    struct tok_key_record record;
    uint8_t check[TOK_KCV_BYTES];
    char id[TOK_RECORD_BYTES];
    size_t len = 0;
    if (!tok_attribute_text(s, handle, CKA_ID, id, sizeof id, &len))
        len = 0;
    TRY(tok_record_parse((const uint8_t *)id, len, label, &record, e));
    TRY(tok_role_guard(s, handle, tok_role_uses(name->role, name->suite), label, e));
    if (tok_role_check(s, handle, name->role, name->suite, check, e) != ERR_OK)
        return err_context(e, "cannot check %s", label);
    if (!secret_equal(check, record.check, sizeof check))
        return err_set(e, ERR_CHECK,
                       "%s is not the key that was made under this name; its check value differs", label);
    *out_record = record;
    return ERR_OK;
}

static enum err_code check_entry(struct tok_session *s, struct tok_key_entry *entry, struct err *e)
{
    struct tok_key_info *info = &entry->info;
    if (tok_role_is_pair(info->name.role))
        return tok_pair_guard(s, entry->handle, &info->name, info->label, e);
    TRY(check_object(s, entry->handle, &info->name, info->label, &entry->record, e));
    memcpy(info->kcv, entry->record.kcv, sizeof info->kcv);
    info->has_kcv = true;
    return ERR_OK;
}

static struct tok_key_entry *entry_labelled(struct tok_keys *keys, const char *label)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (strcmp(keys->entries[i].info.label, label) == 0)
            return &keys->entries[i];
    }
    return NULL;
}

static bool ends_with(const char *label, size_t len, const char *suffix)
{
    const size_t suffix_len = strlen(suffix);
    return len > suffix_len && strcmp(label + len - suffix_len, suffix) == 0;
}

static enum round round_of(const char *label, size_t len)
{
    for (int round = ROUND_LEFTS; round <= ROUND_STATES; round++) {
        if (ends_with(label, len, suffixes[round]))
            return (enum round)round;
    }
    return ROUND_KEYS;
}

/* The key that an object of a later round belongs to; NULL: the object is the rest of a broken attempt. */
static struct tok_key_entry *owner_of(const struct load *load, const char *label, size_t len)
{
    char key_label[TOK_LABEL_BYTES];
    const size_t key_len = len - strlen(suffixes[load->round]);
    if (key_len >= sizeof key_label)
        return NULL;
    memcpy(key_label, label, key_len);
    key_label[key_len] = '\0';
    return entry_labelled(load->keys, key_label);
}

static enum err_code add_key(const struct load *load, CK_OBJECT_HANDLE handle, const char *label,
                             struct err *e)
{
    struct tok_key_entry entry = {.handle = handle};
    if (tok_key_parse(label, &entry.info.name, e) != ERR_OK)
        return err_context(e, "rename or remove the token's object");
    tok_key_label(&entry.info.name, entry.info.label);
    if (entry_labelled(load->keys, label) != NULL)
        return err_set(e, ERR_STATE,
                       "two objects of the token are called %s; remove the one that is not meant", label);
    if ((load->class == CKO_PRIVATE_KEY) != tok_role_is_pair(entry.info.name.role))
        return err_set(e, ERR_CHECK, "%s is an object of another class than this key's", label);
    if (load->keys->count == KEYS_MOST)
        return err_set(e, ERR_LIMIT, "the token holds more than %d keys", KEYS_MOST);
    TRY(check_entry(load->s, &entry, e));
    entry.info.state = TOK_KEY_ACTIVE; /* of a key from before there were stamps */
    entry.copy = copy_of(load->s, handle);
    load->keys->entries[load->keys->count++] = entry;
    return ERR_OK;
}

static enum err_code add_left(const struct load *load, CK_OBJECT_HANDLE handle, const char *label, size_t len,
                              struct err *e)
{
    struct tok_key_record half;
    struct tok_key_entry *const entry = owner_of(load, label, len);
    if (entry == NULL)
        return ERR_OK;
    if (entry->left != CK_INVALID_HANDLE)
        return err_set(e, ERR_STATE, "two objects of the token are called %s", label);
    TRY(check_object(load->s, handle, &entry->info.name, label, &half, e));
    if (!entry->record.has_left || !secret_equal(half.check, entry->record.left, sizeof half.check))
        return err_set(e, ERR_CHECK, "%s is not the half of %s but of another key; remove it", label,
                       entry->info.label);
    entry->left = handle;
    entry->left_copy = copy_of(load->s, handle);
    return ERR_OK;
}

static enum err_code add_state(const struct load *load, CK_OBJECT_HANDLE handle, const char *label,
                               size_t len, struct err *e)
{
    char id[TOK_STAMP_BYTES];
    size_t id_len = 0;
    struct tok_stamp stamp;
    struct tok_key_entry *const entry = owner_of(load, label, len);
    if (entry == NULL)
        return ERR_OK;
    if (!tok_attribute_text(load->s, handle, CKA_ID, id, sizeof id, &id_len))
        id_len = 0;
    TRY(tok_stamp_parse((const uint8_t *)id, id_len, label, &stamp, e));
    if (stamp.generation <= entry->generation)
        return ERR_OK;
    entry->generation = stamp.generation;
    entry->info.state = stamp.state;
    entry->info.created_s = stamp.created_s;
    entry->info.activated_s = stamp.activated_s;
    entry->info.deactivated_s = stamp.deactivated_s;
    return ERR_OK;
}

static bool is_printable(const char *label, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (label[i] <= ' ' || label[i] > '~')
            return false;
    }
    return true;
}

static enum err_code add_object(const struct load *load, CK_OBJECT_HANDLE handle, struct err *e)
{
    char label[TOK_LABEL_BYTES + TOK_SUFFIX_BYTES];
    size_t len = 0;
    if (!tok_attribute_text(load->s, handle, CKA_LABEL, label, sizeof label, &len) ||
        strncmp(label, PREFIX, sizeof PREFIX - 1) != 0 || round_of(label, len) != load->round)
        return ERR_OK;             /* another application's key, or another round's */
    if (!is_printable(label, len)) /* a note is read at a terminal */
        return err_set(e, ERR_CHECK,
                       "an object of the token has a label that starts like a key's and cannot be "
                       "printed; remove it");
    switch (load->round) {
    case ROUND_KEYS:
        return add_key(load, handle, label, e);
    case ROUND_LEFTS:
        return add_left(load, handle, label, len, e);
    case ROUND_STATES:
        return add_state(load, handle, label, len, e);
    }
    return ERR_OK;
}

static enum err_code load_round(struct tok_session *s, struct tok_keys *keys, CK_OBJECT_CLASS class,
                                enum round round, struct err *e)
{
    const struct load load = {.s = s, .keys = keys, .class = class, .round = round};
    struct tok_template t = {0};
    size_t count = 0;
    tok_template_bool(&t, CKA_TOKEN, true);
    tok_template_number(&t, CKA_CLASS, class);
    CK_OBJECT_HANDLE *found = calloc(OBJECTS_MOST + 1, sizeof *found);
    if (found == NULL)
        return err_set(e, ERR_LIMIT, "no memory to list the token's keys");
    enum err_code code = tok_objects_find(s, &t, found, OBJECTS_MOST + 1, &count, e);
    if (code == ERR_OK && count > OBJECTS_MOST)
        code = err_set(e, ERR_LIMIT, "the token holds more than %d objects of one class", OBJECTS_MOST);
    for (size_t i = 0; code == ERR_OK && i < count; i++)
        code = add_object(&load, found[i], e);
    free(found);
    return code;
}

/* A key that was made with a stamp has one: without it a key that was taken out of use would come back. */
static enum err_code check_states(const struct tok_keys *keys, struct err *e)
{
    for (size_t i = 0; i < keys->count; i++) {
        const struct tok_key_entry *const entry = &keys->entries[i];
        if (entry->record.has_state && entry->generation == 0)
            return err_set(e, ERR_CHECK, "the state of %s is not in the token any more; restore the token",
                           entry->info.label);
    }
    return ERR_OK;
}

static enum err_code load_into(struct tok_session *s, struct tok_keys *keys, struct err *e)
{
    TRY(load_round(s, keys, CKO_SECRET_KEY, ROUND_KEYS, e));
    TRY(load_round(s, keys, CKO_PRIVATE_KEY, ROUND_KEYS, e));
    TRY(load_round(s, keys, CKO_SECRET_KEY, ROUND_LEFTS, e));
    TRY(load_round(s, keys, CKO_SECRET_KEY, ROUND_STATES, e));
    return check_states(keys, e);
}

static void drop_keys(struct tok_session *s, struct tok_keys *keys, bool destroy)
{
    for (size_t i = 0; keys != NULL && destroy && i < keys->count; i++) {
        if (keys->entries[i].copy != CK_INVALID_HANDLE)
            s->fn->C_DestroyObject(s->handle, keys->entries[i].copy);
        if (keys->entries[i].left_copy != CK_INVALID_HANDLE)
            s->fn->C_DestroyObject(s->handle, keys->entries[i].left_copy);
    }
    free(keys);
}

static const struct tok_key_entry *find_entry(const struct tok_keys *keys, const char *label)
{
    for (size_t i = 0; i < keys->count; i++)
        if (strcmp(keys->entries[i].info.label, label) == 0)
            return &keys->entries[i];
    return NULL;
}

/* A token that was lost and found may be another one of its name. Who asks goes on with the keys that it
 * began with, or not at all: a new process finds the keys anew, and says so. */
static enum err_code check_same(const struct tok_keys *old, const struct tok_keys *found, struct err *e)
{
    for (size_t i = 0; old != NULL && i < old->count; i++) {
        const struct tok_key_info *const was = &old->entries[i].info;
        const struct tok_key_entry *const is = find_entry(found, was->label);
        if (is == NULL || is->info.state != was->state ||
            !secret_equal(is->info.kcv, was->kcv, sizeof was->kcv))
            return err_set(
                e, ERR_UNAVAILABLE,
                "the token came back with other keys: %s is not what it was; a new process takes them",
                was->label);
    }
    return ERR_OK;
}

/* The caller holds holder_lock. `destroy`: the copies of the last load are still there. */
static enum err_code load_all(struct tok *tok, bool destroy, struct err *e)
{
    struct tok_keys *keys = calloc(1, sizeof *keys + KEYS_MOST * sizeof keys->entries[0]);
    if (keys == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the token's keys");
    enum err_code code = load_into(&tok->holder, keys, e);
    /* Without a login there are no keys to see, or none that may be used. */
    if (!tok_session_alive(&tok->holder))
        code = err_set(e, ERR_UNAVAILABLE, "the login was lost while the keys were loaded");
    if (code == ERR_OK && !destroy)
        code = check_same(tok->keys, keys, e);
    if (code != ERR_OK) {
        drop_keys(&tok->holder, keys, true);
        return code;
    }
    pthread_mutex_lock(&tok->keys_lock);
    struct tok_keys *old = tok->keys;
    tok->keys = keys;
    pthread_mutex_unlock(&tok->keys_lock);
    drop_keys(&tok->holder, old, destroy);
    return ERR_OK;
}

enum err_code tok_keys_load(struct tok *tok, struct err *e)
{
    pthread_mutex_lock(&tok->holder_lock);
    tok_cache_clear(tok); /* what a key that is no longer there once opened */
    const enum err_code code = load_all(tok, true, e);
    pthread_mutex_unlock(&tok->holder_lock);
    return code;
}

enum err_code tok_keys_reload(struct tok *tok, struct err *e)
{
    return tok->keys != NULL ? load_all(tok, false, e) : ERR_OK;
}

void tok_keys_free(struct tok *tok)
{
    free(tok->keys);
    tok->keys = NULL;
}

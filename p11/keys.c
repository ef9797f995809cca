#include "p11/keyrole.h"
#include "p11/state.h"

#include <stdlib.h>
#include <string.h>

#define KEYS_MOST  4096 /* posward/ objects in one token */
#define FIND_BATCH 64
#define PREFIX     "posward/"

struct entry {
    struct tok_key_info info;
    struct tok_key_record record;
    CK_OBJECT_HANDLE handle, left;
    CK_OBJECT_HANDLE copy, left_copy; /* session objects of the holder, 0 where the token refuses to copy */
};

struct tok_keys {
    size_t count;
    struct entry entries[];
};

/* ---- Finding objects ---- */

static enum err_code find_objects(struct tok_session *s, const struct tok_template *t,
                                  CK_OBJECT_HANDLE *out_found, size_t capacity, size_t *out_count,
                                  struct err *e)
{
    size_t count = 0;
    CK_ULONG got = 0;
    TRY(tok_rv(s->fn->C_FindObjectsInit(s->handle, (CK_ATTRIBUTE_PTR)(uintptr_t)t->rows, t->count),
               "C_FindObjectsInit", e));
    enum err_code code = ERR_OK;
    do {
        const size_t room = capacity - count < FIND_BATCH ? capacity - count : FIND_BATCH;
        code = tok_rv(s->fn->C_FindObjects(s->handle, out_found + count, room, &got), "C_FindObjects", e);
        count += code == ERR_OK ? got : 0;
    } while (code == ERR_OK && got > 0 && count < capacity);
    s->fn->C_FindObjectsFinal(s->handle);
    *out_count = count;
    return code;
}

enum err_code tok_objects_labelled(struct tok_session *s, const char *label, CK_OBJECT_HANDLE *out_found,
                                   size_t capacity, size_t *out_count, struct err *e)
{
    struct tok_template t = {0};
    tok_template_bool(&t, CKA_TOKEN, true);
    tok_template_bytes(&t, CKA_LABEL, label, strlen(label));
    return find_objects(s, &t, out_found, capacity, out_count, e);
}

/* An attribute of at most capacity - 1 bytes, and a NUL. False: not there, or longer. */
static bool read_text(struct tok_session *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, char *out_text,
                      size_t capacity, size_t *out_len)
{
    CK_ATTRIBUTE row = {.type = type, .pValue = out_text, .ulValueLen = capacity - 1};
    if (s->fn->C_GetAttributeValue(s->handle, object, &row, 1) != CKR_OK || row.ulValueLen >= capacity)
        return false;
    out_text[row.ulValueLen] = '\0';
    *out_len = row.ulValueLen;
    return true;
}

/* ---- Loading ---- */

struct load {
    struct tok_session *s;
    struct tok_keys *keys;
    CK_OBJECT_CLASS class; /* of the objects that are listed */
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
    if (!read_text(s, handle, CKA_ID, id, sizeof id, &len))
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

static enum err_code check_entry(struct tok_session *s, struct entry *entry, struct err *e)
{
    struct tok_key_info *info = &entry->info;
    if (info->name.role == TOK_AUDIT)
        return tok_audit_guard(s, entry->handle, info->label, e);
    TRY(check_object(s, entry->handle, &info->name, info->label, &entry->record, e));
    memcpy(info->kcv, entry->record.kcv, sizeof info->kcv);
    info->has_kcv = true;
    return ERR_OK;
}

static struct entry *entry_labelled(struct tok_keys *keys, const char *label)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (strcmp(keys->entries[i].info.label, label) == 0)
            return &keys->entries[i];
    }
    return NULL;
}

static bool is_left(const char *label, size_t len)
{
    const size_t suffix = sizeof TOK_LEFT_SUFFIX - 1;
    return len > suffix && strcmp(label + len - suffix, TOK_LEFT_SUFFIX) == 0;
}

static enum err_code add_key(const struct load *load, CK_OBJECT_HANDLE handle, const char *label,
                             struct err *e)
{
    struct entry entry = {.handle = handle};
    if (tok_key_parse(label, &entry.info.name, e) != ERR_OK)
        return err_context(e, "rename or remove the token's object");
    tok_key_label(&entry.info.name, entry.info.label);
    if (entry_labelled(load->keys, label) != NULL)
        return err_set(e, ERR_STATE,
                       "two objects of the token are called %s; remove the one that is not meant", label);
    if ((load->class == CKO_PRIVATE_KEY) != (entry.info.name.role == TOK_AUDIT))
        return err_set(e, ERR_CHECK, "%s is an object of another class than this key's", label);
    TRY(check_entry(load->s, &entry, e));
    entry.copy = copy_of(load->s, handle);
    load->keys->entries[load->keys->count++] = entry;
    return ERR_OK;
}

/* After the keys: a half belongs to one that is there, or is the rest of a broken attempt and is passed over.
 */
static enum err_code add_left(const struct load *load, CK_OBJECT_HANDLE handle, char *label, size_t len,
                              struct err *e)
{
    const size_t key_len = len - (sizeof TOK_LEFT_SUFFIX - 1);
    struct tok_key_record half;
    label[key_len] = '\0';
    struct entry *entry = entry_labelled(load->keys, label);
    if (entry == NULL)
        return ERR_OK;
    label[key_len] = TOK_LEFT_SUFFIX[0];
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

static bool is_printable(const char *label, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (label[i] <= ' ' || label[i] > '~')
            return false;
    }
    return true;
}

static enum err_code add_objects(const struct load *load, const CK_OBJECT_HANDLE *found, size_t count,
                                 bool lefts, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        char label[TOK_LABEL_BYTES + sizeof TOK_LEFT_SUFFIX];
        size_t len = 0;
        if (!read_text(load->s, found[i], CKA_LABEL, label, sizeof label, &len) ||
            strncmp(label, PREFIX, sizeof PREFIX - 1) != 0 || is_left(label, len) != lefts)
            continue;                  /* another application's key, or the other round's */
        if (!is_printable(label, len)) /* a note is read at a terminal */
            return err_set(e, ERR_CHECK,
                           "an object of the token has a label that starts like a key's and cannot be "
                           "printed; remove it");
        if (lefts)
            TRY(add_left(load, found[i], label, len, e));
        else
            TRY(add_key(load, found[i], label, e));
    }
    return ERR_OK;
}

static enum err_code load_class(const struct load *load, struct err *e)
{
    struct tok_template t = {0};
    size_t count = 0;
    tok_template_bool(&t, CKA_TOKEN, true);
    tok_template_number(&t, CKA_CLASS, load->class);
    CK_OBJECT_HANDLE *found = calloc(KEYS_MOST + 1, sizeof *found);
    if (found == NULL)
        return err_set(e, ERR_LIMIT, "no memory to list the token's keys");
    enum err_code code = find_objects(load->s, &t, found, KEYS_MOST + 1, &count, e);
    if (code == ERR_OK && count + load->keys->count > KEYS_MOST)
        code = err_set(e, ERR_LIMIT, "the token holds more than %d keys", KEYS_MOST);
    if (code == ERR_OK)
        code = add_objects(load, found, count, false, e);
    if (code == ERR_OK)
        code = add_objects(load, found, count, true, e);
    free(found);
    return code;
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

/* The caller holds holder_lock. `destroy`: the copies of the last load are still there. */
static enum err_code load_all(struct tok *tok, bool destroy, struct err *e)
{
    struct tok_keys *keys = calloc(1, sizeof *keys + KEYS_MOST * sizeof keys->entries[0]);
    if (keys == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the token's keys");
    struct load load = {.s = &tok->holder, .keys = keys, .class = CKO_SECRET_KEY};
    enum err_code code = load_class(&load, e);
    load.class = CKO_PRIVATE_KEY;
    if (code == ERR_OK)
        code = load_class(&load, e);
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

/* ---- Looking up ---- */

/* Readers hold the lock because a recovery replaces the table; reading changes nothing that a caller sees. */
static void lock_for_reading(const struct tok *tok)
{
    pthread_mutex_lock(&((struct tok *)(uintptr_t)tok)->keys_lock);
}

static void unlock_from_reading(const struct tok *tok)
{
    pthread_mutex_unlock(&((struct tok *)(uintptr_t)tok)->keys_lock);
}

size_t tok_keys_count(const struct tok *tok)
{
    lock_for_reading(tok);
    const size_t count = tok->keys != NULL ? tok->keys->count : 0;
    unlock_from_reading(tok);
    return count;
}

void tok_keys_info(const struct tok *tok, size_t index, struct tok_key_info *out_info)
{
    lock_for_reading(tok);
    if (tok->keys != NULL && index < tok->keys->count)
        *out_info = tok->keys->entries[index].info;
    unlock_from_reading(tok);
}

/* Version 0 and suite 0 match any. */
static bool is_named(const struct entry *entry, const struct tok_key_name *name)
{
    const struct tok_key_name *own = &entry->info.name;
    return own->role == name->role && (name->suite == 0 || own->suite == name->suite) &&
           (name->version == 0 || own->version == name->version) && strcmp(own->zone, name->zone) == 0;
}

/* The newest of those that match; *out_mixed when they are of different suites. */
static const struct entry *find_newest(const struct tok_keys *keys, const struct tok_key_name *name,
                                       bool *out_mixed)
{
    const struct entry *best = NULL;
    *out_mixed = false;
    for (size_t i = 0; keys != NULL && i < keys->count; i++) {
        const struct entry *entry = &keys->entries[i];
        if (!is_named(entry, name))
            continue;
        if (best != NULL && best->info.name.suite != entry->info.name.suite)
            *out_mixed = true;
        if (best == NULL || entry->info.name.version > best->info.name.version)
            best = entry;
    }
    return best;
}

static enum err_code not_found(const struct tok_key_name *name, struct err *e)
{
    char label[TOK_LABEL_BYTES];
    tok_key_label(name, label);
    return err_set(e, ERR_NOT_FOUND, "the token has no key %s%s%s; make or import it, then restart or reload",
                   label, name->suite == 0 ? " (any suite)" : "", name->version == 0 ? " (any version)" : "");
}

enum err_code tok_keys_find(struct tok *tok, const struct tok_key_name *name, struct tok_found *out_found,
                            struct err *e)
{
    bool mixed = false;
    struct tok_found found = {0};
    lock_for_reading(tok);
    const struct entry *entry = find_newest(tok->keys, name, &mixed);
    if (entry != NULL) {
        found.handle = entry->copy != CK_INVALID_HANDLE ? entry->copy : entry->handle;
        found.left = entry->left_copy != CK_INVALID_HANDLE ? entry->left_copy : entry->left;
        found.name = entry->info.name;
    }
    unlock_from_reading(tok);
    if (entry == NULL)
        return not_found(name, e);
    if (mixed)
        return err_set(e, ERR_STATE, "zone %s has %s keys of more than one suite; say which", name->zone,
                       tok_role_name(name->role));
    *out_found = found;
    return ERR_OK;
}

unsigned tok_keys_newest(const struct tok *tok, enum tok_role role, enum tok_suite suite, const char *zone)
{
    struct tok_key_name name = {.role = role, .suite = suite};
    bool mixed = false;
    if (strlen(zone) >= sizeof name.zone)
        return 0;
    memcpy(name.zone, zone, strlen(zone) + 1);
    lock_for_reading(tok);
    const struct entry *entry = find_newest(tok->keys, &name, &mixed);
    const unsigned version = entry != NULL ? entry->info.name.version : 0;
    unlock_from_reading(tok);
    return version;
}

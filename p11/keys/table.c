#include "p11/keys/table.h"

#include <string.h>

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
static bool is_named(const struct tok_key_entry *entry, const struct tok_key_name *name)
{
    const struct tok_key_name *own = &entry->info.name;
    return own->role == name->role && (name->suite == 0 || own->suite == name->suite) &&
           (name->version == 0 || own->version == name->version) && strcmp(own->zone, name->zone) == 0;
}

struct wanted {
    const struct tok_key_entry *newest;  /* of those that match, in any state */
    const struct tok_key_entry *current; /* of those that are active */
    bool mixed;                          /* these are of different suites */
};

static struct wanted look_up(const struct tok_keys *keys, const struct tok_key_name *name)
{
    struct wanted w = {0};
    for (size_t i = 0; keys != NULL && i < keys->count; i++) {
        const struct tok_key_entry *const entry = &keys->entries[i];
        if (!is_named(entry, name))
            continue;
        if (w.newest == NULL || entry->info.name.version > w.newest->info.name.version)
            w.newest = entry;
        if (entry->info.state != TOK_KEY_ACTIVE)
            continue;
        w.mixed |= w.current != NULL && w.current->info.name.suite != entry->info.name.suite;
        if (w.current == NULL || entry->info.name.version > w.current->info.name.version)
            w.current = entry;
    }
    return w;
}

static enum err_code not_found(const struct tok_key_name *name, struct err *e)
{
    char label[TOK_LABEL_BYTES];
    tok_key_label(name, label);
    return err_set(e, ERR_NOT_FOUND, "the token has no key %s%s%s; make or import it, then restart or reload",
                   label, name->suite == 0 ? " (any suite)" : "", name->version == 0 ? " (any version)" : "");
}

static enum err_code not_in_use(const struct tok_key_entry *entry, struct err *e)
{
    return err_set(e, ERR_STATE, "%s is %s; an operator can activate it: posward key activate",
                   entry->info.label, tok_state_name(entry->info.state));
}

/* The keys lock is held: entries point into the table. */
static enum err_code choose(const struct tok_keys *keys, const struct tok_key_name *name,
                            enum tok_purpose purpose, const struct tok_key_entry **out_entry, struct err *e)
{
    const struct wanted w = look_up(keys, name);
    if (w.newest == NULL)
        return not_found(name, e);
    if (w.mixed)
        return err_set(e, ERR_STATE, "zone %s has %s keys of more than one suite; say which", name->zone,
                       tok_role_name(name->role));
    const bool opens =
        purpose == TOK_OPEN && name->version != 0 && w.newest->info.state == TOK_KEY_DEACTIVATED;
    if (w.current == NULL && !opens)
        return not_in_use(w.newest, e);
    *out_entry = w.current != NULL ? w.current : w.newest;
    return ERR_OK;
}

enum err_code tok_keys_find(struct tok *tok, const struct tok_key_name *name, enum tok_purpose purpose,
                            struct tok_found *out_found, struct err *e)
{
    const struct tok_key_entry *entry = NULL;
    struct tok_found found = {0};
    lock_for_reading(tok);
    const enum err_code code = choose(tok->keys, name, purpose, &entry, e);
    if (code == ERR_OK) {
        found.handle = entry->copy != CK_INVALID_HANDLE ? entry->copy : entry->handle;
        found.left = entry->left_copy != CK_INVALID_HANDLE ? entry->left_copy : entry->left;
        found.name = entry->info.name;
    }
    unlock_from_reading(tok);
    TRY(code);
    *out_found = found;
    return ERR_OK;
}

static struct wanted look_up_role(const struct tok *tok, enum tok_role role, enum tok_suite suite,
                                  const char *zone)
{
    struct tok_key_name name = {.role = role, .suite = suite};
    if (strlen(zone) >= sizeof name.zone)
        return (struct wanted){0};
    memcpy(name.zone, zone, strlen(zone) + 1);
    return look_up(tok->keys, &name);
}

unsigned tok_keys_newest(const struct tok *tok, enum tok_role role, enum tok_suite suite, const char *zone)
{
    lock_for_reading(tok);
    const struct wanted w = look_up_role(tok, role, suite, zone);
    const unsigned version = w.newest != NULL ? w.newest->info.name.version : 0;
    unlock_from_reading(tok);
    return version;
}

unsigned tok_keys_current(const struct tok *tok, enum tok_role role, enum tok_suite suite, const char *zone)
{
    lock_for_reading(tok);
    const struct wanted w = look_up_role(tok, role, suite, zone);
    const unsigned version = w.current != NULL ? w.current->info.name.version : 0;
    unlock_from_reading(tok);
    return version;
}

/* One key after the other; false when there is none with a check value. */
static bool next_to_probe(struct tok *tok, struct tok_key_entry *out_entry)
{
    bool found = false;
    lock_for_reading(tok);
    const size_t count = tok->keys != NULL ? tok->keys->count : 0;
    for (size_t i = 0; i < count && !found; i++) {
        const struct tok_key_entry *const entry = &tok->keys->entries[tok->probed++ % count];
        found = entry->info.has_kcv;
        *out_entry = *entry;
    }
    unlock_from_reading(tok);
    return found;
}

enum err_code tok_probe(struct tok_session *s, struct err *e)
{
    uint8_t random[8], check[TOK_KCV_BYTES];
    struct tok_key_entry entry;
    TRY(tok_random(s, random, sizeof random, e));
    if (!next_to_probe(s->tok, &entry))
        return ERR_OK;
    const CK_OBJECT_HANDLE handle = entry.copy != CK_INVALID_HANDLE ? entry.copy : entry.handle;
    TRY(tok_role_check(s, handle, entry.info.name.role, entry.info.name.suite, check, e));
    if (!secret_equal(check, entry.record.check, sizeof check))
        return err_set(e, ERR_CHECK, "%s does not give its check value any more", entry.info.label);
    return ERR_OK;
}

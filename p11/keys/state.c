#include "p11/keys/state.h"

#include "base/clock.h"
#include "base/hex.h"
#include "p11/keys/keys.h"
#include "p11/object/object.h"
#include "p11/object/template.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STAMPS_MOST  8 /* of one key: more were left behind by nobody */
#define MARKER_BYTES 16

static const char letters[] = {
    [TOK_KEY_PRE_ACTIVE] = 'p', [TOK_KEY_ACTIVE] = 'a', [TOK_KEY_DEACTIVATED] = 'd'};

const char *tok_state_name(enum tok_key_state state)
{
    switch (state) {
    case TOK_KEY_PRE_ACTIVE:
        return "pre-active";
    case TOK_KEY_ACTIVE:
        return "active";
    case TOK_KEY_DEACTIVATED:
        return "deactivated";
    }
    return "unknown";
}

/* ---- Text ---- */

void tok_stamp_text(const struct tok_stamp *stamp, const char *label, char out_text[TOK_STAMP_BYTES])
{
    snprintf(out_text, TOK_STAMP_BYTES, "%c%04X.%08" PRIX32 ".%08" PRIX32 ".%08" PRIX32 "/%s",
             letters[stamp->state], stamp->generation & 0xFFFF, (uint32_t)stamp->created_s,
             (uint32_t)stamp->activated_s, (uint32_t)stamp->deactivated_s, label);
}

/* Big-endian hexadecimal; false when a character is none. */
static bool read_hex(const char *text, size_t digits, uint32_t *out_value)
{
    uint32_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        const int digit = hex_digit(text[i]);
        if (digit < 0)
            return false;
        value = value << 4 | (uint32_t)digit;
    }
    *out_value = value;
    return true;
}

static bool read_stamp(const char *text, struct tok_stamp *out_stamp)
{
    uint32_t generation, created, activated, deactivated;
    struct tok_stamp stamp = {0};
    for (int state = TOK_KEY_PRE_ACTIVE; state <= TOK_KEY_DEACTIVATED; state++)
        if (letters[state] == text[0])
            stamp.state = (enum tok_key_state)state;
    if (stamp.state == 0 || !read_hex(text + 1, 4, &generation) || !read_hex(text + 6, 8, &created) ||
        !read_hex(text + 15, 8, &activated) || !read_hex(text + 24, 8, &deactivated) || generation == 0)
        return false;
    stamp.generation = generation;
    stamp.created_s = created;
    stamp.activated_s = activated;
    stamp.deactivated_s = deactivated;
    *out_stamp = stamp;
    return true;
}

enum err_code tok_stamp_parse(const uint8_t *id, size_t len, const char *label, struct tok_stamp *out_stamp,
                              struct err *e)
{
    char text[TOK_STAMP_BYTES], again[TOK_STAMP_BYTES];
    struct tok_stamp stamp;
    if (len > TOK_STAMP_CHARACTERS && len < sizeof text && memchr(id, '\0', len) == NULL) {
        memcpy(text, id, len);
        text[len] = '\0';
        if (read_stamp(text, &stamp)) {
            tok_stamp_text(&stamp, label, again);
            if (strcmp(text, again) == 0) { /* one spelling only */
                *out_stamp = stamp;
                return ERR_OK;
            }
        }
    }
    return err_set(e, ERR_CHECK, "%s was changed: it does not say the state of its key; restore the token",
                   label);
}

/* ---- Life ---- */

struct tok_stamp tok_stamp_first(enum tok_key_state state)
{
    const int64_t now_s = clock_wall_ms() / 1000;
    return (struct tok_stamp){.state = state,
                              .generation = 1,
                              .created_s = now_s,
                              .activated_s = state == TOK_KEY_ACTIVE ? now_s : 0};
}

/* Back from deactivated is allowed: what was taken out of use by mistake must not stay an outage. */
static const bool steps[][TOK_KEY_DEACTIVATED + 1] = {
    [TOK_KEY_PRE_ACTIVE] = {[TOK_KEY_ACTIVE] = true, [TOK_KEY_DEACTIVATED] = true},
    [TOK_KEY_ACTIVE] = {[TOK_KEY_DEACTIVATED] = true},
    [TOK_KEY_DEACTIVATED] = {[TOK_KEY_ACTIVE] = true},
};

bool tok_state_may_become(enum tok_key_state from, enum tok_key_state to)
{
    return from >= TOK_KEY_PRE_ACTIVE && from <= TOK_KEY_DEACTIVATED && to >= TOK_KEY_PRE_ACTIVE &&
           to <= TOK_KEY_DEACTIVATED && steps[from][to];
}

enum err_code tok_stamp_next(const struct tok_stamp *from, enum tok_key_state state, const char *label,
                             struct tok_stamp *out_next, struct err *e)
{
    struct tok_stamp next = *from;
    if (!tok_state_may_become(from->state, state))
        return err_set(e, ERR_STATE, "%s is %s, which cannot become %s", label, tok_state_name(from->state),
                       tok_state_name(state));
    if (from->generation >= TOK_GENERATIONS)
        return err_set(e, ERR_LIMIT, "%s changed its state %d times; make a new version", label,
                       TOK_GENERATIONS);
    next.generation++;
    next.state = state;
    if (state == TOK_KEY_ACTIVE)
        next.activated_s = clock_wall_ms() / 1000;
    if (state == TOK_KEY_DEACTIVATED)
        next.deactivated_s = clock_wall_ms() / 1000;
    *out_next = next;
    return ERR_OK;
}

/* ---- In the token ---- */

static void stamp_label(const char *key_label, char out_label[TOK_LABEL_BYTES + sizeof TOK_STATE_SUFFIX])
{
    snprintf(out_label, TOK_LABEL_BYTES + sizeof TOK_STATE_SUFFIX, "%s" TOK_STATE_SUFFIX, key_label);
}

enum err_code tok_stamp_keep(struct tok_session *rw, const char *key_label, const struct tok_stamp *stamp,
                             struct err *e)
{
    char label[TOK_LABEL_BYTES + sizeof TOK_STATE_SUFFIX], id[TOK_STAMP_BYTES];
    struct tok_template t;
    CK_MECHANISM generate = {.mechanism = CKM_AES_KEY_GEN};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    stamp_label(key_label, label);
    tok_stamp_text(stamp, label, id);
    tok_template_secret(&t, CKK_AES, TOK_USES());
    tok_template_number(&t, CKA_VALUE_LEN, MARKER_BYTES);
    tok_template_bool(&t, CKA_TOKEN, true);
    tok_template_bool(&t, CKA_PRIVATE, true);
    tok_template_bytes(&t, CKA_LABEL, label, strlen(label));
    tok_template_bytes(&t, CKA_ID, id, strlen(id));
    return tok_rv(rw->fn->C_GenerateKey(rw->handle, &generate, t.rows, t.count, &handle), "C_GenerateKey", e);
}

struct stamps {
    CK_OBJECT_HANDLE handles[STAMPS_MOST];
    struct tok_stamp stamps[STAMPS_MOST];
    size_t count;
};

static enum err_code list_stamps(struct tok_session *s, const char *key_label, struct stamps *out_list,
                                 struct err *e)
{
    char label[TOK_LABEL_BYTES + sizeof TOK_STATE_SUFFIX], id[TOK_STAMP_BYTES];
    struct stamps list = {0};
    size_t len = 0;
    stamp_label(key_label, label);
    TRY(tok_objects_labelled(s, label, list.handles, STAMPS_MOST, &list.count, e));
    for (size_t i = 0; i < list.count; i++) {
        if (!tok_attribute_text(s, list.handles[i], CKA_ID, id, sizeof id, &len))
            len = 0;
        TRY(tok_stamp_parse((const uint8_t *)id, len, label, &list.stamps[i], e));
    }
    *out_list = list;
    return ERR_OK;
}

enum err_code tok_stamp_find(struct tok_session *s, const char *key_label, struct tok_stamp *out_stamp,
                             bool *out_found, struct err *e)
{
    struct stamps list;
    size_t best = 0;
    TRY(list_stamps(s, key_label, &list, e));
    for (size_t i = 1; i < list.count; i++)
        if (list.stamps[i].generation > list.stamps[best].generation)
            best = i;
    *out_found = list.count > 0;
    if (list.count > 0)
        *out_stamp = list.stamps[best];
    return ERR_OK;
}

enum err_code tok_stamps_destroy(struct tok_session *rw, const char *key_label, unsigned generation,
                                 struct err *e)
{
    struct stamps list;
    TRY(list_stamps(rw, key_label, &list, e));
    for (size_t i = 0; i < list.count; i++)
        if (list.stamps[i].generation < generation)
            TRY(tok_rv(rw->fn->C_DestroyObject(rw->handle, list.handles[i]), "C_DestroyObject", e));
    return ERR_OK;
}

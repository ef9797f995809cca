/* Inside p11 only: where a key is in its life, kept in the token beside it.
 *
 * A key object is not modifiable, so its state stands in an object of its own: a secret key without any use,
 * labelled as the key with "/state" behind it, whose CKA_ID is the stamp. A change makes the next stamp and
 * then destroys the ones before: whoever is killed in between leaves two, of which the higher generation
 * counts. A key's first stamp is made before the key, and goes after it. */
#ifndef POSWARD_P11_KEYSTATE_H
#define POSWARD_P11_KEYSTATE_H

#include "p11/keys/keys.h"
#include "p11/module/session.h"

#define TOK_STATE_SUFFIX "/state"
#define TOK_GENERATIONS  65535

struct tok_stamp {
    enum tok_key_state state;
    unsigned generation;                           /* 1..TOK_GENERATIONS */
    int64_t created_s, activated_s, deactivated_s; /* Unix time; 0: not known, or not yet */
};

/* What CKA_ID holds, "a0001.69267A00.69267A00.00000000/posward/...": state (p, a or d) and generation, then
 * the times, in hexadecimal, then the stamp's own label. */
#define TOK_STAMP_CHARACTERS 33 /* before the label, its slash included */
#define TOK_STAMP_BYTES      (TOK_STAMP_CHARACTERS + TOK_LABEL_BYTES + sizeof TOK_STATE_SUFFIX)
void tok_stamp_text(const struct tok_stamp *stamp, const char *label, char out_text[TOK_STAMP_BYTES]);
/* ERR_CHECK: `id` was not written by posward for the stamp labelled `label`. */
enum err_code tok_stamp_parse(const uint8_t *id, size_t len, const char *label, struct tok_stamp *out_stamp,
                              struct err *e) MUST_CHECK;

/* The first stamp of a key, now. */
struct tok_stamp tok_stamp_first(enum tok_key_state state);
/* The next one. ERR_STATE: there is no way from the present state to `state`; the note says `label`. */
enum err_code tok_stamp_next(const struct tok_stamp *from, enum tok_key_state state, const char *label,
                             struct tok_stamp *out_next, struct err *e) MUST_CHECK;

/* Keep a stamp of the key labelled `key_label`. A session that may write; the caller holds the token's lock,
 * as for the next two. */
enum err_code tok_stamp_keep(struct tok_session *rw, const char *key_label, const struct tok_stamp *stamp,
                             struct err *e) MUST_CHECK;
/* The stamp that counts; *out_found false when the key has none. */
enum err_code tok_stamp_find(struct tok_session *s, const char *key_label, struct tok_stamp *out_stamp,
                             bool *out_found, struct err *e) MUST_CHECK;
/* Destroy the stamps of that key below `generation`. */
enum err_code tok_stamps_destroy(struct tok_session *rw, const char *key_label, unsigned generation,
                                 struct err *e) MUST_CHECK;

#endif

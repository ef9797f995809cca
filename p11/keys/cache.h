/* Inside p11 only: opened blobs, kept as session objects of the holder so that a hot terminal's key is
 * unwrapped once.
 *
 * An entry is found by the whole blob, byte for byte, so a hit needs no second tag check: those very bytes
 * passed it. Entries in use are counted and never evicted. Any thread. */
#ifndef POSWARD_P11_KEYS_CACHE_H
#define POSWARD_P11_KEYS_CACHE_H

#include "p11/module/session.h"

#define TOK_CACHE_ENTRIES 1024
#define TOK_CACHED_BYTES  160 /* of a blob, at most */

struct tok_cached;

struct tok_cached_keys {
    CK_OBJECT_HANDLE key, left; /* left: K1||K1, or 0 */
};

/* NULL: not there. The entry is held until tok_cache_give. */
struct tok_cached *tok_cache_take(struct tok *tok, const uint8_t *blob, size_t len,
                                  struct tok_cached_keys *out_keys);
/* Keep an object of the holder session; the cache destroys it later. The caller holds tok->holder_lock. NULL:
 * every entry is in use, and the object stays the caller's. */
struct tok_cached *tok_cache_put(struct tok *tok, const uint8_t *blob, size_t len,
                                 struct tok_cached_keys keys);
void tok_cache_give(struct tok *tok, struct tok_cached *entry);

enum err_code tok_cache_new(struct tok *tok, struct err *e) MUST_CHECK;
void tok_cache_free(struct tok *tok);
struct tok_cache_counts {
    size_t entries;
    uint64_t hits, misses;
};
struct tok_cache_counts tok_cache_counts(struct tok *tok);
/* The holder session died: entries are forgotten, their objects are gone already. */
void tok_cache_forget(struct tok *tok);
/* The same for a living holder: objects are destroyed. The caller holds holder_lock; no session is borrowed.
 */
void tok_cache_clear(struct tok *tok);

#endif

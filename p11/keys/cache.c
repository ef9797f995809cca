#include "p11/keys/cache.h"

#include "base/secret.h"
#include "p11/module/state.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 256 /* a power of two */

struct tok_cached {
    struct tok_cached *next_in_bucket;
    struct tok_cached *older, *newer; /* of the order of use */
    struct tok_cached_keys keys;
    unsigned in_use;
    bool forgotten; /* its object died with the holder: not found, freed when given back */
    size_t blob_len;
    uint8_t blob[TOK_CACHED_BYTES];
};

struct tok_cache {
    pthread_mutex_t lock;
    struct tok_cached *buckets[BUCKETS];
    struct tok_cached *newest, *oldest;
    size_t count;
    uint64_t hits, misses;
};

/* The last bytes of a blob are its tag: as good as random. */
static size_t bucket_of(const uint8_t *blob, size_t len)
{
    return blob[len - 1] & (BUCKETS - 1);
}

static void unlink_order(struct tok_cache *c, struct tok_cached *entry)
{
    *(entry->newer != NULL ? &entry->newer->older : &c->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &c->oldest) = entry->newer;
}

static void link_newest(struct tok_cache *c, struct tok_cached *entry)
{
    entry->newer = NULL;
    entry->older = c->newest;
    *(c->newest != NULL ? &c->newest->newer : &c->oldest) = entry;
    c->newest = entry;
}

static void unlink_entry(struct tok_cache *c, struct tok_cached *entry)
{
    struct tok_cached **at = &c->buckets[bucket_of(entry->blob, entry->blob_len)];
    while (*at != entry)
        at = &(*at)->next_in_bucket;
    *at = entry->next_in_bucket;
    unlink_order(c, entry);
    c->count--;
}

static struct tok_cached *find_entry(struct tok_cache *c, const uint8_t *blob, size_t len)
{
    struct tok_cached *entry = c->buckets[bucket_of(blob, len)];
    while (entry != NULL && (entry->blob_len != len || !secret_equal(entry->blob, blob, len)))
        entry = entry->next_in_bucket;
    return entry;
}

struct tok_cached *tok_cache_take(struct tok *tok, const uint8_t *blob, size_t len,
                                  struct tok_cached_keys *out_keys)
{
    struct tok_cache *c = tok->cache;
    if (c == NULL || len == 0)
        return NULL;
    pthread_mutex_lock(&c->lock);
    struct tok_cached *entry = find_entry(c, blob, len);
    if (entry != NULL) {
        entry->in_use++;
        unlink_order(c, entry);
        link_newest(c, entry);
        *out_keys = entry->keys;
    }
    c->hits += entry != NULL;
    c->misses += entry == NULL;
    pthread_mutex_unlock(&c->lock);
    return entry;
}

struct tok_cache_counts tok_cache_counts(struct tok *tok)
{
    struct tok_cache *c = tok->cache;
    if (c == NULL)
        return (struct tok_cache_counts){0};
    pthread_mutex_lock(&c->lock);
    const struct tok_cache_counts counts = {.entries = c->count, .hits = c->hits, .misses = c->misses};
    pthread_mutex_unlock(&c->lock);
    return counts;
}

void tok_cache_give(struct tok *tok, struct tok_cached *entry)
{
    struct tok_cache *c = tok->cache;
    pthread_mutex_lock(&c->lock);
    const bool dead = --entry->in_use == 0 && entry->forgotten;
    pthread_mutex_unlock(&c->lock);
    if (dead)
        free(entry);
}

/* Take the least recently used entry that nobody holds out of the cache. */
static struct tok_cached *evict(struct tok_cache *c)
{
    struct tok_cached *entry = c->oldest;
    while (entry != NULL && entry->in_use > 0)
        entry = entry->newer;
    if (entry != NULL)
        unlink_entry(c, entry);
    return entry;
}

static void destroy_keys(struct tok *tok, const struct tok_cached_keys *keys)
{
    tok->fn->C_DestroyObject(tok->holder.handle, keys->key);
    if (keys->left != CK_INVALID_HANDLE)
        tok->fn->C_DestroyObject(tok->holder.handle, keys->left);
}

static struct tok_cached *place_for_one(struct tok *tok, struct tok_cache *c)
{
    if (c->count < TOK_CACHE_ENTRIES)
        return malloc(sizeof(struct tok_cached));
    struct tok_cached *entry = evict(c);
    if (entry != NULL)
        destroy_keys(tok, &entry->keys);
    return entry;
}

struct tok_cached *tok_cache_put(struct tok *tok, const uint8_t *blob, size_t len,
                                 struct tok_cached_keys keys)
{
    struct tok_cache *c = tok->cache;
    if (c == NULL || len == 0 || len > TOK_CACHED_BYTES)
        return NULL;
    pthread_mutex_lock(&c->lock);
    struct tok_cached *entry = find_entry(c, blob, len) == NULL ? place_for_one(tok, c) : NULL;
    if (entry != NULL) {
        *entry = (struct tok_cached){.keys = keys, .in_use = 1, .blob_len = len};
        memcpy(entry->blob, blob, len);
        struct tok_cached **bucket = &c->buckets[bucket_of(blob, len)];
        entry->next_in_bucket = *bucket;
        *bucket = entry;
        link_newest(c, entry);
        c->count++;
    }
    pthread_mutex_unlock(&c->lock);
    return entry;
}

/* Empty the cache. An entry in use is freed when it is given back; its object is then its session's affair.
 */
static void empty(struct tok *tok, struct tok_cache *c, bool destroy)
{
    pthread_mutex_lock(&c->lock);
    for (struct tok_cached *entry = c->oldest, *next; entry != NULL; entry = next) {
        next = entry->newer;
        if (destroy)
            destroy_keys(tok, &entry->keys);
        entry->forgotten = true;
        if (entry->in_use == 0)
            free(entry);
    }
    memset(c->buckets, 0, sizeof c->buckets);
    c->newest = c->oldest = NULL;
    c->count = 0;
    pthread_mutex_unlock(&c->lock);
}

void tok_cache_forget(struct tok *tok)
{
    if (tok->cache != NULL)
        empty(tok, tok->cache, false);
}

void tok_cache_clear(struct tok *tok)
{
    if (tok->cache != NULL)
        empty(tok, tok->cache, true);
}

enum err_code tok_cache_new(struct tok *tok, struct err *e)
{
    struct tok_cache *c = calloc(1, sizeof *c);
    if (c == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a cache of keys");
    pthread_mutex_init(&c->lock, NULL);
    tok->cache = c;
    return ERR_OK;
}

void tok_cache_free(struct tok *tok)
{
    if (tok->cache == NULL)
        return;
    tok_cache_forget(tok);
    pthread_mutex_destroy(&tok->cache->lock);
    free(tok->cache);
    tok->cache = NULL;
}

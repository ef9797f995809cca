/* Finds any of many byte strings in one pass, for tests that look for secrets in memory, files and
 * recordings. A DES needle is found whatever its parity bits. Loaded by tests/support/leaks.py through
 * ctypes. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW    6 /* shortest needle: the digits of a 12-digit PIN in BCD */
#define HASH_BITS 18
#define NO_PARITY UINT64_C(0x0000FEFEFEFEFEFE)
#define GOLDEN    UINT64_C(0x9E3779B97F4A7C15)

struct leak_needle {
    const uint8_t *bytes;
    uint32_t len;
    uint32_t des;
};
struct leak_hit {
    uint64_t offset;
    uint32_t needle;
    uint32_t zero;
};
struct leak_index {
    size_t count;
    const struct leak_needle *needles; /* the caller keeps them */
    uint64_t present[(1 << HASH_BITS) / 64];
    int32_t first[1 << HASH_BITS];
    int32_t next[];
};

#define EXPORT __attribute__((visibility("default")))
EXPORT struct leak_index *leak_index_new(const struct leak_needle *needles, size_t count);
EXPORT void leak_index_free(struct leak_index *index);
EXPORT size_t leak_find(const struct leak_index *index, const uint8_t *data, size_t len,
                        struct leak_hit *out_hits, size_t most);

/* The first WINDOW bytes matter; fewer than 8 are left at the end of the data only. */
static uint64_t word_at(const uint8_t *p, size_t left)
{
    uint64_t word = 0;
    if (left >= sizeof word)
        memcpy(&word, p, sizeof word); /* one load: this is the inner loop */
    else
        memcpy(&word, p, left);
    return word;
}

static uint32_t hash_of(uint64_t word)
{
    return (uint32_t)(((word & NO_PARITY) * GOLDEN) >> (64 - HASH_BITS));
}

/* NULL when a needle is too short or begins with zeros, or memory is short. */
struct leak_index *leak_index_new(const struct leak_needle *needles, size_t count)
{
    struct leak_index *index = calloc(1, sizeof *index + count * sizeof index->next[0]);
    if (index == NULL)
        return NULL;
    index->count = count;
    index->needles = needles;
    memset(index->first, -1, sizeof index->first);
    for (size_t i = 0; i < count; i++) {
        const uint64_t word = word_at(needles[i].bytes, needles[i].len);
        if (needles[i].len < WINDOW || (word & NO_PARITY) == 0) {
            free(index);
            return NULL;
        }
        const uint32_t hash = hash_of(word);
        index->present[hash / 64] |= UINT64_C(1) << hash % 64;
        index->next[i] = index->first[hash];
        index->first[hash] = (int32_t)i;
    }
    return index;
}

void leak_index_free(struct leak_index *index)
{
    free(index);
}

static bool matches(const struct leak_needle *needle, const uint8_t *p, size_t left)
{
    if (needle->len > left)
        return false;
    if (!needle->des)
        return memcmp(needle->bytes, p, needle->len) == 0;
    unsigned difference = 0;
    for (uint32_t i = 0; i < needle->len; i++)
        difference |= (unsigned)(needle->bytes[i] ^ p[i]) & 0xFE;
    return difference == 0;
}

/* The number of hits; the first `most` of them are in out_hits. */
size_t leak_find(const struct leak_index *index, const uint8_t *data, size_t len, struct leak_hit *out_hits,
                 size_t most)
{
    size_t found = 0;
    for (size_t at = 0; at + WINDOW <= len; at++) {
        const uint64_t word = word_at(data + at, len - at);
        if (word == 0) { /* most of memory; no needle begins with zeros */
            at += len - at >= sizeof word ? sizeof word - WINDOW : 0;
            continue;
        }
        const uint32_t hash = hash_of(word);
        if ((index->present[hash / 64] >> hash % 64 & 1) == 0)
            continue;
        for (int32_t i = index->first[hash]; i >= 0; i = index->next[i]) {
            if (!matches(&index->needles[i], data + at, len - at))
                continue;
            if (found < most)
                out_hits[found] = (struct leak_hit){.offset = at, .needle = (uint32_t)i};
            found++;
        }
    }
    return found;
}

#include "base/nearest.h"

#include <string.h>

static size_t least_of(size_t a, size_t b, size_t c)
{
    const size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Optimal string alignment: insert, drop, change, or swap two neighbours (the commonest slip of a typist). */
static size_t distance_of(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][NEAREST_WORD_BYTES + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_len; j++)
        last[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            const size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
            row[j] = least_of(last[j] + 1, row[j - 1] + 1, last[j - 1] + change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        size_t *const free_row = before;
        before = last;
        last = row;
        row = free_row;
    }
    return last[b_len];
}

void nearest_offer_part(struct nearest *n, const char *name, size_t len)
{
    const size_t word_len = strlen(n->word);
    if (word_len >= NEAREST_WORD_BYTES || len >= NEAREST_WORD_BYTES || len == 0)
        return;
    const size_t distance = distance_of(n->word, word_len, name, len);
    const size_t most = word_len < 6 ? 2 : word_len / 3;
    if (distance > most || distance >= word_len || (n->best[0] != '\0' && distance >= n->distance))
        return;
    memcpy(n->best, name, len);
    n->best[len] = '\0';
    n->distance = distance;
}

void nearest_offer(struct nearest *n, const char *name)
{
    nearest_offer_part(n, name, strlen(name));
}

const char *nearest_found(const struct nearest *n)
{
    return n->best[0] != '\0' ? n->best : NULL;
}

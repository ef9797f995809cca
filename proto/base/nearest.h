/* The nearest of some known names to a misspelt one: "did you mean ...?".
 *
 * struct nearest n = {.word = word}; nearest_offer(&n, name) for each; nearest_found(&n). One thread. */
#ifndef POSWARD_BASE_NEAREST_H
#define POSWARD_BASE_NEAREST_H

#include <stddef.h>

#define NEAREST_WORD_BYTES 96 /* longer words and names are not compared */

struct nearest {
    const char *word;              /* as it was typed; borrowed */
    char best[NEAREST_WORD_BYTES]; /* "" until something was offered that is near enough */
    size_t distance;               /* of `best`, in single-character edits and swaps of neighbours */
};

/* Compare with the first `len` characters of `name`. */
void nearest_offer_part(struct nearest *n, const char *name, size_t len);
void nearest_offer(struct nearest *n, const char *name);
/* The best name so far, or NULL when none is near: more than a third of the word would have to change. */
const char *nearest_found(const struct nearest *n);

#endif

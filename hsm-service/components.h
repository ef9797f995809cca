/* Key components: parts of a key that separate custodians hold; their exclusive-or is the key. */
#ifndef POSWARD_HSM_SERVICE_COMPONENTS_H
#define POSWARD_HSM_SERVICE_COMPONENTS_H

#include "base/secret.h"

#include <stdbool.h>

#define COMPONENTS_LEAST 2
#define COMPONENTS_MOST  9

struct components {
    struct secret parts[COMPONENTS_MOST];
    size_t count;
    size_t key_bytes; /* of each, and of the key */
};
void components_drop(struct components *c);

/* Read hexadecimal text (either case, spaces between groups) as one more component, all checks of one
 * component included: ERR_INPUT says which part of the text is wrong, never what it is. With `odd_parity`
 * each byte must have it. */
enum err_code components_add(struct components *c, const struct secret *text, bool odd_parity,
                             struct err *e) MUST_CHECK;
/* Combine. ERR_INPUT: too few, two that are equal, or a result of zeros. */
enum err_code components_combine(const struct components *c, struct secret *out_key,
                                 struct err *e) MUST_CHECK;

#endif

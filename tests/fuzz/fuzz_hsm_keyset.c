/* Two keysets, divided by the first byte 0, as keepers that were taken over may send them. */
#include "hsm-service/front/pool.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *const zero = size > 0 ? memchr(data, 0, size) : NULL;
    const size_t len = zero != NULL ? (size_t)(zero - data) : size;
    char *const one = strndup((const char *)data, len);
    char *const two =
        strndup(len < size ? (const char *)data + len + 1 : "", len < size ? size - len - 1 : 0);
    char text[POOL_DIFFERENCE_BYTES] = "";
    if (one != NULL && two != NULL) {
        front_pool_difference(one, two, text);
        if (memchr(text, '\0', sizeof text) == NULL || text[0] == '\0')
            abort();
    }
    free(one);
    free(two);
    return 0;
}

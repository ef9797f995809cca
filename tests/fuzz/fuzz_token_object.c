/* An object file of SoftHSM, as somebody may have left it. */
#include "hsm-service/tokendir/tokendir.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (tokendir_is_token(data, size, "posward") && !tokendir_object_is_whole(data, size))
        abort();
    return 0;
}

/* A keeper's and the front's view of a packet: it decodes to what encodes to the same bytes, or it is
 * refused. */
#include "hsm-service/ipc.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t again[IPC_PACKET_BYTES];
    struct ipc_frame frame;
    struct err e = {0};
    size_t len = 0;
    if (ipc_decode(data, size, &frame, &e) != ERR_OK)
        return 0;
    if (ipc_encode(&frame, again, sizeof again, &len, &e) != ERR_OK || len != size ||
        memcmp(again, data, len) != 0)
        abort();
    return 0;
}

/* Traceparents of peers: any bytes are none, or come out as they went in and keep their id in a child. */
#include "base/trace.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct trace trace = trace_parse(data, size), child = trace_child(&trace);
    char id[TRACE_ID_BYTES], child_id[TRACE_ID_BYTES];
    trace_id(&trace, id);
    trace_id(&child, child_id);
    const size_t len = strlen(trace.parent);
    if (len != 0 && (len != size || memcmp(trace.parent, data, len) != 0))
        __builtin_trap();
    if (strcmp(id, child_id) != 0 || strlen(id) != (len != 0 ? TRACE_ID_BYTES - 1 : 0))
        __builtin_trap();
    return 0;
}

/* Frames on a terminal's line: a stream cut anywhere gives the same frames, or the same refusal. */
#include "iso8583/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t wire[ISO_FRAME_BYTES_MAX];
    while (size > 0) {
        struct err e = {0};
        struct iso_frame frame;
        if (iso_frame_parse(data, size, 2048, &frame, &e) != ERR_OK || frame.total == 0)
            return 0;
        struct iso_frame shorter;
        if (frame.total > size || iso_frame_parse(data, frame.total - 1, 2048, &shorter, &e) != ERR_OK ||
            shorter.total != 0)
            abort();
        size_t len = 0;
        if (iso_frame_build(&frame.envelope, frame.message, frame.message_len, wire, sizeof wire, &len, &e) !=
                ERR_OK ||
            len != frame.total || memcmp(wire, data, len) != 0)
            abort();
        (void)iso_envelope_answer(&frame.envelope);
        data += frame.total;
        size -= frame.total;
    }
    return 0;
}

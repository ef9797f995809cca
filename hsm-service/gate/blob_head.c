#include "hsm-service/gate/blob_head.h"

enum { AT_USAGE = 5, AT_DIGITS = 8, AT_NUMBER = 9, AT_STORAGE = 20 };

bool blob_head_read(struct wire_bytes blob, struct blob_head *out_head)
{
    static const char *const usages[] = {"blob", "PIK", "MAK", "TDK", "TMK"};
    const size_t digits = blob.len > AT_STORAGE ? blob.data[AT_DIGITS] : 0;
    *out_head = (struct blob_head){.usage = usages[0]};
    if (digits == 0 || digits > BLOB_NUMBER_MOST)
        return false;
    for (size_t i = 0; i < digits; i++) {
        const size_t at = BLOB_NUMBER_MOST - digits + i;
        const uint8_t pair = blob.data[AT_NUMBER + at / 2];
        const unsigned digit = at % 2 == 0 ? pair >> 4U : pair & 15U;
        out_head->terminal[i] = (char)('0' + (digit < 10 ? digit : 0));
    }
    if (blob.data[AT_USAGE] < sizeof usages / sizeof usages[0])
        out_head->usage = usages[blob.data[AT_USAGE]];
    out_head->storage_version = blob.data[AT_STORAGE];
    return true;
}

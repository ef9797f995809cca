/* Card profiles: any text is refused, or gives offsets that lie inside the card's answer. */
#include "issuer/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct card_profile p;
    struct err e = {0};
    if (card_profile_parse("fuzz", (const char *)data, size, &p, &e) == ERR_OK &&
        (p.version_at >= p.answer_bytes || p.kcv_at + p.kcv_bytes > p.answer_bytes || p.kcv_bytes > 4 ||
         p.suites == 0))
        __builtin_trap();
    return 0;
}

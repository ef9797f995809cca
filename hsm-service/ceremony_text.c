#include "base/hex.h"
#include "hsm-service/ceremony.h"

#include <string.h>

void ceremony_kcv_text(const struct tok_key_info *info, char out_text[7])
{
    if (info->has_kcv)
        hex_encode(info->kcv, sizeof info->kcv, out_text);
    else
        memcpy(out_text, "-", 2);
}

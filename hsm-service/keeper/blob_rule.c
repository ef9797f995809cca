#include "hsm-service/keeper/blob_rule.h"

#include "hsm-service/keeper/convert.h"

#define DOUBLE_BYTES 16

/* Single DES: never for a PIN or a track; for a MAC while terminals of layout 003 are in the field. */
static enum err_code check_length(const struct keeper_policy *policy, const struct tok_blob_info *info,
                                  struct err *e)
{
    if (info->suite != TOK_TDES || info->key_bytes >= DOUBLE_BYTES)
        return ERR_OK;
    if (info->usage != TOK_MAK)
        return err_set(e, ERR_DENIED,
                       "the key blob is a %s of 8 bytes, single DES; sign in again for one of 16",
                       convert_usage_name(info->usage));
    if (policy->tdes_mak_bytes_min < DOUBLE_BYTES)
        return ERR_OK;
    return err_set(
        e, ERR_DENIED,
        "the key blob is a MAK of 8 bytes, and policy.tdes_mak_bytes_min is 16; sign in again for one of 16");
}

enum err_code blob_rule_check(const struct keeper_call *call, const struct tok_blob_info *info, struct err *e)
{
    return check_length(call->policy, info, e);
}

enum err_code blob_rule_ref(const struct keeper_call *call, const struct tok_key_ref *ref,
                            struct tok_blob_info *out_info, struct err *e)
{
    struct tok_blob_info info = {0};
    if (ref->blob != NULL) {
        TRY(tok_blob_peek(ref->blob, ref->blob_len, &info, e));
        TRY(blob_rule_check(call, &info, e));
    }
    if (out_info != NULL)
        *out_info = info;
    return ERR_OK;
}

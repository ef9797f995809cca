#include "hsm-service/keeper/blob_rule.h"

#include "base/clock.h"
#include "base/secret.h"
#include "hsm-service/keeper/convert.h"

#include <string.h>

#define DOUBLE_BYTES     16
#define FORM_1_SPREAD_MS 2000 /* between the first and the last key of a sign-in */

static enum err_code check_form(const struct keeper_policy *policy, const struct tok_blob_info *info,
                                struct err *e)
{
    if (info->form != 1 || clock_wall_ms() < policy->blob_form1_until_ms)
        return ERR_OK;
    return err_set(e, ERR_DENIED,
                   "the key blob is sealed in form 1; sign in again, or set policy.blob_form1_until");
}

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
    TRY(check_form(call->policy, info, e));
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

/* Both of one form. Form 1 has the times only, in whatever order the keys were made. */
static bool same_sign_in(const struct tok_blob_info *a, const struct tok_blob_info *b)
{
    if (a->form != 1)
        return secret_equal(a->sign_in, b->sign_in, sizeof a->sign_in);
    const int64_t apart_ms = a->created_ms - b->created_ms;
    return apart_ms <= FORM_1_SPREAD_MS && apart_ms >= -FORM_1_SPREAD_MS;
}

static enum err_code check_pair(const struct tok_blob_info *a, const struct tok_blob_info *b, struct err *e)
{
    if (strcmp(a->psam_number, b->psam_number) != 0)
        return err_set(e, ERR_DENIED, "the key blobs of this transaction are of different cards");
    if (a->form != b->form)
        return err_set(e, ERR_DENIED,
                       "the key blobs of this transaction are of form 1 and form 2: of two sign-ins; use the "
                       "keys of one");
    if (!same_sign_in(a, b))
        return err_set(
            e, ERR_DENIED,
            "the key blobs of this transaction are of two sign-ins; use the keys of one, or sign in again");
    return ERR_OK;
}

enum err_code blob_rule_together(const struct keeper_call *call, const struct tok_blob_info *infos,
                                 size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        TRY(blob_rule_check(call, &infos[i], e));
        for (size_t before = 0; before < i; before++)
            TRY(check_pair(&infos[before], &infos[i], e));
    }
    return ERR_OK;
}

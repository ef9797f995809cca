/* The key that an order is about. */
#include "base/terms.h"
#include "hsm-service/keeper/convert.h"
#include "hsm-service/keeper/order.h"

#include <string.h>

static bool find_info(struct keeper_call *call, const struct tok_key_name *name,
                      struct tok_key_info *out_info)
{
    char wanted[TOK_LABEL_BYTES];
    tok_key_label(name, wanted);
    for (size_t i = 0; i < tok_keys_count(call->tok); i++) {
        struct tok_key_info info = {0};
        tok_keys_info(call->tok, i, &info);
        if (strcmp(info.label, wanted) != 0)
            continue;
        *out_info = info;
        return true;
    }
    return false;
}

enum err_code order_new_name(struct keeper_call *call, struct tok_key_name *name, struct err *e)
{
    struct tok_key_info info;
    if (name->version == 0) {
        name->version = tok_keys_newest(call->tok, name->role, name->suite, name->zone) + 1;
        if (name->version > KEY_VERSION_MAX)
            return err_set(e, ERR_LIMIT, "version %d of this key is there; there is none after it",
                           KEY_VERSION_MAX);
    }
    if (find_info(call, name, &info))
        return err_set(e, ERR_EXISTS, "%s exists; make the next version", info.label);
    return ERR_OK;
}

enum err_code order_tell(struct keeper_call *call, const struct tok_key_info *info, HsmKeyOutcome *out,
                         struct err *e)
{
    ProtobufCMessage *key = NULL;
    HsmKey **const keys = arena_take(call->arena, sizeof(HsmKey *));
    if (keys == NULL)
        return err_set(e, ERR_LIMIT, "the answer needs more memory than a request may use");
    TRY(case_message(call, &posward__hsm__v1__key__descriptor, &key, e));
    keys[0] = (HsmKey *)key;
    TRY(case_fill_key(call, info, keys[0], e));
    if (info->has_kcv)
        TRY(arena_copy(call->arena, info->kcv, sizeof info->kcv, &out->kcv, e));
    out->keys = keys;
    out->n_keys = 1;
    return ERR_OK;
}

enum err_code order_find_key(struct keeper_call *call, const Posward__Hsm__V1__KeyName *key,
                             struct tok_key_info *out_info, struct err *e)
{
    struct tok_key_name name;
    TRY(convert_key_name(key, "key", &name, e));
    if (name.version == 0)
        return err_set(e, ERR_INPUT, "key: version is missing: which one?");
    if (!find_info(call, &name, out_info))
        return err_set(e, ERR_NOT_FOUND, "there is no %s key of suite %s and version %u%s%s",
                       tok_role_name(name.role), tok_suite_name(name.suite), name.version,
                       name.zone[0] != '\0' ? " in zone " : "", name.zone);
    return ERR_OK;
}

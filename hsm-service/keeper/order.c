#include "hsm-service/keeper/order.h"

#include "hsm-service/keeper/convert.h"
#include "hsm-service/keeper/order_travel.h"

#include <string.h>

#define VERSION_MOST 255

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
        if (name->version > VERSION_MOST)
            return err_set(e, ERR_LIMIT, "version %d of this key is there; there is none after it",
                           VERSION_MOST);
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

/* ---- Actions ---- */

static enum err_code create(struct keeper_call *call, const HsmKeyOrder *order, HsmKeyOutcome *out,
                            struct err *e)
{
    const Posward__Hsm__V1__CreateKey *const action = order->create;
    struct tok_key_name name;
    struct tok_key_info info;
    TRY(convert_key_name(action->key, "key", &name, e));
    TRY(order_new_name(call, &name, e));
    if (action->export_to != NULL)
        return order_create_exported(call, order, &name, out, e);
    out->grade = convert_grade(TOK_IN_TOKEN);
    if (order->check_only)
        return ERR_OK;
    TRY(tok_key_generate(call->tok, &name, action->pre_active ? TOK_KEY_PRE_ACTIVE : TOK_KEY_ACTIVE, &info,
                         e));
    return order_tell(call, &info, out, e);
}

static enum err_code named_key(struct keeper_call *call, const Posward__Hsm__V1__KeyName *key,
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

static enum err_code set_state(struct keeper_call *call, const HsmKeyOrder *order,
                               const Posward__Hsm__V1__KeyName *key, enum tok_key_state state,
                               HsmKeyOutcome *out, struct err *e)
{
    struct tok_key_info info;
    TRY(named_key(call, key, &info, e));
    if (!tok_state_may_become(info.state, state))
        return err_set(e, ERR_STATE, "%s is %s, which cannot become %s", info.label,
                       tok_state_name(info.state), tok_state_name(state));
    if (!order->check_only)
        TRY(tok_key_set_state(call->tok, &info.name, state, &info, e));
    return order_tell(call, &info, out, e);
}

static enum err_code activate(struct keeper_call *call, const HsmKeyOrder *order, HsmKeyOutcome *out,
                              struct err *e)
{
    return set_state(call, order, order->activate->key, TOK_KEY_ACTIVE, out, e);
}

static enum err_code deactivate(struct keeper_call *call, const HsmKeyOrder *order, HsmKeyOutcome *out,
                                struct err *e)
{
    return set_state(call, order, order->deactivate->key, TOK_KEY_DEACTIVATED, out, e);
}

static enum err_code destroy(struct keeper_call *call, const HsmKeyOrder *order, HsmKeyOutcome *out,
                             struct err *e)
{
    struct tok_key_info info;
    TRY(named_key(call, order->destroy->key, &info, e));
    if (info.state == TOK_KEY_ACTIVE)
        return err_set(e, ERR_STATE, "%s is active; deactivate it before it is destroyed", info.label);
    if (!order->check_only)
        TRY(tok_key_destroy(call->tok, &info.name, e));
    TRY(order_tell(call, &info, out, e));
    if (!order->check_only)
        out->keys[0]->state = POSWARD__HSM__V1__KEY_STATE__KEY_STATE_DESTROYED;
    return ERR_OK;
}

static const struct order_row {
    Posward__Hsm__V1__KeyOrder__ActionCase action;
    enum err_code (*run)(struct keeper_call *call, const HsmKeyOrder *order, HsmKeyOutcome *out,
                         struct err *e);
} rows[] = {
    {POSWARD__HSM__V1__KEY_ORDER__ACTION_CREATE, create},
    {POSWARD__HSM__V1__KEY_ORDER__ACTION_ACTIVATE, activate},
    {POSWARD__HSM__V1__KEY_ORDER__ACTION_DEACTIVATE, deactivate},
    {POSWARD__HSM__V1__KEY_ORDER__ACTION_DESTROY, destroy},
    {POSWARD__HSM__V1__KEY_ORDER__ACTION_IMPORT, order_import},
    {POSWARD__HSM__V1__KEY_ORDER__ACTION_COMPONENT, order_component},
    {POSWARD__HSM__V1__KEY_ORDER__ACTION_TRANSPORT, order_transport},
};

static enum err_code run(struct keeper_call *call, const HsmKeyOrder *order, HsmKeyOutcome *out,
                         struct err *e)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].action == order->action_case && order->create != NULL) /* union members are pointers */
            return rows[i].run(call, order, out, e);
    return err_set(e, ERR_INPUT, "the order names no action that a keeper knows");
}

enum err_code order_serve(struct keeper_call *call, const uint8_t *body, size_t len,
                          ProtobufCBinaryData *out_answer, struct err *e)
{
    ProtobufCMessage *order = NULL, *outcome = NULL;
    call->operations++;
    TRY(case_unpack(call, &posward__hsm__v1__key_order__descriptor, body, len, &order, e));
    TRY(case_message(call, &posward__hsm__v1__key_outcome__descriptor, &outcome, e));
    TRY(run(call, (const HsmKeyOrder *)order, (HsmKeyOutcome *)outcome, e));
    return case_pack(call, outcome, out_answer, e);
}

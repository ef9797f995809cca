#include "hsm-service/keeper/order.h"

#include "hsm-service/keeper/convert.h"
#include "hsm-service/keeper/order_travel.h"

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

static enum err_code set_state(struct keeper_call *call, const HsmKeyOrder *order,
                               const Posward__Hsm__V1__KeyName *key, enum tok_key_state state,
                               HsmKeyOutcome *out, struct err *e)
{
    struct tok_key_info info;
    TRY(order_find_key(call, key, &info, e));
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
    TRY(order_find_key(call, order->destroy->key, &info, e));
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

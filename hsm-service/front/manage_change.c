/* Calls that change something: propose, approve, bring a component, reject. */
#include "hsm-service/front/manage_serve.h"

#include "base/secret.h"

#include <stdlib.h>
#include <string.h>

/* ---- Propose ---- */

static enum err_code find_breaks(struct manage *m, const ControlRequest *request, const char *label,
                                 const struct control_view *view, int64_t now_ms,
                                 char out_lines[CONTROL_BREAK_BYTES], struct err *e)
{
    struct control_use *const uses = calloc(CONTROL_USES_MOST, sizeof *uses);
    struct control_stakes stakes = {.uses = uses, .now_ms = now_ms};
    if (uses == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the uses of a key");
    enum err_code code = control_uses(m->control, label, CONTROL_USES_MOST, uses, &stakes.count, e);
    if (code == ERR_OK)
        code = control_is_told(m->control, &stakes.told, e);
    if (code == ERR_OK)
        control_breaks(request, view, &stakes, out_lines);
    free(uses);
    return code;
}

/* A policy that nobody could ever change again is not agreed to. */
static enum err_code check_policy(struct manage *m, const Posward__Hsm__V1__Policy *change, struct err *e)
{
    TRY(control_policy_check(m->control, change, e));
    return m->roles != NULL ? control_check_operators(change, roles_count(m->roles, ROLE_OPERATOR), e)
                            : ERR_OK;
}

static enum err_code draft(struct manage *m, const ControlRequest *request,
                           const struct control_caller *caller, struct control_proposal *out_draft,
                           struct err *e)
{
    struct manage_view v = {0};
    struct control_proposal p = {0};
    TRY(manage_look(m, &v, e));
    enum err_code code = control_plan(request, &v.view, &p, e);
    if (code == ERR_OK)
        code = find_breaks(m, p.request, p.label, &v.view, caller->now_ms, p.would_break, e);
    if (code == ERR_OK)
        code = control_check_breaks(p.request, p.would_break, e);
    if (code == ERR_OK && p.request->action_case == POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_POLICY)
        code = check_policy(m, p.request->policy->policy, e);
    if (code == ERR_OK)
        code = manage_check(m, p.request, &p.outcome, e);
    manage_view_drop(&v);
    if (code != ERR_OK)
        control_proposal_drop(&p);
    else
        *out_draft = p;
    return code;
}

void manage_serve_propose(Posward__Hsm__V1__KeyManagement_Service *service, const ControlRequest *request,
                          Posward__Hsm__V1__Proposal_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    const struct control_caller caller = manage_caller(rpc_call_of(closure_data));
    struct control_proposal p = {0}, proposed = {0};
    struct err e = {0};
    enum err_code code = manage_check_open(m, &e);
    if (code == ERR_OK)
        code = control_check_caller(&caller, &e);
    if (code == ERR_OK)
        code = draft(m, request, &caller, &p, &e);
    if (code == ERR_OK)
        code = control_propose(m->control, &caller, &p, &proposed, &e);
    manage_answer(code, &proposed, closure, closure_data, &e);
}

/* ---- Approve, component, reject ---- */

static enum err_code renew_breaks(struct manage *m, const char *id, const struct control_caller *caller,
                                  char out_lines[CONTROL_BREAK_BYTES], struct err *e)
{
    struct control_proposal p = {0};
    struct manage_view v = {0};
    TRY(control_get(m->control, id, &p, e));
    enum err_code code = manage_look(m, &v, e);
    if (code == ERR_OK)
        code = find_breaks(m, p.request, p.label, &v.view, caller->now_ms, out_lines, e);
    if (code == ERR_OK && p.state == CONTROL_PENDING) /* other changes may have come in between */
        code = control_check_breaks(p.request, out_lines, e);
    if (code == ERR_OK && p.state == CONTROL_PENDING &&
        p.request->action_case == POSWARD__HSM__V1__PROPOSE_REQUEST__ACTION_POLICY)
        code = check_policy(m, p.request->policy->policy, e);
    manage_view_drop(&v);
    control_proposal_drop(&p);
    return code;
}

static enum err_code execute_if_due(struct manage *m, const struct control_caller *caller,
                                    struct control_proposal *p, struct err *e)
{
    if (p->state != CONTROL_EXECUTING)
        return ERR_OK;
    if (manage_execute(m, caller, p, e) != ERR_OK) {
        control_proposal_drop(p);
        return e->code;
    }
    return ERR_OK;
}

void manage_serve_approve(Posward__Hsm__V1__KeyManagement_Service *service,
                          const Posward__Hsm__V1__ApproveRequest *request,
                          Posward__Hsm__V1__Proposal_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    const struct control_caller caller = manage_caller(rpc_call_of(closure_data));
    struct control_proposal p = {0};
    char lines[CONTROL_BREAK_BYTES] = "";
    struct err e = {0};
    enum err_code code = manage_check_open(m, &e);
    if (code == ERR_OK)
        code = control_check_caller(&caller, &e);
    if (code == ERR_OK)
        code = renew_breaks(m, request->id, &caller, lines, &e);
    if (code == ERR_OK)
        code = control_approve(m->control, &caller, request->id, lines, &p, &e);
    if (code == ERR_OK)
        code = execute_if_due(m, &caller, &p, &e);
    manage_answer(code, &p, closure, closure_data, &e);
}

static enum err_code check_component(struct manage *m,
                                     const Posward__Hsm__V1__SubmitComponentRequest *request,
                                     struct control_component *out_component, struct err *e)
{
    struct control_proposal p = {0};
    ControlOutcome *outcome = NULL;
    bool lost = false;
    if (request->component.len == 0 || request->component.len > CONTROL_COMPONENT_BYTES)
        return err_set(e, ERR_INPUT, "component has 1 to %d bytes", CONTROL_COMPONENT_BYTES);
    if (request->kcv.len != 0 && request->kcv.len != CONTROL_KCV_BYTES)
        return err_set(e, ERR_INPUT, "kcv has %d bytes, or none", CONTROL_KCV_BYTES);
    TRY(control_get(m->control, request->id, &p, e));
    Posward__Hsm__V1__KeyOrder order = POSWARD__HSM__V1__KEY_ORDER__INIT;
    Posward__Hsm__V1__CheckComponent check = POSWARD__HSM__V1__CHECK_COMPONENT__INIT;
    check.component = request->component;
    check.key = control_request_key(p.request);
    order.check_only = true;
    order.action_case = POSWARD__HSM__V1__KEY_ORDER__ACTION_COMPONENT;
    order.component = &check;
    enum err_code code = ERR_OK;
    if (control_components_wanted(&p) == 0)
        code = err_set(e, ERR_STATE, "proposal %s is no import by components", p.id);
    if (code == ERR_OK)
        code = manage_order(m, &order, &outcome, &lost, e);
    if (code == ERR_OK && outcome->kcv.len != CONTROL_KCV_BYTES)
        code = err_set(e, ERR_INTERNAL, "a keeper gave no check value of a component");
    if (code == ERR_OK && request->kcv.len != 0 &&
        !secret_equal(request->kcv.data, outcome->kcv.data, CONTROL_KCV_BYTES))
        code = err_set(e, ERR_CHECK, "the component has another check value than was said: it was mistyped");
    if (code == ERR_OK) {
        memcpy(out_component->kcv, outcome->kcv.data, CONTROL_KCV_BYTES);
        memcpy(out_component->ciphertext, request->component.data, request->component.len);
        out_component->len = request->component.len;
    }
    if (outcome != NULL)
        posward__hsm__v1__key_outcome__free_unpacked(outcome, NULL);
    control_proposal_drop(&p);
    return code;
}

void manage_serve_submit_component(Posward__Hsm__V1__KeyManagement_Service *service,
                                   const Posward__Hsm__V1__SubmitComponentRequest *request,
                                   Posward__Hsm__V1__Proposal_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    const struct control_caller caller = manage_caller(rpc_call_of(closure_data));
    struct control_component component = {0};
    struct control_proposal p = {0};
    struct err e = {0};
    enum err_code code = manage_check_open(m, &e);
    if (code == ERR_OK)
        code = control_check_caller(&caller, &e);
    if (code == ERR_OK)
        code = check_component(m, request, &component, &e);
    if (code == ERR_OK)
        code = control_submit(m->control, &caller, request->id, &component, &p, &e);
    if (code == ERR_OK)
        code = execute_if_due(m, &caller, &p, &e);
    manage_answer(code, &p, closure, closure_data, &e);
}

void manage_serve_reject(Posward__Hsm__V1__KeyManagement_Service *service,
                         const Posward__Hsm__V1__RejectRequest *request,
                         Posward__Hsm__V1__Proposal_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    const struct control_caller caller = manage_caller(rpc_call_of(closure_data));
    struct control_proposal p = {0};
    struct err e = {0};
    enum err_code code = manage_check_open(m, &e);
    if (code == ERR_OK)
        code = control_reject(m->control, &caller, request->id, request->reason, &p, &e);
    manage_answer(code, &p, closure, closure_data, &e);
}

#include "hsm-service/front/manage.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "hsm-service/front/ask.h"
#include "hsm-service/front/audit.h"
#include "hsm-service/front/manage_state.h"
#include "hsm-service/front/state.h"
#include "run/prometheus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVERY_MS   1000 /* the thread looks at the clock */
#define NAP_MS     50
#define ABOUT_MOST 20

static struct manage *manage_of(Posward__Hsm__V1__KeyManagement_Service *service)
{
    return (struct manage *)(void *)service;
}

static struct control_caller caller_of(void *closure_data)
{
    const struct rpc_call *const call = rpc_call_of(closure_data);
    const struct rpc_peer *const peer = rpc_call_peer(call);
    return (struct control_caller){.identity = peer != NULL ? peer->identity : NULL,
                                   .trace = rpc_call_traceparent(call),
                                   .now_ms = clock_wall_ms()};
}

static enum err_code check_open(const struct manage *m, struct err *e)
{
    return m->control != NULL
               ? ERR_OK
               : err_set(e, ERR_STATE, "this service keeps no key management: control.path is empty");
}

static void answer(enum err_code code, struct control_proposal *p, Posward__Hsm__V1__Proposal_Closure closure,
                   void *closure_data, struct err *e)
{
    ProposalMessage *message = NULL;
    if (code == ERR_OK)
        code = manage_message(p, &message, e);
    control_proposal_drop(p);
    if (code == ERR_OK)
        closure(message, closure_data);
    else
        rpc_call_fail(rpc_call_of(closure_data), e);
    manage_message_free(message);
}

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

static void serve_propose(Posward__Hsm__V1__KeyManagement_Service *service, const ControlRequest *request,
                          Posward__Hsm__V1__Proposal_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    const struct control_caller caller = caller_of(closure_data);
    struct control_proposal p = {0}, proposed = {0};
    struct err e = {0};
    enum err_code code = check_open(m, &e);
    if (code == ERR_OK)
        code = control_check_caller(&caller, &e);
    if (code == ERR_OK)
        code = draft(m, request, &caller, &p, &e);
    if (code == ERR_OK)
        code = control_propose(m->control, &caller, &p, &proposed, &e);
    answer(code, &proposed, closure, closure_data, &e);
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

static void serve_approve(Posward__Hsm__V1__KeyManagement_Service *service,
                          const Posward__Hsm__V1__ApproveRequest *request,
                          Posward__Hsm__V1__Proposal_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    const struct control_caller caller = caller_of(closure_data);
    struct control_proposal p = {0};
    char lines[CONTROL_BREAK_BYTES] = "";
    struct err e = {0};
    enum err_code code = check_open(m, &e);
    if (code == ERR_OK)
        code = control_check_caller(&caller, &e);
    if (code == ERR_OK)
        code = renew_breaks(m, request->id, &caller, lines, &e);
    if (code == ERR_OK)
        code = control_approve(m->control, &caller, request->id, lines, &p, &e);
    if (code == ERR_OK)
        code = execute_if_due(m, &caller, &p, &e);
    answer(code, &p, closure, closure_data, &e);
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

static void serve_submit_component(Posward__Hsm__V1__KeyManagement_Service *service,
                                   const Posward__Hsm__V1__SubmitComponentRequest *request,
                                   Posward__Hsm__V1__Proposal_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    const struct control_caller caller = caller_of(closure_data);
    struct control_component component = {0};
    struct control_proposal p = {0};
    struct err e = {0};
    enum err_code code = check_open(m, &e);
    if (code == ERR_OK)
        code = control_check_caller(&caller, &e);
    if (code == ERR_OK)
        code = check_component(m, request, &component, &e);
    if (code == ERR_OK)
        code = control_submit(m->control, &caller, request->id, &component, &p, &e);
    if (code == ERR_OK)
        code = execute_if_due(m, &caller, &p, &e);
    answer(code, &p, closure, closure_data, &e);
}

static void serve_reject(Posward__Hsm__V1__KeyManagement_Service *service,
                         const Posward__Hsm__V1__RejectRequest *request,
                         Posward__Hsm__V1__Proposal_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    const struct control_caller caller = caller_of(closure_data);
    struct control_proposal p = {0};
    struct err e = {0};
    enum err_code code = check_open(m, &e);
    if (code == ERR_OK)
        code = control_reject(m->control, &caller, request->id, request->reason, &p, &e);
    answer(code, &p, closure, closure_data, &e);
}

/* ---- Reading ---- */

static void serve_get_proposal(Posward__Hsm__V1__KeyManagement_Service *service,
                               const Posward__Hsm__V1__GetProposalRequest *request,
                               Posward__Hsm__V1__Proposal_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    struct control_proposal p = {0};
    struct err e = {0};
    enum err_code code = check_open(m, &e);
    if (code == ERR_OK)
        code = control_get(m->control, request->id, &p, &e);
    answer(code, &p, closure, closure_data, &e);
}

/* Messages of proposals, which are freed; the array ends with NULL. */
static enum err_code messages_of(struct control_proposal *list, size_t count, ProposalMessage ***out_messages,
                                 struct err *e)
{
    ProposalMessage **const messages = calloc(count + 1, sizeof(ProposalMessage *));
    enum err_code code = messages != NULL ? ERR_OK : err_set(e, ERR_LIMIT, "no memory to list proposals");
    for (size_t i = 0; code == ERR_OK && i < count; i++)
        code = manage_message(&list[i], &messages[i], e);
    control_proposals_free(list, count);
    *out_messages = messages;
    return code;
}

static void free_messages(ProposalMessage **messages)
{
    for (size_t i = 0; messages != NULL && messages[i] != NULL; i++)
        manage_message_free(messages[i]);
    free(messages);
}

static void serve_list_proposals(Posward__Hsm__V1__KeyManagement_Service *service,
                                 const Posward__Hsm__V1__ListProposalsRequest *request,
                                 Posward__Hsm__V1__ListProposalsResponse_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    struct control_proposal *list = NULL;
    ProposalMessage **messages = NULL;
    size_t count = 0;
    struct err e = {0};
    enum err_code code = check_open(m, &e);
    if (code == ERR_OK)
        code = control_list(m->control, request->all, &list, &count, &e);
    if (code == ERR_OK)
        code = messages_of(list, count, &messages, &e);
    if (code == ERR_OK) {
        Posward__Hsm__V1__ListProposalsResponse response = POSWARD__HSM__V1__LIST_PROPOSALS_RESPONSE__INIT;
        response.n_proposals = count;
        response.proposals = messages;
        closure(&response, closure_data);
    } else {
        rpc_call_fail(rpc_call_of(closure_data), &e);
    }
    free_messages(messages);
}

static void serve_get_transport_keys(Posward__Hsm__V1__KeyManagement_Service *service,
                                     const Posward__Hsm__V1__GetTransportKeysRequest *request,
                                     Posward__Hsm__V1__GetTransportKeysResponse_Closure closure,
                                     void *closure_data)
{
    struct manage *const m = manage_of(service);
    ControlOutcome *outcome = NULL;
    struct err e = {0};
    bool lost = false;
    Posward__Hsm__V1__KeyOrder order = POSWARD__HSM__V1__KEY_ORDER__INIT;
    Posward__Hsm__V1__ListTransportKeys list = POSWARD__HSM__V1__LIST_TRANSPORT_KEYS__INIT;
    (void)request;
    order.check_only = true;
    order.action_case = POSWARD__HSM__V1__KEY_ORDER__ACTION_TRANSPORT;
    order.transport = &list;
    if (manage_order(m, &order, &outcome, &lost, &e) == ERR_OK) {
        Posward__Hsm__V1__GetTransportKeysResponse response =
            POSWARD__HSM__V1__GET_TRANSPORT_KEYS_RESPONSE__INIT;
        response.n_keys = outcome->n_transport;
        response.keys = outcome->transport;
        closure(&response, closure_data);
        posward__hsm__v1__key_outcome__free_unpacked(outcome, NULL);
    } else {
        rpc_call_fail(rpc_call_of(closure_data), &e);
    }
}

/* ---- One key ---- */

struct key_answer {
    Posward__Hsm__V1__GetKeyResponse response;
    struct control_use uses[CONTROL_USES_MOST];
    Posward__Hsm__V1__KeyUse messages[CONTROL_USES_MOST], *pointers[CONTROL_USES_MOST];
    ProposalMessage **proposals;
};

static void fill_uses(struct key_answer *a, size_t count, ControlKeyName *name)
{
    for (size_t i = 0; i < count; i++) {
        posward__hsm__v1__key_use__init(&a->messages[i]);
        a->messages[i].key = name;
        a->messages[i].count = a->uses[i].count;
        a->messages[i].what = a->uses[i].what;
        a->messages[i].reporter = a->uses[i].reporter;
        a->messages[i].reported_ms = a->uses[i].reported_ms;
        a->pointers[i] = &a->messages[i];
    }
    a->response.n_uses = count;
    a->response.uses = a->pointers;
}

static const ControlKey *find_key(const struct manage_view *v, const ControlKeyName *name)
{
    const ControlKey *const key = control_key_of(&v->view, name);
    for (size_t i = 0; key == NULL && i < v->destroyed_count; i++) {
        const ControlKey *const gone = v->destroyed[i];
        if (strcmp(gone->role, name->role) == 0 && strcmp(gone->suite, name->suite) == 0 &&
            strcmp(gone->zone, name->zone) == 0 && gone->version == name->version)
            return gone;
    }
    return key;
}

static enum err_code fill_key_answer(struct manage *m, const struct manage_view *v, ControlKeyName *name,
                                     struct key_answer *a, struct err *e)
{
    char label[CONTROL_LABEL_BYTES];
    struct control_proposal *list = NULL;
    size_t count = 0;
    control_label(name, label);
    a->response.key = (ControlKey *)(uintptr_t)find_key(v, name);
    if (a->response.key == NULL)
        return err_set(e, ERR_NOT_FOUND, "there is no key %s; posward key list shows them", label);
    TRY(control_uses(m->control, label, CONTROL_USES_MOST, a->uses, &count, e));
    fill_uses(a, count, name);
    TRY(control_about(m->control, label, ABOUT_MOST, &list, &count, e));
    TRY(messages_of(list, count, &a->proposals, e));
    a->response.n_proposals = count;
    a->response.proposals = a->proposals;
    return ERR_OK;
}

static void serve_get_key(Posward__Hsm__V1__KeyManagement_Service *service,
                          const Posward__Hsm__V1__GetKeyRequest *request,
                          Posward__Hsm__V1__GetKeyResponse_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    struct key_answer *const a = calloc(1, sizeof *a);
    struct manage_view v = {0};
    struct err e = {0};
    enum err_code code =
        a != NULL ? check_open(m, &e) : err_set(&e, ERR_LIMIT, "no memory to tell about a key");
    if (code == ERR_OK)
        code = control_check_name(request->key, false, &e);
    if (code == ERR_OK)
        code = manage_look(m, &v, &e);
    if (code == ERR_OK) {
        posward__hsm__v1__get_key_response__init(&a->response);
        code = fill_key_answer(m, &v, request->key, a, &e);
    }
    if (code == ERR_OK)
        closure(&a->response, closure_data);
    else
        rpc_call_fail(rpc_call_of(closure_data), &e);
    if (a != NULL)
        free_messages(a->proposals);
    manage_view_drop(&v);
    free(a);
}

static void serve_list_destroyed_keys(Posward__Hsm__V1__KeyManagement_Service *service,
                                      const Posward__Hsm__V1__ListDestroyedKeysRequest *request,
                                      Posward__Hsm__V1__ListKeysResponse_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    ControlKey **keys = NULL;
    size_t count = 0;
    struct err e = {0};
    (void)request;
    if (check_open(m, &e) == ERR_OK && control_destroyed(m->control, &keys, &count, &e) == ERR_OK) {
        ControlKeys response = POSWARD__HSM__V1__LIST_KEYS_RESPONSE__INIT;
        response.n_keys = count;
        response.keys = keys;
        closure(&response, closure_data);
    } else {
        rpc_call_fail(rpc_call_of(closure_data), &e);
    }
    control_keys_free(keys, count);
}

static void serve_get_policy(Posward__Hsm__V1__KeyManagement_Service *service,
                             const Posward__Hsm__V1__GetPolicyRequest *request,
                             Posward__Hsm__V1__Policy_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    struct err e = {0};
    (void)request;
    if (check_open(m, &e) != ERR_OK) {
        rpc_call_fail(rpc_call_of(closure_data), &e);
        return;
    }
    const struct control_policy policy = control_policy_now(m->control);
    const Posward__Hsm__V1__Policy message = control_policy_message(&policy);
    closure(&message, closure_data);
}

static enum err_code read_uses(const Posward__Hsm__V1__ReportKeyUseRequest *request, struct control_use *uses,
                               struct err *e)
{
    for (size_t i = 0; i < request->n_uses; i++) {
        const Posward__Hsm__V1__KeyUse *const use = request->uses[i];
        if (control_check_name(use->key, false, e) != ERR_OK)
            return err_context(e, "uses[%zu]", i);
        if (use->what[0] == '\0' || strlen(use->what) >= sizeof uses[i].what)
            return err_set(e, ERR_INPUT, "uses[%zu].what has 1 to %zu characters", i,
                           sizeof uses[i].what - 1);
        for (const char *at = use->what; *at != '\0'; at++) /* approvers read it as part of a line */
            if (*at < ' ' || *at > '~')
                return err_set(e, ERR_INPUT, "uses[%zu].what has a character that is not printable ASCII", i);
        control_label(use->key, uses[i].label);
        snprintf(uses[i].what, sizeof uses[i].what, "%s", use->what);
        uses[i].count = use->count;
    }
    return ERR_OK;
}

static void serve_report_key_use(Posward__Hsm__V1__KeyManagement_Service *service,
                                 const Posward__Hsm__V1__ReportKeyUseRequest *request,
                                 Posward__Hsm__V1__ReportKeyUseResponse_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    const struct control_caller caller = caller_of(closure_data);
    struct control_use *const uses = calloc(CONTROL_USES_MOST, sizeof *uses);
    struct err e = {0};
    enum err_code code = uses != NULL ? check_open(m, &e) : err_set(&e, ERR_LIMIT, "no memory for a report");
    if (code == ERR_OK && request->n_uses > CONTROL_USES_MOST)
        code = err_set(&e, ERR_INPUT, "a report has at most %d uses", CONTROL_USES_MOST);
    if (code == ERR_OK)
        code = read_uses(request, uses, &e);
    if (code == ERR_OK)
        code = control_report(m->control, &caller, uses, request->n_uses, &e);
    if (code == ERR_OK) {
        const Posward__Hsm__V1__ReportKeyUseResponse response =
            POSWARD__HSM__V1__REPORT_KEY_USE_RESPONSE__INIT;
        closure(&response, closure_data);
    } else {
        rpc_call_fail(rpc_call_of(closure_data), &e);
    }
    free(uses);
}

/* ---- The thread ---- */

static bool can_work(struct front *f)
{
    pthread_mutex_lock(&f->lock);
    const bool can = f->ready > 0;
    pthread_mutex_unlock(&f->lock);
    return can;
}

static void settle_interrupted(struct manage *m)
{
    const struct control_caller service = {.now_ms = clock_wall_ms()};
    struct control_proposal *list = NULL;
    struct err e = {0};
    size_t count = 0;
    if (!can_work(m->front) || control_executing(m->control, &list, &count, &e) != ERR_OK)
        return;
    for (size_t i = 0; i < count && !atomic_load(&m->stopping); i++)
        if (manage_execute(m, &service, &list[i], &e) != ERR_OK)
            log_failure(LOG_WARN, "a proposal that was agreed on is not carried out yet", &e,
                        LOG_STR("proposal", list[i].id));
    control_proposals_free(list, count);
}

static void *look_after(void *context)
{
    struct manage *const m = context;
    struct err e = {0};
    for (int64_t next_ms = 0; !atomic_load(&m->stopping); clock_sleep_ms(NAP_MS)) {
        if (clock_monotonic_ms() < next_ms)
            continue;
        next_ms = clock_monotonic_ms() + EVERY_MS;
        if (control_expire(m->control, clock_wall_ms(), &e) != ERR_OK)
            log_failure(LOG_WARN, "proposals past their time could not be closed", &e);
        settle_interrupted(m);
    }
    return NULL;
}

/* ---- Start and end ---- */

static enum err_code record(void *context, const struct control_event *event, struct err *e)
{
    const struct manage *const m = context;
    return front_audit_control(m->front->audit, event, e);
}

static struct control_policy configured(const struct hsm_config *c)
{
    return (struct control_policy){
        .in_token = hsm_config_in_token(c),
        .approvals = (uint32_t)c->control_approvals,
        .expires_s = c->control_expire_seconds,
        .pin = {(uint32_t)c->pin_terminal_per_minute, (uint32_t)c->pin_terminal_per_hour,
                (uint32_t)c->pin_account_per_minute, (uint32_t)c->pin_account_per_hour}};
}

static enum err_code open_control(struct manage *m, struct err *e)
{
    const struct hsm_config *const c = m->front->config;
    const struct control_options options = {
        .path = c->control_path, .configured = configured(c), .record = record, .context = m};
    atomic_store(&m->in_token, options.configured.in_token);
    if (c->control_path == NULL || c->control_path[0] == '\0')
        return ERR_OK;
    TRY(control_open(&options, &m->control, e));
    manage_apply_policy(m);
    return ERR_OK;
}

enum err_code manage_new(struct front *f, struct rpc_server *server, struct manage **out_manage,
                         struct err *e)
{
    struct manage *const m = calloc(1, sizeof *m);
    if (m == NULL)
        return err_set(e, ERR_LIMIT, "no memory for key management");
    m->service = (Posward__Hsm__V1__KeyManagement_Service)POSWARD__HSM__V1__KEY_MANAGEMENT__INIT(serve_);
    m->front = f;
    pthread_mutex_init(&m->executing, NULL);
    enum err_code code = open_control(m, e);
    if (code == ERR_OK)
        code = rpc_server_add(server, &m->service.base, e);
    if (code != ERR_OK) {
        manage_free(m);
        return code;
    }
    *out_manage = m;
    return ERR_OK;
}

void manage_granted(struct manage *m, struct roles *roles)
{
    m->roles = roles;
    if (m->control == NULL || m->front->config->service.insecure)
        return;
    const size_t operators = roles_count(roles, ROLE_OPERATOR);
    const uint32_t approvals = control_policy_now(m->control).approvals;
    if (operators < approvals)
        log_event(LOG_ERROR,
                  "fewer identities have role operator than approvals are needed: nobody can complete a "
                  "proposal; add some to roles, send SIGHUP",
                  LOG_INT("operators", (int64_t)operators), LOG_INT("approvals", approvals));
}

enum err_code manage_start(struct manage *m, struct err *e)
{
    if (m->control == NULL)
        return ERR_OK;
    const int failed = pthread_create(&m->thread, NULL, look_after, m);
    if (failed != 0)
        return err_native(e, ERR_IO, failed, "cannot start key management: %s", strerror(failed));
    m->runs = true;
    return ERR_OK;
}

void manage_stop(struct manage *m)
{
    if (m == NULL)
        return;
    atomic_store(&m->stopping, true);
    if (m->runs)
        pthread_join(m->thread, NULL);
    m->runs = false;
}

void manage_free(struct manage *m)
{
    if (m == NULL)
        return;
    manage_stop(m);
    control_close(m->control);
    pthread_mutex_destroy(&m->executing);
    free(m);
}

bool manage_in_token(struct manage *m)
{
    return m != NULL && atomic_load(&m->in_token);
}

void manage_metrics(struct manage *m, struct prometheus *page)
{
    struct control_counts counts;
    struct err e = {0};
    if (m->control == NULL || control_count(m->control, &counts, &e) != ERR_OK)
        return;
    prometheus_family(page, "posward_hsm_proposals", PROMETHEUS_GAUGE,
                      "Proposals of key management, by state.");
    for (int state = CONTROL_PENDING; state < CONTROL_STATE_COUNT; state++) {
        const struct prometheus_label labels[] = {{"state", control_state_name((enum control_state)state)},
                                                  {0}};
        prometheus_count(page, labels, counts.by_state[state]);
    }
    prometheus_family(page, "posward_hsm_proposal_oldest_seconds", PROMETHEUS_GAUGE,
                      "Age of the oldest proposal that waits.");
    const int64_t age_ms = counts.oldest_pending_ms != 0 ? clock_wall_ms() - counts.oldest_pending_ms : 0;
    prometheus_number(page, NULL, (double)age_ms / 1000);
}

/* Calls that read: proposals, keys, the policy - and reports of use, which readers see. */
#include "hsm-service/front/manage_serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ABOUT_MOST 20

/* ---- Proposals ---- */

void manage_serve_get_proposal(Posward__Hsm__V1__KeyManagement_Service *service,
                               const Posward__Hsm__V1__GetProposalRequest *request,
                               Posward__Hsm__V1__Proposal_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    struct control_proposal p = {0};
    struct err e = {0};
    enum err_code code = manage_check_open(m, &e);
    if (code == ERR_OK)
        code = control_get(m->control, request->id, &p, &e);
    manage_answer(code, &p, closure, closure_data, &e);
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

void manage_serve_list_proposals(Posward__Hsm__V1__KeyManagement_Service *service,
                                 const Posward__Hsm__V1__ListProposalsRequest *request,
                                 Posward__Hsm__V1__ListProposalsResponse_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    struct control_proposal *list = NULL;
    ProposalMessage **messages = NULL;
    size_t count = 0;
    struct err e = {0};
    enum err_code code = manage_check_open(m, &e);
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

void manage_serve_get_transport_keys(Posward__Hsm__V1__KeyManagement_Service *service,
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

void manage_serve_get_key(Posward__Hsm__V1__KeyManagement_Service *service,
                          const Posward__Hsm__V1__GetKeyRequest *request,
                          Posward__Hsm__V1__GetKeyResponse_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    struct key_answer *const a = calloc(1, sizeof *a);
    struct manage_view v = {0};
    struct err e = {0};
    enum err_code code =
        a != NULL ? manage_check_open(m, &e) : err_set(&e, ERR_LIMIT, "no memory to tell about a key");
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

void manage_serve_list_destroyed_keys(Posward__Hsm__V1__KeyManagement_Service *service,
                                      const Posward__Hsm__V1__ListDestroyedKeysRequest *request,
                                      Posward__Hsm__V1__ListKeysResponse_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    ControlKey **keys = NULL;
    size_t count = 0;
    struct err e = {0};
    (void)request;
    if (manage_check_open(m, &e) == ERR_OK && control_destroyed(m->control, &keys, &count, &e) == ERR_OK) {
        ControlKeys response = POSWARD__HSM__V1__LIST_KEYS_RESPONSE__INIT;
        response.n_keys = count;
        response.keys = keys;
        closure(&response, closure_data);
    } else {
        rpc_call_fail(rpc_call_of(closure_data), &e);
    }
    control_keys_free(keys, count);
}

void manage_serve_get_policy(Posward__Hsm__V1__KeyManagement_Service *service,
                             const Posward__Hsm__V1__GetPolicyRequest *request,
                             Posward__Hsm__V1__Policy_Closure closure, void *closure_data)
{
    struct manage *const m = manage_of(service);
    struct err e = {0};
    (void)request;
    if (manage_check_open(m, &e) != ERR_OK) {
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

enum err_code manage_report_key_use(struct manage *m, const struct rpc_call *call,
                                    const Posward__Hsm__V1__ReportKeyUseRequest *request, struct err *e)
{
    const struct control_caller caller = manage_caller(call);
    TRY(manage_check_open(m, e));
    if (request->n_uses > CONTROL_USES_MOST)
        return err_set(e, ERR_INPUT, "a report has at most %d uses", CONTROL_USES_MOST);
    struct control_use *const uses = calloc(CONTROL_USES_MOST, sizeof *uses);
    if (uses == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a report");
    enum err_code code = read_uses(request, uses, e);
    if (code == ERR_OK)
        code = control_report(m->control, &caller, uses, request->n_uses, e);
    free(uses);
    return code;
}

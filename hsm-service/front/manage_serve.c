/* What the handlers of key management share. */
#include "hsm-service/front/manage_serve.h"

#include "base/clock.h"

struct manage *manage_of(Posward__Hsm__V1__KeyManagement_Service *service)
{
    return (struct manage *)(void *)service;
}

struct control_caller manage_caller(const struct rpc_call *call)
{
    const struct rpc_peer *const peer = rpc_call_peer(call);
    return (struct control_caller){.identity = peer != NULL ? peer->identity : NULL,
                                   .trace = rpc_call_traceparent(call),
                                   .now_ms = clock_wall_ms()};
}

enum err_code manage_check_open(const struct manage *m, struct err *e)
{
    return m->control != NULL ? ERR_OK
                              : err_set(e, ERR_STATE, "key management is disabled: keymgmt.path is not set");
}

void manage_answer(enum err_code code, struct control_proposal *p, Posward__Hsm__V1__Proposal_Closure closure,
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

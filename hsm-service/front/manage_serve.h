/* Inside manage_*.c only: the handlers of the KeyManagement service (proto keys.proto), and what they share.
 * They run on gRPC's worker threads and may wait for the token. */
#ifndef POSWARD_HSM_SERVICE_FRONT_MANAGE_SERVE_H
#define POSWARD_HSM_SERVICE_FRONT_MANAGE_SERVE_H

#include "hsm-service/front/manage_state.h"
#include "hsm-service/front/state.h"

struct manage *manage_of(Posward__Hsm__V1__KeyManagement_Service *service);
/* Who calls, by the certificate, and when. */
struct control_caller manage_caller(const struct rpc_call *call);
/* ERR_STATE: keymgmt.path is not set. */
enum err_code manage_check_open(const struct manage *m, struct err *e) MUST_CHECK;
/* End the call with the proposal, which is dropped, or with `e` where `code` is none. */
void manage_answer(enum err_code code, struct control_proposal *p, Posward__Hsm__V1__Proposal_Closure closure,
                   void *closure_data, struct err *e);

/* ---- manage_change.c, manage_read.c ---- */

void manage_serve_propose(Posward__Hsm__V1__KeyManagement_Service *service, const ControlRequest *request,
                          Posward__Hsm__V1__Proposal_Closure closure, void *closure_data);
void manage_serve_approve(Posward__Hsm__V1__KeyManagement_Service *service,
                          const Posward__Hsm__V1__ApproveRequest *request,
                          Posward__Hsm__V1__Proposal_Closure closure, void *closure_data);
void manage_serve_submit_component(Posward__Hsm__V1__KeyManagement_Service *service,
                                   const Posward__Hsm__V1__SubmitComponentRequest *request,
                                   Posward__Hsm__V1__Proposal_Closure closure, void *closure_data);
void manage_serve_reject(Posward__Hsm__V1__KeyManagement_Service *service,
                         const Posward__Hsm__V1__RejectRequest *request,
                         Posward__Hsm__V1__Proposal_Closure closure, void *closure_data);
void manage_serve_get_proposal(Posward__Hsm__V1__KeyManagement_Service *service,
                               const Posward__Hsm__V1__GetProposalRequest *request,
                               Posward__Hsm__V1__Proposal_Closure closure, void *closure_data);
void manage_serve_list_proposals(Posward__Hsm__V1__KeyManagement_Service *service,
                                 const Posward__Hsm__V1__ListProposalsRequest *request,
                                 Posward__Hsm__V1__ListProposalsResponse_Closure closure, void *closure_data);
void manage_serve_get_transport_keys(Posward__Hsm__V1__KeyManagement_Service *service,
                                     const Posward__Hsm__V1__GetTransportKeysRequest *request,
                                     Posward__Hsm__V1__GetTransportKeysResponse_Closure closure,
                                     void *closure_data);
void manage_serve_get_key(Posward__Hsm__V1__KeyManagement_Service *service,
                          const Posward__Hsm__V1__GetKeyRequest *request,
                          Posward__Hsm__V1__GetKeyResponse_Closure closure, void *closure_data);
void manage_serve_list_destroyed_keys(Posward__Hsm__V1__KeyManagement_Service *service,
                                      const Posward__Hsm__V1__ListDestroyedKeysRequest *request,
                                      Posward__Hsm__V1__ListKeysResponse_Closure closure, void *closure_data);
void manage_serve_get_policy(Posward__Hsm__V1__KeyManagement_Service *service,
                             const Posward__Hsm__V1__GetPolicyRequest *request,
                             Posward__Hsm__V1__Policy_Closure closure, void *closure_data);

#endif

/* Inside manage_*.c only. */
#ifndef POSWARD_HSM_SERVICE_FRONT_MANAGE_STATE_H
#define POSWARD_HSM_SERVICE_FRONT_MANAGE_STATE_H

#include "hsm-service/control/plan.h"
#include "hsm-service/front/manage.h"

#include <pthread.h>
#include <stdatomic.h>

struct manage {
    Posward__Hsm__V1__KeyManagement_Service service; /* first */
    struct front *front;
    struct roles *roles;       /* NULL: before they were told */
    struct control *control;   /* NULL: keymgmt.path is not set */
    pthread_mutex_t executing; /* one order at a time */
    pthread_t thread;
    bool runs;
    _Atomic bool stopping;
};

/* ---- manage_order.c ---- */

/* Keys of the token as a keeper sees them, and the register of destroyed ones. */
struct manage_view {
    struct control_view view;
    ControlKeys *list;
    ControlKey **destroyed;
    size_t destroyed_count;
};
void manage_view_drop(struct manage_view *view);
enum err_code manage_look(struct manage *m, struct manage_view *out_view, struct err *e) MUST_CHECK;

/* Give an order to a keeper. *out_lost: nobody knows what it did. The outcome is the caller's. */
enum err_code manage_order(struct manage *m, const Posward__Hsm__V1__KeyOrder *order,
                           ControlOutcome **out_outcome, bool *out_lost, struct err *e) MUST_CHECK;
/* What a keeper can say of a request without doing it. *out_outcome NULL: there is nothing to ask. */
enum err_code manage_check(struct manage *m, const ControlRequest *request, ControlOutcome **out_outcome,
                           struct err *e) MUST_CHECK;
/* Carry an EXECUTING proposal out, or find out what became of it; it is replaced by how it stands then. */
enum err_code manage_execute(struct manage *m, const struct control_caller *caller,
                             struct control_proposal *proposal, struct err *e) MUST_CHECK;
/* The policy as it is now, to all who keep to it. */
void manage_apply_policy(struct manage *m);

/* ---- manage_message.c ---- */

typedef Posward__Hsm__V1__Proposal ProposalMessage;
/* A proposal as callers see it; for manage_message_free. ERR_LIMIT no memory. */
enum err_code manage_message(const struct control_proposal *proposal, ProposalMessage **out_message,
                             struct err *e) MUST_CHECK;
void manage_message_free(ProposalMessage *message);

#endif

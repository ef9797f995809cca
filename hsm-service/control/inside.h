/* Inside control/: what its files share. */
#ifndef POSWARD_HSM_SERVICE_CONTROL_INSIDE_H
#define POSWARD_HSM_SERVICE_CONTROL_INSIDE_H

#include "hsm-service/control/control.h"
#include "hsm-service/control/store.h"

#include <pthread.h>

struct control {
    struct control_options options;
    pthread_mutex_t lock; /* what follows */
    struct control_store store;
    struct control_policy changed; /* by operators; zeroed: nothing */
};

/* `step` in a transaction, with the lock held. */
enum err_code control_change(struct control *control, control_step_fn step, void *context,
                             struct err *e) MUST_CHECK;
/* Tell the audit log; inside a transaction. */
enum err_code control_record(struct control *control, const struct control_event *event,
                             struct err *e) MUST_CHECK;
/* `failure` NULL: it was done. */
enum err_code control_record_attempt(struct control *control, const struct control_caller *caller,
                                     const char *what, const struct control_proposal *proposal,
                                     const struct err *failure, struct err *e) MUST_CHECK;
enum err_code control_record_proposal(struct control *control, const struct control_caller *caller,
                                      const char *what, const struct control_proposal *proposal,
                                      struct err *e) MUST_CHECK;
/* The stricter of configuration and policy; lock held. */
struct control_policy control_policy_merged(const struct control *control);

/* outcome.c: inside a transaction. */
enum err_code control_end_proposal(struct control *control, const struct control_caller *caller,
                                   struct control_proposal *proposal, const struct control_end *end,
                                   struct err *e) MUST_CHECK;
/* After the commit: a policy that was agreed is in force. */
void control_adopt_policy(struct control *control, const struct control_proposal *proposal);

#endif

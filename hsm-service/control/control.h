/* Dual control: proposals, who may agree to them, the policy, who uses which key. No gRPC and no token here:
 * the front asks, and does what is agreed.
 *
 * Each change is one transaction, which is on the disk when the function returns ERR_OK. Inside it, last
 * before the commit, `record` is told: what cannot be recorded does not happen. Any thread; calls are
 * serialised. */
#ifndef POSWARD_HSM_SERVICE_CONTROL_CONTROL_H
#define POSWARD_HSM_SERVICE_CONTROL_CONTROL_H

#include "hsm-service/control/policy.h"
#include "hsm-service/control/proposal.h"

struct control;

/* One line of the audit log. */
struct control_event {
    const char *what;  /* "propose", "approve", "component", "reject", "expire", "execute", "policy" */
    const char *who;   /* identity; "service" */
    const char *label; /* of the key; "policy" */
    const char *grade; /* "" where nothing was done in the token */
    const struct err *failure; /* NULL: none */
    const char *note;          /* "id=... rotate psam-master/tdes to version 2" */
    const char *trace;         /* traceparent; "" */
};
typedef enum err_code (*control_record_fn)(void *context, const struct control_event *event, struct err *e);

struct control_options {
    const char *path;
    struct control_policy configured; /* the outer bound */
    control_record_fn record;         /* NULL: nobody is told */
    void *context;
};

/* As control_store_open. `options` is copied. */
enum err_code control_open(const struct control_options *options, struct control **out_control,
                           struct err *e) MUST_CHECK;
/* Accepts NULL. */
void control_close(struct control *control);

/* Who acts, and when. */
struct control_caller {
    const char *identity; /* NULL or "": nobody who proved it, which changes refuse: ERR_STATE */
    const char *trace;
    int64_t now_ms; /* Unix */
};

/* ERR_STATE: nobody can be told from anybody. ERR_INPUT: an identity that is too long. */
enum err_code control_check_caller(const struct control_caller *caller, struct err *e) MUST_CHECK;

/* A proposal from `draft`: request, label, summary, would_break and outcome (which it takes, also when it
 * fails), as plan.h makes them. ERR_INPUT the reason; ERR_EXISTS the key has an open proposal (names it);
 * ERR_LIMIT too many wait. */
enum err_code control_propose(struct control *control, const struct control_caller *caller,
                              struct control_proposal *draft, struct control_proposal *out_proposal,
                              struct err *e) MUST_CHECK;
/* One approval more; complete, the proposal is EXECUTING: carry it out, then control_finish. `would_break`
 * replaces the list. ERR_DENIED own or second approval; ERR_STATE it waits for none, or expired. */
enum err_code control_approve(struct control *control, const struct control_caller *caller, const char *id,
                              const char *would_break, struct control_proposal *out_proposal,
                              struct err *e) MUST_CHECK;
/* The same for a component. ERR_DENIED a second one by the same identity. `component` has ciphertext, len,
 * kcv. */
enum err_code control_submit(struct control *control, const struct control_caller *caller, const char *id,
                             const struct control_component *component, struct control_proposal *out_proposal,
                             struct err *e) MUST_CHECK;
enum err_code control_reject(struct control *control, const struct control_caller *caller, const char *id,
                             const char *reason, struct control_proposal *out_proposal,
                             struct err *e) MUST_CHECK;

/* How an EXECUTING proposal ended. */
struct control_end {
    const struct err *failure;     /* NULL: EXECUTED */
    const ControlOutcome *outcome; /* copied; NULL: keeps what there is */
    const char *detail;
};
/* EXECUTED or FAILED; with a policy change, the policy; with a destruction, the register. */
enum err_code control_finish(struct control *control, const struct control_caller *caller, const char *id,
                             const struct control_end *end, struct control_proposal *out_proposal,
                             struct err *e) MUST_CHECK;
/* It stays EXECUTING: one more attempt, and why the last one told nothing. */
enum err_code control_attempt(struct control *control, const char *id, const char *detail,
                              struct control_proposal *out_proposal, struct err *e) MUST_CHECK;
/* Pending ones past their time are EXPIRED. */
enum err_code control_expire(struct control *control, int64_t now_ms, struct err *e) MUST_CHECK;

enum err_code control_get(struct control *control, const char *id, struct control_proposal *out_proposal,
                          struct err *e) MUST_CHECK;
/* Newest first, at most CONTROL_LIST_MOST; `all`: ended ones too. The array is for control_proposals_free. */
enum err_code control_list(struct control *control, bool all, struct control_proposal **out_proposals,
                           size_t *out_count, struct err *e) MUST_CHECK;
/* About one key, newest first, at most `capacity`. */
enum err_code control_about(struct control *control, const char *label, size_t capacity,
                            struct control_proposal **out_proposals, size_t *out_count,
                            struct err *e) MUST_CHECK;
/* What a service that stopped in it has to settle. */
enum err_code control_executing(struct control *control, struct control_proposal **out_proposals,
                                size_t *out_count, struct err *e) MUST_CHECK;
void control_proposals_free(struct control_proposal *proposals, size_t count);

/* The stricter of configuration and policy. */
struct control_policy control_policy_now(struct control *control);
/* Whether the change says something, and something that may be. */
enum err_code control_policy_check(struct control *control, const Posward__Hsm__V1__Policy *change,
                                   struct err *e) MUST_CHECK;

/* M of N: `approvals` (M) counts different identities, the proposer as the first; nobody counts twice. So M
 * identities must have the role operator, of whom one proposes and M - 1 approve. ERR_STATE: the change asks
 * for more than the `operators` (N) that there are. */
enum err_code control_check_operators(const Posward__Hsm__V1__Policy *change, size_t operators,
                                      struct err *e) MUST_CHECK;

/* ---- uses.c: who depends on which key ---- */

#define CONTROL_USES_MOST  512
#define CONTROL_WHAT_BYTES 41
struct control_use {
    char label[CONTROL_LABEL_BYTES], what[CONTROL_WHAT_BYTES], reporter[CONTROL_IDENTITY_BYTES];
    uint64_t count;
    int64_t reported_ms;
};
/* Replace what this reporter told before. `identity` NULL: "anonymous". */
enum err_code control_report(struct control *control, const struct control_caller *caller,
                             const struct control_use *uses, size_t count, struct err *e) MUST_CHECK;
/* Of one key, those that are not 0. */
enum err_code control_uses(struct control *control, const char *label, size_t capacity,
                           struct control_use *out_uses, size_t *out_count, struct err *e) MUST_CHECK;
/* Whether anybody ever reported. */
enum err_code control_is_told(struct control *control, bool *out_told, struct err *e) MUST_CHECK;

/* The register of destroyed keys: for control_keys_free. */
enum err_code control_destroyed(struct control *control, ControlKey ***out_keys, size_t *out_count,
                                struct err *e) MUST_CHECK;
void control_keys_free(ControlKey **keys, size_t count);

struct control_counts {
    uint64_t by_state[CONTROL_STATE_COUNT];
    int64_t oldest_pending_ms; /* 0: none */
};
enum err_code control_count(struct control *control, struct control_counts *out_counts,
                            struct err *e) MUST_CHECK;

#endif

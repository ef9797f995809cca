/* A proposal: what an operator wants done with a key or the policy, who agreed, and what became of it. */
#ifndef POSWARD_HSM_SERVICE_CONTROL_PROPOSAL_H
#define POSWARD_HSM_SERVICE_CONTROL_PROPOSAL_H

#include "base/err.h"
#include "posward/hsm/v1/keys.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define CONTROL_ID_CHARACTERS   12
#define CONTROL_IDENTITY_BYTES  201 /* of a caller, with NUL; a longer identity is refused */
#define CONTROL_LABEL_BYTES     80  /* "zone-pin/bank/tdes/2"; "policy" */
#define CONTROL_SUMMARY_BYTES   200
#define CONTROL_REASON_BYTES    201
#define CONTROL_DETAIL_BYTES    600
#define CONTROL_BREAK_BYTES     4096 /* lines of what would break */
#define CONTROL_APPROVALS_LEAST 2
#define CONTROL_APPROVALS_MOST  8
#define CONTROL_COMPONENTS_MOST 9
#define CONTROL_COMPONENT_BYTES 1024 /* of one, enciphered: RSA of up to 8192 bits */
#define CONTROL_PENDING_MOST    200
#define CONTROL_PENDING_EACH    20 /* of one proposer */
#define CONTROL_ATTEMPTS_MOST   5  /* of an execution whose keeper ended over it */
#define CONTROL_LIST_MOST       200
#define CONTROL_KEY_BLOCK_BYTES 4096 /* characters of a TR-31 block, or bytes of a wrapped key */
#define CONTROL_KCV_BYTES       3

typedef Posward__Hsm__V1__KeyName ControlKeyName;
typedef Posward__Hsm__V1__ProposeRequest ControlRequest;
typedef Posward__Hsm__V1__KeyOutcome ControlOutcome;
typedef Posward__Hsm__V1__ListKeysResponse ControlKeys;
typedef Posward__Hsm__V1__Key ControlKey;

/* The numbers are those of ProposalState. */
enum control_state {
    CONTROL_PENDING = 1,
    CONTROL_EXECUTING,
    CONTROL_EXECUTED,
    CONTROL_FAILED,
    CONTROL_REJECTED,
    CONTROL_EXPIRED,
    CONTROL_STATE_COUNT
};
const char *control_state_name(enum control_state state); /* "pending", ... */

struct control_approval {
    char identity[CONTROL_IDENTITY_BYTES];
    int64_t at_ms;
};

struct control_component {
    char identity[CONTROL_IDENTITY_BYTES];
    uint8_t kcv[CONTROL_KCV_BYTES];
    int64_t at_ms;
    uint8_t ciphertext[CONTROL_COMPONENT_BYTES]; /* none once the proposal is closed */
    size_t len;
};

/* Times are Unix milliseconds. */
struct control_proposal {
    int64_t number; /* in the store */
    char id[CONTROL_ID_CHARACTERS + 1];
    enum control_state state;
    char label[CONTROL_LABEL_BYTES];
    char summary[CONTROL_SUMMARY_BYTES], reason[CONTROL_REASON_BYTES];
    char proposed_by[CONTROL_IDENTITY_BYTES], closed_by[CONTROL_IDENTITY_BYTES];
    int64_t proposed_ms, expires_ms, closed_ms;
    unsigned approvals_needed, attempts;
    char detail[CONTROL_DETAIL_BYTES];
    char would_break[CONTROL_BREAK_BYTES]; /* lines, each ended; "": nothing */
    struct control_approval approvals[CONTROL_APPROVALS_MOST];
    size_t approval_count;
    struct control_component components[CONTROL_COMPONENTS_MOST];
    size_t component_count;
    ControlRequest *request; /* owned; versions are set; once closed, without what is wrapped */
    ControlOutcome *outcome; /* owned; NULL: none yet. Before the execution: the header of what was checked */
};
/* Accepts a zeroed one. */
void control_proposal_drop(struct control_proposal *proposal);

/* How many components the key is to come in; 0: it does not. */
unsigned control_components_wanted(const struct control_proposal *proposal);
/* Nothing is missing: it may be carried out. */
bool control_is_complete(const struct control_proposal *proposal);
/* "1 more approval by an operator other than spiffe://posward/alice; component 2 of 3"; "" when it waits for
 * nobody. */
void control_waits_for(const struct control_proposal *proposal, char *out_text, size_t capacity);

/* Take out of a request what is wrapped: for the record and for readers. */
void control_strip(ControlRequest *request);

#endif

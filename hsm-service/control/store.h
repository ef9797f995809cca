/* Inside control/: the file that holds what dual control must not forget.
 *
 * SQLite, mode 0600, in WAL mode with synchronous=FULL; one process holds it. No clear key or component is
 * ever given to it. One connection: control.c's lock orders its calls. */
#ifndef POSWARD_HSM_SERVICE_CONTROL_STORE_H
#define POSWARD_HSM_SERVICE_CONTROL_STORE_H

#include "hsm-service/control/proposal.h"
#include "run/sqlite.h"

enum control_sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_INSERT_PROPOSAL,
    SQL_UPDATE_PROPOSAL,
    SQL_PROPOSAL_BY_ID,
    SQL_PROPOSALS,
    SQL_PROPOSALS_OF_KEY,
    SQL_PROPOSALS_IN_STATE,
    SQL_OPEN_OF_KEY,
    SQL_COUNT_STATES,
    SQL_COUNT_PENDING_OF,
    SQL_INSERT_APPROVAL,
    SQL_APPROVALS,
    SQL_INSERT_COMPONENT,
    SQL_COMPONENTS,
    SQL_FORGET_COMPONENTS,
    SQL_GET_POLICY,
    SQL_PUT_POLICY,
    SQL_PUT_REPORTER,
    SQL_FORGET_USES,
    SQL_INSERT_USE,
    SQL_USES,
    SQL_REPORTERS,
    SQL_INSERT_DESTROYED,
    SQL_DESTROYED,
    SQL_COUNT_
};

struct control_store {
    struct sqlite_link link;
    int lock_fd; /* -1: none */
};

/* ERR_STATE another process has it, or it is another program's; ERR_IO damaged or out of reach;
 * ERR_UNSUPPORTED a newer release's. The note names the path and what to do. */
enum err_code control_store_open(struct control_store *store, const char *path, struct err *e) MUST_CHECK;
/* Accepts one that did not open. */
void control_store_close(struct control_store *store);

/* A step inside a transaction. */
typedef enum err_code (*control_step_fn)(struct control_store *store, void *context, struct err *e);
/* Run `step` in a transaction, and commit when it succeeds: then it is on the disk. */
enum err_code control_transaction(struct control_store *store, control_step_fn step, void *context,
                                  struct err *e) MUST_CHECK;

enum err_code control_take(struct control_store *store, enum control_sql which, sqlite3_stmt **out_statement,
                           struct err *e) MUST_CHECK;

/* ---- proposals.c; what changes runs inside a transaction ---- */

/* With its first approval; sets number. */
enum err_code control_insert(struct control_store *store, struct control_proposal *proposal,
                             struct err *e) MUST_CHECK;
/* State, detail, would_break, attempts, approvals_needed, outcome, closed_*; a closed one loses what was
 * wrapped and its components' ciphertexts. */
enum err_code control_update(struct control_store *store, struct control_proposal *proposal,
                             struct err *e) MUST_CHECK;
enum err_code control_insert_approval(struct control_store *store, struct control_proposal *proposal,
                                      const struct control_approval *approval, struct err *e) MUST_CHECK;
enum err_code control_insert_component(struct control_store *store, struct control_proposal *proposal,
                                       const struct control_component *component, struct err *e) MUST_CHECK;
/* ERR_NOT_FOUND. */
enum err_code control_find(struct control_store *store, const char *id, struct control_proposal *out_proposal,
                           struct err *e) MUST_CHECK;
/* The rows of a bound statement; *out_proposals is an array for control_proposals_free. */
enum err_code control_collect(struct control_store *store, sqlite3_stmt *statement, size_t capacity,
                              struct control_proposal **out_proposals, size_t *out_count,
                              struct err *e) MUST_CHECK;
/* A number from a statement of one row. */
enum err_code control_number(struct control_store *store, sqlite3_stmt *statement, int64_t *out_number,
                             struct err *e) MUST_CHECK;

#endif

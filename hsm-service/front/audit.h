/* Inside front/ only: what the front writes into the audit log, and calls that wait for it.
 *
 * A call that makes keys is answered after its record is on the disk; while the log cannot be written such
 * calls are refused. Every function takes a NULL audit: there is no log then. */
#ifndef POSWARD_HSM_SERVICE_FRONT_AUDIT_H
#define POSWARD_HSM_SERVICE_FRONT_AUDIT_H

#include "hsm-service/audit/record.h"
#include "hsm-service/config.h"
#include "hsm-service/ipc.h"

struct control_event;
struct front;
struct front_call;
struct front_audit;
struct facts;
struct release;
struct prometheus;

/* *out_audit NULL where audit.path is empty. */
enum err_code front_audit_open(const struct hsm_config *config, struct front_audit **out_audit,
                               struct err *e) MUST_CHECK;
/* Write what waits, and end. */
void front_audit_close(struct front_audit *audit);

/* Any thread, any mutex. `failure` NULL: result OK. */
void front_audit_event(struct front_audit *audit, enum audit_kind kind, const char *what,
                       const struct err *failure, const char *note);
/* Bring a record to the disk. ERR_UNAVAILABLE: the log cannot be written. May wait for the disk; any thread.
 */
enum err_code front_audit_write(struct front_audit *audit, const struct audit_record *record,
                                struct err *e) MUST_CHECK;
/* The trace id of a traceparent. */
void front_audit_trace(struct audit_record *record, const char *traceparent);
/* The same for what dual control tells (audit_control.c). */
enum err_code front_audit_control(struct front_audit *audit, const struct control_event *event,
                                  struct err *e) MUST_CHECK;
/* A refusal that may come in any number: the first of a caller, path, `about` (what else tells refusals
 * apart; may be NULL) and class has a record at once; those that follow within a minute are counted, and have
 * one record together ("and 4,812 more in 60 s"), at the latest at the stop. Any thread. */
void front_audit_refused_joined(struct front_audit *audit, const struct rpc_call *call, const char *path,
                                const char *about, const struct err *e);
/* The same for a call, or items of it, that was refused when its request had been read. Any thread. */
void front_audit_refusal(struct front_audit *audit, const struct ipc_frame *request, const struct err *e);
/* ERR_UNAVAILABLE: the log cannot be written, and the call makes keys or is a use of a class of which each
 * one is recorded. Any thread. */
enum err_code front_audit_admit(struct front_audit *audit, const struct facts *facts,
                                struct err *e) MUST_CHECK;
/* A call is over. True: the answer is taken over, to be given when the record is on the disk. Mutex not held.
 */
bool front_audit_answer(struct front_audit *audit, struct front_call *call, const struct release *release);

/* ---- Loop thread ---- */

/* Ask a keeper that became ready which keys it has. Mutex held. */
void front_audit_keeper_ready(struct front *f, size_t slot);
/* Have a checkpoint signed when it is time. Mutex held. */
void front_audit_tick(struct front *f, int64_t now_ms);

/* Sign the end of the log, if a keeper can: at the stop, while the loop still runs. Mutex not held. */
void front_audit_finish(struct front *f);
void front_audit_metrics(struct front_audit *audit, struct prometheus *page);

#endif

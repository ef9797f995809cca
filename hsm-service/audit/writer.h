/* A thread that brings records to the disk in groups: who posts does not wait for the disk.
 *
 * When the log cannot be written, the writer says so (audit_writer_healthy) and tries again until it can;
 * records wait meanwhile, up to AUDIT_QUEUE_MOST; those beyond are counted and a record of kind lost tells
 * how many. */
#ifndef POSWARD_HSM_SERVICE_AUDIT_WRITER_H
#define POSWARD_HSM_SERVICE_AUDIT_WRITER_H

#include "hsm-service/audit/store.h"

#include <stdbool.h>

#define AUDIT_QUEUE_MOST 4096

struct audit_writer;

/* Called once for a record that was posted with it, on the writer's thread: the record is on the disk, or the
 * log cannot be written now (the record itself may still follow). */
typedef void (*audit_done_fn)(void *context, bool on_disk);

/* Takes `store`, also when it fails. */
enum err_code audit_writer_start(struct audit_store *store, struct audit_writer **out_writer,
                                 struct err *e) MUST_CHECK;
/* Write what waits, if it can be written, and end. Accepts NULL. */
void audit_writer_stop(struct audit_writer *writer);
/* Any thread. `record` is copied; `done` may be NULL. */
void audit_writer_post(struct audit_writer *writer, const struct audit_record *record, audit_done_fn done,
                       void *context);
/* Wait until all that was posted so far was tried, at most so long. */
void audit_writer_flush(struct audit_writer *writer, int64_t timeout_ms);
bool audit_writer_healthy(struct audit_writer *writer);

struct audit_counts {
    struct audit_head head; /* on the disk */
    uint64_t files;         /* that this process began or went on with */
    uint64_t waiting, written, failures, lost, checkpoints;
    uint64_t unsigned_records; /* written since what the last checkpoint signs, and not checkpoints */
    int64_t waiting_ms;        /* how long the oldest one waits; 0: none does */
    int64_t unsigned_ms;       /* how long the oldest one is there unsigned; 0: all are signed */
};
struct audit_counts audit_writer_counts(struct audit_writer *writer);

#endif

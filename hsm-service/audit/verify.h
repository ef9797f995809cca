/* Verify an audit log offline: files, and the public key that signs its checkpoints. */
#ifndef POSWARD_HSM_SERVICE_AUDIT_VERIFY_H
#define POSWARD_HSM_SERVICE_AUDIT_VERIFY_H

#include "hsm-service/audit/signature.h"

#include <stdbool.h>

struct audit_verify_options {
    char *const *paths; /* files in their order; a folder stands for its files */
    size_t path_count;
    const struct audit_key *key; /* NULL: signatures are not checked */
    uint64_t expect_seq;         /* 0: any; the log must reach this record */
    const uint8_t *expect_hash;  /* NULL: any; of that record */
    bool partial;                /* the first file may start after record 1 */
    /* Each record that is in its place; NULL: none. Stops at what it returns other than ERR_OK. */
    enum err_code (*each)(void *context, const struct audit_record *record, struct err *e);
    void (*progress)(void *context, uint64_t done_bytes, uint64_t all_bytes); /* NULL: none */
    void *context;
};
struct audit_summary {
    struct audit_head head;
    uint64_t first_seq, signed_seq; /* signed_seq 0: no signature */
    uint64_t records, files, checkpoints, torn, lost;
    int64_t first_ms, last_ms;
};
/* ERR_CHECK: the note names the first record that was changed, dropped or reordered, or where the log was
 * cut. */
enum err_code audit_verify(const struct audit_verify_options *options, struct audit_summary *out_summary,
                           struct err *e) MUST_CHECK;

#endif

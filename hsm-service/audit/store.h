/* The files of an audit log: audit-<first seq>.log in one folder, append-only, one after the other.
 *
 * The chain runs through all of them. Several processes may append (the service, and ceremonies beside it):
 * each append is under the folder's lock, after reading what others appended. Only the service rotates. A
 * line that was cut when its writer was killed is closed by a record of kind torn. One thread. */
#ifndef POSWARD_HSM_SERVICE_AUDIT_STORE_H
#define POSWARD_HSM_SERVICE_AUDIT_STORE_H

#include "hsm-service/audit/record.h"

#define AUDIT_BATCH_MOST 256 /* records of one append */
#define AUDIT_FILES_MOST 1000000
#define AUDIT_KEY_FILE   "audit-public-key.pem" /* in the folder */
#define AUDIT_NAME_BYTES 40

struct audit_store;

struct audit_store_options {
    const char *dir;      /* made when it is missing */
    int64_t rotate_bytes; /* 0: never; that is for who is not the service */
};
/* Open the folder and check its newest file. ERR_CHECK: that file was changed, see `posward audit verify`;
 * ERR_STATE: another service writes there, and goes on for 10 s: one that is just ending is waited for. */
enum err_code audit_store_open(const struct audit_store_options *options, struct audit_store **out_store,
                               struct err *e) MUST_CHECK;
void audit_store_close(struct audit_store *store); /* accepts NULL */
/* Append and bring to the disk, all or none; then *out_head is the last one. On failure what was written is
 * taken back, or closed off by the next append. */
enum err_code audit_store_append(struct audit_store *store, const struct audit_record *records, size_t count,
                                 struct audit_head *out_head, struct err *e) MUST_CHECK;
/* The last record on the disk as far as this process knows. */
struct audit_head audit_store_head(const struct audit_store *store);
/* How many files this process wrote to: it grows with each rotation. */
uint64_t audit_store_files(const struct audit_store *store);
const char *audit_store_dir(const struct audit_store *store);

/* The files of a folder, oldest first: names to be freed one by one and the list. */
enum err_code audit_store_list(const char *dir, char ***out_names, size_t *out_count,
                               struct err *e) MUST_CHECK;

#endif

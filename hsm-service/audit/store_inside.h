/* Inside the files of audit_store only: store.c has the locks and appends, store_files.c reads what is there.
 */
#ifndef POSWARD_HSM_SERVICE_AUDIT_STORE_INSIDE_H
#define POSWARD_HSM_SERVICE_AUDIT_STORE_INSIDE_H

#include "hsm-service/audit/chain.h"
#include "hsm-service/audit/store.h"

#include <stdbool.h>
#include <sys/types.h>

struct audit_store {
    char dir[512], name[AUDIT_NAME_BYTES];
    int lock_fd, service_fd, dir_fd, fd; /* -1: none */
    int64_t rotate_bytes;
    off_t size;          /* of the file's sound part: what is known of it */
    bool end_missing;    /* the last record is whole but for its line's end */
    size_t fragment_len; /* of a cut line after it */
    uint8_t fragment_hash[AUDIT_HASH_BYTES];
    struct audit_head head;
    uint64_t files;
    char *buffer;
};

/* All with the folder's lock held. */

/* Make the newest file the one to append to, and read it; `only_if_other`: unless it is already. */
enum err_code audit_store_open_newest(struct audit_store *s, bool only_if_other, struct err *e) MUST_CHECK;
/* Read what was appended after s->size. `started`: s->head is the record before; else the file's first one
 * says where the chain stands. */
enum err_code audit_store_catch_up(struct audit_store *s, bool started, struct err *e) MUST_CHECK;
/* Go on in a new file. */
enum err_code audit_store_new_file(struct audit_store *s, struct err *e) MUST_CHECK;

#endif

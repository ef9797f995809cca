/* Lines of an audit log in their order: does each follow the one before? */
#ifndef POSWARD_HSM_SERVICE_AUDIT_CHAIN_H
#define POSWARD_HSM_SERVICE_AUDIT_CHAIN_H

#include "hsm-service/audit/record.h"

#include <stdbool.h>

/* A line that is no record, which the next may own up to: the service was killed while it wrote. */
struct audit_fragment {
    bool open;
    size_t len;
    uint8_t hash[AUDIT_HASH_BYTES];
    uint64_t line; /* number of the line, for who tells about it */
    struct err why;
};

struct audit_chain {
    struct audit_head head;
    bool started;      /* false: the first record's seq and prev are taken as they are */
    uint64_t lines;    /* so far */
    uint64_t torn;     /* fragments that were owned up to */
    uint64_t wanted;   /* after a failure: the record that should have stood there */
    bool out_of_order; /* after a failure: the line is a sound record, but not that one */
    struct audit_fragment fragment;
};

/* The next line, without its end. ERR_CHECK names the first record that was changed or is out of its place.
 * *out_is_record: false for a fragment, which is not judged before the next line. */
enum err_code audit_chain_take(struct audit_chain *chain, const char *line, size_t len,
                               struct audit_record *out_record, bool *out_is_record,
                               struct err *e) MUST_CHECK;
/* No more lines: a fragment is nobody's. */
enum err_code audit_chain_end(const struct audit_chain *chain, struct err *e) MUST_CHECK;
/* The note of the record that closes a fragment: "bytes=N sha256=HEX". */
void audit_torn_note(size_t len, const uint8_t hash[AUDIT_HASH_BYTES], char out_note[AUDIT_TEXT_BYTES]);

#endif

/* Inside the files of front_audit only: audit.c has the log, audit_use.c the calls that keepers answered. */
#ifndef POSWARD_HSM_SERVICE_FRONT_AUDIT_INSIDE_H
#define POSWARD_HSM_SERVICE_FRONT_AUDIT_INSIDE_H

#include "base/repeats.h"
#include "hsm-service/audit/signature.h"
#include "hsm-service/audit/writer.h"
#include "hsm-service/front/audit.h"
#include "hsm-service/front/audit_keys.h"

#include <stdatomic.h>

#define NOT_WRITTEN                                                                                          \
    "the audit log cannot be written; operations that make keys, and uses that audit.use wants on record "   \
    "one "                                                                                                   \
    "by one, are refused until it can: look at the disk of audit.path"

/* How uses of one class are recorded. */
struct use_policy {
    unsigned facts_class;
    bool all, sampled;
    _Atomic uint64_t uses;
};
#define USE_CLASSES 3

struct front_audit {
    const struct hsm_config *config;
    struct audit_writer *writer;
    struct repeats *refusals;
    struct use_policy uses[USE_CLASSES];
    _Atomic bool force; /* a checkpoint is wanted now */
    atomic_bool can_sign; /* the loop thread's; the stop reads it */
    /* The loop thread's: */
    bool signing, has_key;
    struct audit_head signing_head;
    int64_t signed_ms;
    uint64_t files_seen;
    struct audit_key key;
    struct audit_keys keys;
};

void front_audit_set_uses(struct front_audit *audit);
bool front_audit_is_refusal(enum err_code code);

struct audit_caller {
    const char *identity;
    size_t identity_len;
    const char *traceparent;
    size_t traceparent_len;
};
/* time, who and trace. */
void front_audit_fill(struct audit_record *record, const struct audit_caller *caller);

#endif

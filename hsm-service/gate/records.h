/* What an audit record says of an operation, from its facts and what came of it. */
#ifndef POSWARD_HSM_SERVICE_GATE_RECORDS_H
#define POSWARD_HSM_SERVICE_GATE_RECORDS_H

#include "hsm-service/audit/record.h"
#include "hsm-service/gate/facts.h"

/* kind, what, key, grade and note; the rest is the caller's. */
struct audit_record records_of(const struct facts_operation *operation, const struct facts_outcome *outcome);

#endif

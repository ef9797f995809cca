/* What records of calls have in common. */
#include "base/clock.h"
#include "hsm-service/front/audit_inside.h"

#include <stdio.h>
#include <string.h>

#define TRACE_FROM 3 /* of "00-TRACEID-SPANID-FLAGS" */
#define TRACE_LEN  32

void front_audit_fill(struct audit_record *r, const struct audit_caller *caller)
{
    r->time_ms = clock_wall_ms();
    if (caller->identity_len > 0)
        audit_text(caller->identity, caller->identity_len, r->who, sizeof r->who);
    else
        snprintf(r->who, sizeof r->who, "anonymous");
    if (caller->traceparent_len >= TRACE_FROM + TRACE_LEN)
        audit_text(caller->traceparent + TRACE_FROM, TRACE_LEN, r->trace, sizeof r->trace);
}

void front_audit_trace(struct audit_record *r, const char *traceparent)
{
    if (strlen(traceparent) >= TRACE_FROM + TRACE_LEN)
        audit_text(traceparent + TRACE_FROM, TRACE_LEN, r->trace, sizeof r->trace);
}

bool front_audit_is_refusal(enum err_code code)
{
    return code == ERR_DENIED || code == ERR_UNAUTHENTICATED || code == ERR_LIMIT;
}

#include "rpc/core_log.h"

#include "base/log.h"

#include <grpc/support/log.h>
#include <stdatomic.h>
#include <string.h>

#define ACCEPT_FAILURE "Failed accept4"

static atomic_uint_fast64_t accept_failures; /* core's log is one for the process */

static void forward(gpr_log_func_args *record)
{
    /* Core calls an error what is often a peer's doing; whoever calls us gets our own error for it. */
    const enum log_level level = record->severity == GPR_LOG_SEVERITY_ERROR ? LOG_WARN : LOG_DEBUG;
    if (strncmp(record->message, ACCEPT_FAILURE, sizeof ACCEPT_FAILURE - 1) == 0)
        atomic_fetch_add(&accept_failures, 1);
    const char *file = strrchr(record->file, '/');
    log_event(level, "grpc core", LOG_STR("text", record->message),
              LOG_STR("file", file != NULL ? file + 1 : record->file), LOG_INT("line", record->line));
}

void core_log_to_ours(void)
{
    gpr_set_log_function(forward);
    /* Whatever GRPC_VERBOSITY says: a listener that is lost must be heard of. */
    if (!gpr_should_log(GPR_LOG_SEVERITY_ERROR))
        gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
}

uint64_t core_log_accept_failures(void)
{
    return atomic_load(&accept_failures);
}

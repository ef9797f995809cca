#include "rpc/core_log.h"

#include "base/log.h"

#include <grpc/support/log.h>
#include <string.h>

static void forward(gpr_log_func_args *record)
{
    /* Core calls an error what is often a peer's doing; whoever calls us gets our own error for it. */
    const enum log_level level = record->severity == GPR_LOG_SEVERITY_ERROR ? LOG_WARN : LOG_DEBUG;
    const char *file = strrchr(record->file, '/');
    log_event(level, "grpc core", LOG_STR("text", record->message),
              LOG_STR("file", file != NULL ? file + 1 : record->file), LOG_INT("line", record->line));
}

void core_log_to_ours(void)
{
    gpr_set_log_function(forward);
}

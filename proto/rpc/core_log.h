/* gRPC core's own log lines as records of base/log.h, so that a JSON log stays JSON. Private to rpc. */
#ifndef POSWARD_RPC_CORE_LOG_H
#define POSWARD_RPC_CORE_LOG_H

#include <stdint.h>

/* Before each grpc_init; again does no harm. */
void core_log_to_ours(void);

/* How often core, in this process, stopped accepting connections: after one failure of accept, such as for
 * want of descriptors, 1.51 takes its listener out of use for good and says so in its log only. */
uint64_t core_log_accept_failures(void);

#endif

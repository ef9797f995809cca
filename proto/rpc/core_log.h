/* gRPC core's own log lines as records of base/log.h, so that a JSON log stays JSON. Private to rpc. */
#ifndef POSWARD_RPC_CORE_LOG_H
#define POSWARD_RPC_CORE_LOG_H

/* Before each grpc_init; again does no harm. */
void core_log_to_ours(void);

#endif

/* enum err_code <-> gRPC status codes: the one place where they are mapped. */
#ifndef POSWARD_RPC_STATUS_H
#define POSWARD_RPC_STATUS_H

#include "base/err.h"

/* gRPC status number (0-16) for a class. */
int rpc_status_of(enum err_code code);
/* Class for a status number; ERR_INTERNAL for one we do not know. */
enum err_code rpc_status_class(int status);
/* "INVALID_ARGUMENT", ...; "UNKNOWN" for a number out of range. */
const char *rpc_status_name(int status);

#endif

/* The gRPC service posward.posv.v1.Registry over the store and the change feed. */
#ifndef POSWARD_POSV_REGISTRY_H
#define POSWARD_POSV_REGISTRY_H

#include "posv/changes.h"
#include "posv/store.h"

#include <protobuf-c/protobuf-c.h>

struct registry;

/* `store` and `changes` are borrowed. */
enum err_code registry_new(struct store *store, struct changes *changes, struct registry **out_registry,
                           struct err *e) MUST_CHECK;
/* For rpc_server_add; lives as long as the registry. */
ProtobufCService *registry_service(struct registry *r);
/* After the server is down. Accepts NULL. */
void registry_free(struct registry *r);

#endif

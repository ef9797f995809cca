/* What descriptor sets say: stream markers of methods, files by name and by symbol. For rpc and the command
 * line. Read-only after init, so any thread may ask. */
#ifndef POSWARD_RPC_INDEX_H
#define POSWARD_RPC_INDEX_H

#include "base/err.h"
#include "google/protobuf/descriptor.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define INDEX_SETS 2

struct rpc_index {
    Google__Protobuf__FileDescriptorSet *sets[INDEX_SETS];
    size_t set_count;
};

struct rpc_stream_markers {
    bool client, server;
};

/* Posward's own set, and `extra` (may be NULL). ERR_INPUT when a set does not parse. */
enum err_code rpc_index_init(struct rpc_index *index, const uint8_t *extra, size_t extra_len,
                             struct err *e) MUST_CHECK;
void rpc_index_drop(struct rpc_index *index);

/* ERR_NOT_FOUND when no set has "package.Service" or the method in it. */
enum err_code rpc_index_markers(const struct rpc_index *index, const char *service, const char *method,
                                struct rpc_stream_markers *out_markers, struct err *e) MUST_CHECK;
/* NULL when there is none. */
const Google__Protobuf__FileDescriptorProto *rpc_index_file(const struct rpc_index *index, const char *name);
/* The file that defines a service, method, message, enum, field or enum value by its full name; NULL: none.
 */
const Google__Protobuf__FileDescriptorProto *rpc_index_file_of(const struct rpc_index *index,
                                                               const char *symbol);
/* Whether it is the full name of a message. */
bool rpc_index_is_message(const struct rpc_index *index, const char *full_name);

#endif

/* A channel's connection, made anew when its certificates changed, or when it seems to be dead. Private to
 * rpc.
 *
 * New calls use the new connection; those under way, streams too, end on the one that they began on, which
 * then closes. */
#ifndef POSWARD_RPC_LINK_H
#define POSWARD_RPC_LINK_H

#include "rpc/client.h"
#include "rpc/pem.h"

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

#define RPC_LINK_LOOK_MS  1000 /* how often the files are looked at, when there are calls */
#define RPC_LINK_TRIAL_MS 1000 /* a connection is not replaced for its silence earlier */

struct rpc_link;

struct rpc_links {
    char *target;
    struct rpc_tls tls;
    bool foreign;
    size_t max_message_bytes;
    pthread_mutex_t lock; /* what follows */
    struct rpc_link *current;
    struct pem_watch watch;
    int64_t looked_ms;
};

enum err_code rpc_links_init(struct rpc_links *links, const struct rpc_channel_options *options,
                             struct err *e) MUST_CHECK;
/* After the last call. */
void rpc_links_drop(struct rpc_links *links);
/* The connection for one call, until rpc_link_leave. Any thread. */
struct rpc_link *rpc_links_enter(struct rpc_links *links);
grpc_channel *rpc_link_core(const struct rpc_link *link);
void rpc_link_leave(struct rpc_link *link);
/* The peer has said something on it. */
void rpc_link_heard(struct rpc_link *link);
/* A call that was begun on it at `begun_ms` (monotonic) is over. When that is for its deadline, and no call
 * on the link had an answer since, new calls use a new connection: the link may be dead, and core does not
 * know yet. Others on it go on, so that nothing is lost where only one handler was slow; where other calls
 * are answered it is known to live, and stays. The caller still holds `link`. Any thread. */
void rpc_links_ended(struct rpc_links *links, struct rpc_link *link, int64_t begun_ms,
                     grpc_status_code status);

#endif

/* The connections of a server: gRPC core 1.51 has no cap for them, no call to close one, and does not say
 * what they do. The kernel does. Private to rpc.
 *
 * Looked at every RPC_SWEEP_TICK_MS, by a thread of its own, as a flood keeps the I/O threads busy:
 *   - Over the limit connections are closed: first those on which no call was admitted yet; callers have at
 *     most three quarters of the limit together, and who has most of them loses first.
 *   - Floods: what comes in on a connection is explained by its requests. One that receives much that is not,
 *     such as calls that are reset at once or never get a request, heads without an end, pings, settings, is
 *     closed. Whatever kind of frame it is, gRPC would work on it before the calls of others.
 *   - A connection is closed whose peer may not connect any more. */
#ifndef POSWARD_RPC_CONNECTIONS_H
#define POSWARD_RPC_CONNECTIONS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Explained by each request, besides its own bytes: head, frames, TLS records. */
#define RPC_EXPLAINED_BYTES 1024
/* Forgiven at each look; at one where no more came than that, half of the rest is too. */
#define RPC_FORGIVEN_BYTES 16384
/* Not explained, in messages of the largest size, and besides as much as was explained of late: requests of
 * which a part is here. */
#define RPC_UNEXPLAINED_MESSAGES 2

struct rpc_connection; /* what is remembered of one */

struct rpc_connections {
    size_t limit;
    int64_t unexplained_max;             /* bytes */
    atomic_size_t open;                  /* at the last look */
    atomic_uint_fast64_t over, flooding; /* closed so far */

    pthread_mutex_t lock;         /* what follows */
    struct rpc_connection *items; /* by address, open addressing */
    size_t capacity, count;       /* a power of 2 */
};

struct rpc_call;
struct rpc_server;

/* `limit` and `unexplained_max` are set. False: out of memory. */
bool rpc_connections_init(struct rpc_connections *connections);
/* Accepts a zeroed one. */
void rpc_connections_drop(struct rpc_connections *connections);
/* A request of so many bytes came in, of a call that was admitted. Any thread, like the next one. */
void rpc_connections_explain(struct rpc_server *server, const struct rpc_call *call, size_t bytes);
/* Its peer may not connect any more: close it, but not before the call under way is answered. */
void rpc_connections_refuse(struct rpc_server *server, const struct rpc_call *call);
/* Look, and close what is too much. One thread. */
void rpc_connections_sweep(struct rpc_server *server);

#endif

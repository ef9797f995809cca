/* The connections of a server: gRPC core 1.51 has no cap for them, no call to close one, and does not say
 * what they do. The kernel does. Private to rpc.
 *
 * Looked at every RPC_SWEEP_TICK_MS, by a thread of its own, as a flood keeps the I/O threads busy:
 *   - Over the limit connections are closed: first those on which no call was admitted yet; callers have at
 *     most three quarters of the limit together, and who has most of them loses first.
 *   - Floods: what comes in on a connection is explained by its requests. One that receives much that is not,
 *     such as calls that are reset at once or never get a request, heads without an end, pings, settings, is
 *     closed. Whatever kind of frame it is, gRPC would work on it before the calls of others.
 *     An identity whose connection was closed for it makes no new one for RPC_FLOOD_PENALTY_MS.
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

/* Not explained, on a connection on which no call was admitted yet. */
#define RPC_UNPROVEN_BYTES   (128 * 1024)
#define RPC_FLOOD_PENALTY_MS 5000
#define RPC_PENALTIES        64 /* at a time; of more, the oldest ends */

struct rpc_penalty {
    uint64_t identity; /* a hash; 0: none */
    int64_t until_ms;
};

struct rpc_connection; /* what is remembered of one */

struct rpc_connections {
    size_t limit;
    int64_t unexplained_max; /* bytes */
    int waiting_max;    /* calls between two looks whose requests have not come; with more it is a flood */
    atomic_size_t open; /* at the last look */
    atomic_uint_fast64_t over, flooding; /* closed so far */

    pthread_mutex_t lock;         /* what follows */
    struct rpc_connection *items; /* by address, open addressing */
    size_t capacity, count;       /* a power of 2 */
    struct rpc_penalty penalties[RPC_PENALTIES];
    size_t penalty_count; /* ever */
};

struct rpc_call;
struct rpc_server;

/* `limit` and the two _max are set. False: out of memory. */
bool rpc_connections_init(struct rpc_connections *connections);
/* Accepts a zeroed one. */
void rpc_connections_drop(struct rpc_connections *connections);
/* A call that may come in has opened; its request is to come. True: with it too many wait, and the
 * connections are to be looked at now. Any thread, like the next two. */
bool rpc_connections_open(struct rpc_server *server, const struct rpc_call *call);
/* A request of so many bytes came in, of a call that was admitted. */
void rpc_connections_explain(struct rpc_server *server, const struct rpc_call *call, size_t bytes);
/* Its peer may not connect any more: close it, but not before the call under way is answered. */
void rpc_connections_refuse(struct rpc_server *server, const struct rpc_call *call);
/* Whether this identity's connection was closed for a flood a short time ago; `identity`
 * may be NULL. Any thread. */
bool rpc_connections_punished(struct rpc_connections *connections, const char *identity);
/* Look, and close what is too much. One thread. */
void rpc_connections_sweep(struct rpc_server *server);

#endif

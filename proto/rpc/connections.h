/* The connections of a server: gRPC core 1.51 has no cap for them, no call to close one, and does not say
 * which there are. The kernel does. Private to rpc.
 *
 * Every RPC_SWEEP_TICK_MS: connections over the limit are closed, those first on which no call was admitted
 * yet; callers have at most three quarters of the limit together, and who has most loses first. A connection
 * whose calls are reset as soon as they are opened, again and again, is closed too. */
#ifndef POSWARD_RPC_CONNECTIONS_H
#define POSWARD_RPC_CONNECTIONS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_CONNECTION_ENTRIES 4096  /* a power of 2 */
#define RPC_RESETS_MAX         250   /* of one connection in a tick */
#define RPC_RESET_AT_ONCE_US   50000 /* a call that ends sooner by its client's will counts as reset */

/* What is known of the connection whose address hashes here; a collision forgets the other one, which is then
 * as one without a call. */
struct rpc_connection_entry {
    atomic_uint_fast64_t address, identity; /* hashes; address 0: none */
    atomic_bool unwelcome;
    atomic_uint_fast32_t resets; /* in this tick */
};

struct rpc_connections {
    size_t limit;
    struct rpc_connection_entry *entries;
    atomic_size_t open;                 /* at the last look */
    atomic_uint_fast64_t over, flooded; /* closed so far: over the limit, for resets */
};

struct rpc_call;
struct rpc_server;

/* A call of this connection was admitted. Any thread. */
void rpc_connections_prove(struct rpc_server *server, const struct rpc_call *call);
/* Its peer may not connect any more: close it, but not before the call under way is answered. Any thread. */
void rpc_connections_refuse(struct rpc_server *server, const struct rpc_call *call);
/* Its client took a call back. Any thread. */
void rpc_connections_count_reset(struct rpc_server *server, const struct rpc_call *call);
/* Look, and close what is too much. One thread at a time. */
void rpc_connections_sweep(struct rpc_server *server);

#endif

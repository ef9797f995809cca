/* How dead connections are found: those of hosts and lines that died without a FIN. Private to rpc.
 *
 * Core sends an HTTP/2 ping when it heard nothing for the TIME, and closes a connection whose ping stays
 * unanswered for the TIMEOUT; it also gives the TIMEOUT to the kernel as TCP_USER_TIMEOUT, for data that is
 * not acknowledged. */
#ifndef POSWARD_RPC_KEEPALIVE_H
#define POSWARD_RPC_KEEPALIVE_H

/* A client, whose calls wait: together under 5 s. */
#define RPC_CLIENT_KEEPALIVE_MS         2000
#define RPC_CLIENT_KEEPALIVE_TIMEOUT_MS 2500
/* To a server of another make, which by gRPC's defaults ends the connection of a client that pings it more
 * than once in five minutes: only during calls that take long. TCP_USER_TIMEOUT and deadlines find most dead
 * ones earlier. */
#define RPC_FOREIGN_KEEPALIVE_MS         30000
#define RPC_FOREIGN_KEEPALIVE_TIMEOUT_MS 5000
/* A server, which only has a place to lose. Clients of other makes that have no call under way may take 5 s
 * to answer a ping (core's own do, while no thread polls). */
#define RPC_SERVER_KEEPALIVE_MS         5000
#define RPC_SERVER_KEEPALIVE_TIMEOUT_MS 10000
/* What a server lets its clients do. */
#define RPC_SERVER_PING_INTERVAL_MS 1000

#endif

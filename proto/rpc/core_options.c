#include "rpc/keepalive.h"
#include "rpc/server_state.h"

#include <limits.h>

/* Peers that connect and say nothing. */
#define HANDSHAKE_MS 10000
/* What is read of a connection at once, and worked on before another's turn; core's own most is 4 MiB. */
#define READ_BYTES_MAX (64 * 1024)
/* No GRPC_ARG_MAX_CONNECTION_IDLE_MS or _AGE_MS: core 1.51 puts filters for them before each call, which cost
 * a fifth of the calls that a server answers. connections.c bounds connections. */

static grpc_arg int_arg(const char *key, int value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

static int to_int(size_t value)
{
    return value > INT_MAX ? INT_MAX : (int)value;
}

void rpc_core_make(struct rpc_server *server)
{
    const struct rpc_server_options *const o = &server->options;
    server->quota = grpc_resource_quota_create("server");
    grpc_resource_quota_resize(server->quota, o->memory_bytes);
    grpc_arg args[] = {
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, to_int(o->max_message_bytes)),
        int_arg(GRPC_ARG_MAX_METADATA_SIZE, RPC_MAX_METADATA_BYTES),
        int_arg(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, READ_BYTES_MAX),
        int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, to_int(o->max_connection_streams)),
        /* A second server on the port must fail, not share it. */
        int_arg(GRPC_ARG_ALLOW_REUSEPORT, 0),
        /* Identity only: nothing here is worth a decompression bomb. */
        int_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE),
        int_arg(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_MS),
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, RPC_SERVER_KEEPALIVE_MS),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, RPC_SERVER_KEEPALIVE_TIMEOUT_MS),
        int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        /* Core's own count of pings makes a flood of them worse, for it adds each to an error that it keeps;
         * without it they are answered, and connections.c closes the connection. */
        int_arg(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0),
        {.type = GRPC_ARG_POINTER,
         .key = (char *)GRPC_ARG_RESOURCE_QUOTA,
         .value.pointer = {.p = server->quota, .vtable = grpc_resource_quota_arg_vtable()}},
    };
    const grpc_channel_args all = {sizeof args / sizeof args[0], args};
    server->core = grpc_server_create(&all, NULL);
}

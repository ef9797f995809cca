/* Serves Echo on a free port, which it prints; drains and prints its counts when its input ends.
 * Usage: test_echo_server [CA CERT KEY] */
#include "tests/support/echo_server.h"

#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct rpc_server_options options = echo_options();
    if (argc == 4)
        options.tls = (struct rpc_tls){.ca_path = argv[1], .cert_path = argv[2], .key_path = argv[3]};
    options.max_message_bytes = 128 * 1024;
    struct echo echo;
    echo_start(&echo, &options);
    printf("%d\n", rpc_server_port(echo.server));
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    rpc_channel_free(echo.channel);
    rpc_server_drain(echo.server, 0, 3000);
    const struct rpc_server_counts counts = rpc_server_counts(echo.server);
    printf("in_flight=%d ok=%d failed=%d\n", (int)counts.in_flight, (int)counts.ok, (int)counts.failed);
    rpc_server_free(echo.server);
    return 0;
}

/* A real server with the Echo service on loopback, and a channel to it. */
#ifndef POSWARD_TESTS_SUPPORT_ECHO_SERVER_H
#define POSWARD_TESTS_SUPPORT_ECHO_SERVER_H

#include "echo.pb-c.h"
#include "rpc/client.h"
#include "rpc/server.h"
#include "tests/support/suite.h"

#include <stdatomic.h>

typedef Posward__Test__V1__EchoRequest echo_request;
typedef Posward__Test__V1__EchoResponse echo_response;
/* A request of this text and further fields. */
#define ECHO_REQUEST(words, ...)                                                                             \
    ((echo_request){.base = PROTOBUF_C_MESSAGE_INIT(&posward__test__v1__echo_request__descriptor),           \
                    .text = (char *)(words)__VA_OPT__(, ) __VA_ARGS__})

struct echo {
    Posward__Test__V1__Echo_Service service; /* first */
    struct rpc_server *server;
    struct rpc_channel *channel;
    atomic_int said;     /* Say handlers that ran */
    atomic_int counting; /* Count handlers at work */
    atomic_int sent;     /* messages that Count has sent */
};

/* Options for insecure loopback on a free port. */
struct rpc_server_options echo_options(void);
/* Server and channel; `options` NULL: echo_options(). */
void echo_start(struct echo *echo, const struct rpc_server_options *options);
void echo_stop(struct echo *echo);
/* A further channel to a port, insecure. */
struct rpc_channel *echo_channel(int port);
/* One Say; *out_response may be NULL. */
enum err_code echo_say(struct rpc_channel *channel, const echo_request *request,
                       const struct rpc_call_options *options, echo_response **out_response, struct err *e);
void echo_free(echo_response *response);

#endif

#include "rpc/server_state.h"

#include <string.h>

#define WATCH_TICK_MS 60000 /* a watcher is woken by changes; this only bounds a lost one */

typedef Grpc__Health__V1__HealthCheckRequest request_t;
typedef Grpc__Health__V1__HealthCheckResponse response_t;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus status_t;

static bool serves(const struct rpc_server *server, const char *service)
{
    const size_t len = strlen(service);
    if (len == 0)
        return true;
    for (size_t i = 0; i < server->method_count; i++)
        if (strncmp(server->methods[i].path + 1, service, len) == 0 &&
            server->methods[i].path[1 + len] == '/')
            return true;
    return false;
}

static status_t state(const struct rpc_server *server, const char *service)
{
    if (!serves(server, service))
        return GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    return atomic_load(&server->serving) && !atomic_load(&server->deaf)
               ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
               : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
}

static const struct rpc_server *server_of(const Grpc__Health__V1__Health_Service *service)
{
    return ((const struct rpc_health *)service)->server;
}

static void check(Grpc__Health__V1__Health_Service *service, const request_t *request,
                  Grpc__Health__V1__HealthCheckResponse_Closure closure, void *closure_data)
{
    response_t response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = state(server_of(service), request->service);
    if (response.status != GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN) {
        closure(&response, closure_data);
        return;
    }
    struct err e = {0};
    err_set(&e, ERR_NOT_FOUND, "service %.100s is not served here", request->service);
    rpc_call_fail(rpc_call_of(closure_data), &e);
}

static void watch(Grpc__Health__V1__Health_Service *service, const request_t *request,
                  Grpc__Health__V1__HealthCheckResponse_Closure closure, void *closure_data)
{
    struct rpc_call *call = rpc_call_of(closure_data);
    response_t response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    bool first = true;
    do {
        const status_t now = state(server_of(service), request->service);
        if (first || now != response.status) {
            response.status = now;
            closure(&response, call);
        }
        first = false;
    } while (rpc_call_wait(call, WATCH_TICK_MS));
    closure(NULL, call);
}

void rpc_health_init(struct rpc_server *server)
{
    server->health = (struct rpc_health){
        .service = {.base = GRPC__HEALTH__V1__HEALTH__BASE_INIT, .check = check, .watch = watch},
        .server = server,
    };
}

void rpc_server_set_serving(struct rpc_server *server, bool serving)
{
    atomic_store(&server->serving, serving);
    rpc_server_wake(server);
}

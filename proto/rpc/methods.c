/* The table of what a server serves. */
#include "rpc/server_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err_code add_method(struct rpc_server *server, const ProtobufCServiceDescriptor *service,
                                unsigned index, struct rpc_method **out_method, struct err *e)
{
    const ProtobufCMethodDescriptor *descriptor = &service->methods[index];
    struct rpc_stream_markers markers;
    TRY(rpc_index_markers(&server->index, service->name, descriptor->name, &markers, e));
    if (server->method_count == RPC_MAX_METHODS)
        return err_set(e, ERR_LIMIT, "a server has at most %d methods", RPC_MAX_METHODS);
    struct rpc_method *method = &server->methods[server->method_count];
    *method = (struct rpc_method){
        .input = descriptor->input,
        .index = index,
        .client_streams = markers.client,
        .server_streams = markers.server,
        .slot = markers.client || markers.server ? RPC_SLOT_STREAM : RPC_SLOT_UNARY,
    };
    const int len = snprintf(method->path, sizeof method->path, "/%s/%s", service->name, descriptor->name);
    if (len >= (int)sizeof method->path)
        return err_set(e, ERR_INPUT, "the path of %s is over %d bytes", descriptor->name, RPC_PATH_BYTES - 1);
    server->method_count++;
    *out_method = method;
    return ERR_OK;
}

enum err_code rpc_server_add(struct rpc_server *server, ProtobufCService *service, struct err *e)
{
    if (server->started)
        return err_set(e, ERR_STATE, "services are added before start");
    const size_t before = server->method_count;
    for (unsigned i = 0; i < service->descriptor->n_methods; i++) {
        struct rpc_method *method = NULL;
        const enum err_code code = add_method(server, service->descriptor, i, &method, e);
        if (code != ERR_OK) {
            server->method_count = before;
            return code;
        }
        method->service = service;
    }
    return ERR_OK;
}

enum err_code rpc_server_add_raw(struct rpc_server *server, const ProtobufCServiceDescriptor *service,
                                 rpc_raw_fn handler, void *context, struct err *e)
{
    if (server->started)
        return err_set(e, ERR_STATE, "services are added before start");
    const size_t before = server->method_count;
    for (unsigned i = 0; i < service->n_methods; i++) {
        struct rpc_method *method = NULL;
        enum err_code code = add_method(server, service, i, &method, e);
        if (code == ERR_OK && (method->client_streams || method->server_streams))
            code = err_set(e, ERR_UNSUPPORTED, "%s streams; a raw service is unary only", method->path);
        if (code != ERR_OK) {
            server->method_count = before;
            return code;
        }
        method->raw = handler;
        method->raw_context = context;
    }
    return ERR_OK;
}

enum err_code rpc_server_raw_may_block(struct rpc_server *server, const ProtobufCServiceDescriptor *service,
                                       const char *method, struct err *e)
{
    char path[RPC_PATH_BYTES];
    snprintf(path, sizeof path, "/%s/%s", service->name, method);
    for (size_t i = 0; !server->started && i < server->method_count; i++)
        if (server->methods[i].raw != NULL && strcmp(server->methods[i].path, path) == 0) {
            server->methods[i].raw_may_block = true;
            return ERR_OK;
        }
    return err_set(e, ERR_NOT_FOUND, "%s is not a raw method of this server", path);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct rpc_method *)a)->path, ((const struct rpc_method *)b)->path);
}

enum err_code rpc_server_sort_methods(struct rpc_server *server, struct err *e)
{
    qsort(server->methods, server->method_count, sizeof *server->methods, by_path);
    for (size_t i = 1; i < server->method_count; i++)
        if (by_path(&server->methods[i - 1], &server->methods[i]) == 0)
            return err_set(e, ERR_EXISTS, "%s was added twice", server->methods[i].path);
    return ERR_OK;
}

const struct rpc_method *rpc_server_method(const struct rpc_server *server, const char *path)
{
    struct rpc_method key;
    snprintf(key.path, sizeof key.path, "%s", path);
    return bsearch(&key, server->methods, server->method_count, sizeof key, by_path);
}

struct rpc_measure *rpc_server_measure(const struct rpc_server *server, const struct rpc_method *method)
{
    return &server->measures[method != NULL ? (size_t)(method - server->methods) : RPC_MAX_METHODS];
}

void rpc_server_each_method(const struct rpc_server *server, rpc_method_counts_fn each, void *context)
{
    for (size_t i = 0; i < server->method_count; i++) {
        const struct rpc_method *const method = &server->methods[i];
        const struct rpc_method_counts counts =
            rpc_measure_read(rpc_server_measure(server, method), method->path + 1); /* without the slash */
        each(context, &counts);
    }
    const struct rpc_method_counts unknown = rpc_measure_read(rpc_server_measure(server, NULL), "unknown");
    each(context, &unknown);
}

const char *rpc_server_guarded_path(const struct rpc_server *server, size_t index)
{
    for (size_t i = 0; i < server->method_count; i++)
        if (!server->methods[i].open && index-- == 0)
            return server->methods[i].path;
    return NULL;
}

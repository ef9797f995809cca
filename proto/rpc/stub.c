#include "rpc/channel_state.h"

#include <stdlib.h>

#define STREAM_TICK_MS 60000 /* a stream is waited for in steps of this */

struct client {
    ProtobufCService service; /* first: what callers hold */
    struct rpc_channel *channel;
    struct rpc_call_options options;
    struct err last;
};

static struct client *client_of(const ProtobufCService *service)
{
    return (struct client *)service;
}

static enum err_code index_once(struct rpc_channel *channel, struct err *e)
{
    enum err_code code = ERR_OK;
    pthread_mutex_lock(&channel->lock);
    if (!channel->indexed)
        code = rpc_index_init(&channel->index, channel->extra_descriptor_set,
                              channel->extra_descriptor_set_len, e);
    channel->indexed = channel->indexed || code == ERR_OK;
    pthread_mutex_unlock(&channel->lock);
    return code;
}

static enum err_code call_unary(struct client *client, const ProtobufCMethodDescriptor *method,
                                const ProtobufCMessage *input, ProtobufCClosure closure, void *closure_data)
{
    ProtobufCMessage *response = NULL;
    TRY(rpc_unary(client->channel, client->service.descriptor, method->name, input, &client->options,
                  &response, &client->last));
    closure(response, closure_data);
    protobuf_c_message_free_unpacked(response, NULL);
    return ERR_OK;
}

static enum err_code read_stream(struct client *client, struct rpc_stream *stream, ProtobufCClosure closure,
                                 void *closure_data)
{
    for (;;) {
        ProtobufCMessage *message = NULL;
        const enum err_code code = rpc_stream_next(stream, STREAM_TICK_MS, &message, &client->last);
        if (code == ERR_TIMEOUT && client->last.native == 0)
            continue; /* the tick, not the call's deadline */
        if (code != ERR_OK || message == NULL)
            return code;
        closure(message, closure_data);
        protobuf_c_message_free_unpacked(message, NULL);
    }
}

static enum err_code call_stream(struct client *client, const ProtobufCMethodDescriptor *method,
                                 const ProtobufCMessage *input, ProtobufCClosure closure, void *closure_data)
{
    struct rpc_stream *stream = NULL;
    TRY(rpc_stream_open(client->channel, client->service.descriptor, method->name, input, &client->options,
                        &stream, &client->last));
    const enum err_code code = read_stream(client, stream, closure, closure_data);
    rpc_stream_free(stream);
    return code;
}

static void invoke(ProtobufCService *service, unsigned method_index, const ProtobufCMessage *input,
                   ProtobufCClosure closure, void *closure_data)
{
    struct client *client = client_of(service);
    const ProtobufCMethodDescriptor *method = &service->descriptor->methods[method_index];
    struct rpc_stream_markers markers = {0};
    client->last = (struct err){0};
    enum err_code code = index_once(client->channel, &client->last);
    if (code == ERR_OK)
        code = rpc_index_markers(&client->channel->index, service->descriptor->name, method->name, &markers,
                                 &client->last);
    if (code == ERR_OK && markers.client)
        code =
            err_set(&client->last, ERR_UNSUPPORTED, "%s takes a stream: use rpc_stream_open", method->name);
    if (code == ERR_OK && markers.server)
        code = call_stream(client, method, input, closure, closure_data);
    else if (code == ERR_OK)
        code = call_unary(client, method, input, closure, closure_data);
    if (code != ERR_OK || markers.server)
        closure(NULL, closure_data);
    if (code == ERR_OK)
        client->last = (struct err){0};
}

static void destroy(ProtobufCService *service)
{
    free(client_of(service));
}

ProtobufCService *rpc_client_new(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                                 const struct rpc_call_options *options)
{
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return NULL;
    client->service = (ProtobufCService){.descriptor = service, .invoke = invoke, .destroy = destroy};
    client->channel = channel;
    if (options != NULL)
        client->options = *options;
    return &client->service;
}

const struct err *rpc_client_error(const ProtobufCService *client)
{
    return &client_of(client)->last;
}

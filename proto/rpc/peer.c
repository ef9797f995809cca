#include "rpc/server_state.h"

#include <stdlib.h>
#include <string.h>

/* The property's text when there is exactly one of it and it is plain text. */
static char *dup_property(const grpc_auth_context *context, const char *name)
{
    grpc_auth_property_iterator iterator = grpc_auth_context_find_properties_by_name(context, name);
    const grpc_auth_property *first = grpc_auth_property_iterator_next(&iterator);
    if (first == NULL || grpc_auth_property_iterator_next(&iterator) != NULL)
        return NULL;
    if (first->value_length == 0 || first->value_length > RPC_MAX_IDENTITY_BYTES ||
        memchr(first->value, 0, first->value_length) != NULL)
        return NULL;
    return strndup(first->value, first->value_length);
}

static bool claims_spiffe(const grpc_auth_context *context)
{
    grpc_auth_property_iterator iterator =
        grpc_auth_context_find_properties_by_name(context, GRPC_PEER_URI_PROPERTY_NAME);
    for (const grpc_auth_property *p; (p = grpc_auth_property_iterator_next(&iterator)) != NULL;)
        if (rpc_identity_is_spiffe(p->value, p->value_length))
            return true;
    return false;
}

/* The SPIFFE identity, else the common name. A certificate whose SPIFFE URI does not verify, or stands
 * twice, has no identity, and a common name that looks like a SPIFFE identity is none: authorities that watch
 * over one kind of name must not hand out the other. */
static char *dup_identity(const grpc_auth_context *context)
{
    char *identity = dup_property(context, GRPC_PEER_SPIFFE_ID_PROPERTY_NAME);
    if (identity != NULL || claims_spiffe(context))
        return identity;
    identity = dup_property(context, GRPC_X509_CN_PROPERTY_NAME);
    if (identity != NULL && rpc_identity_is_spiffe(identity, strlen(identity))) {
        free(identity);
        return NULL;
    }
    return identity;
}

/* The caller that a proxy names: the one value of the header, of printable ASCII; else none. */
static char *dup_named(const struct rpc_call *call)
{
    const grpc_metadata *found = NULL;
    for (size_t i = 0; i < call->metadata.count; i++) {
        const grpc_metadata *const item = &call->metadata.metadata[i];
        if (grpc_slice_str_cmp(item->key, RPC_IDENTITY_HEADER) != 0)
            continue;
        if (found != NULL)
            return NULL;
        found = item;
    }
    if (found == NULL)
        return NULL;
    const unsigned char *const text = GRPC_SLICE_START_PTR(found->value);
    const size_t len = GRPC_SLICE_LENGTH(found->value);
    if (len == 0 || len > RPC_MAX_IDENTITY_BYTES)
        return NULL;
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return NULL;
    return strndup((const char *)text, len);
}

/* The proxy's own identity stands for nobody: without a name there is no caller. */
static void read_proxied(struct rpc_call *call)
{
    const char *const proxy = call->server->options.trusted_proxy;
    if (proxy == NULL || call->identity == NULL || strcmp(call->identity, proxy) != 0)
        return;
    call->proxied = true;
    free(call->identity);
    call->identity = dup_named(call);
}

void rpc_peer_read(struct rpc_call *call)
{
    call->address = grpc_call_get_peer(call->core);
    call->peer.address = call->address;
    grpc_auth_context *context = grpc_call_auth_context(call->core);
    if (context == NULL)
        return;
    if (grpc_auth_context_peer_is_authenticated(context))
        call->identity = dup_identity(context);
    read_proxied(call);
    call->peer.identity = call->identity;
    grpc_auth_context_release(context);
}

#include "rpc/index.h"

#include "posward/descriptors.h"

#include <string.h>

typedef Google__Protobuf__FileDescriptorProto file_t;
typedef Google__Protobuf__DescriptorProto type_t;
typedef Google__Protobuf__EnumDescriptorProto enum_t;
typedef Google__Protobuf__ServiceDescriptorProto service_t;

static enum err_code add_set(struct rpc_index *index, const uint8_t *bytes, size_t len, struct err *e)
{
    Google__Protobuf__FileDescriptorSet *set =
        google__protobuf__file_descriptor_set__unpack(NULL, len, bytes);
    if (set == NULL)
        return err_set(e, ERR_INPUT, "descriptor set of %zu bytes does not parse", len);
    index->sets[index->set_count++] = set;
    return ERR_OK;
}

enum err_code rpc_index_init(struct rpc_index *index, const uint8_t *extra, size_t extra_len, struct err *e)
{
    *index = (struct rpc_index){0};
    TRY(add_set(index, posward_descriptor_set, posward_descriptor_set_len, e));
    if (extra == NULL)
        return ERR_OK;
    if (add_set(index, extra, extra_len, e) == ERR_OK)
        return ERR_OK;
    rpc_index_drop(index);
    return ERR_INPUT;
}

void rpc_index_drop(struct rpc_index *index)
{
    for (size_t i = 0; i < index->set_count; i++)
        google__protobuf__file_descriptor_set__free_unpacked(index->sets[i], NULL);
    index->set_count = 0;
}

/* What is left of `symbol` after "scope." or NULL; an empty scope leaves it all. */
static const char *after_scope(const char *symbol, const char *scope)
{
    const size_t len = scope == NULL ? 0 : strlen(scope);
    if (len == 0)
        return symbol;
    return strncmp(symbol, scope, len) == 0 && symbol[len] == '.' ? symbol + len + 1 : NULL;
}

static bool enum_has(const enum_t *type, const char *symbol)
{
    if (strcmp(type->name, symbol) == 0)
        return true;
    const char *rest = after_scope(symbol, type->name);
    for (size_t i = 0; rest != NULL && i < type->n_value; i++)
        if (strcmp(type->value[i]->name, rest) == 0)
            return true;
    return false;
}

static bool type_has(const type_t *type, const char *symbol)
{
    if (strcmp(type->name, symbol) == 0)
        return true;
    const char *rest = after_scope(symbol, type->name);
    if (rest == NULL)
        return false;
    for (size_t i = 0; i < type->n_field; i++)
        if (strcmp(type->field[i]->name, rest) == 0)
            return true;
    for (size_t i = 0; i < type->n_enum_type; i++)
        if (enum_has(type->enum_type[i], rest))
            return true;
    for (size_t i = 0; i < type->n_nested_type; i++)
        if (type_has(type->nested_type[i], rest))
            return true;
    return false;
}

static bool service_has(const service_t *service, const char *symbol)
{
    if (strcmp(service->name, symbol) == 0)
        return true;
    const char *rest = after_scope(symbol, service->name);
    for (size_t i = 0; rest != NULL && i < service->n_method; i++)
        if (strcmp(service->method[i]->name, rest) == 0)
            return true;
    return false;
}

static bool file_has(const file_t *file, const char *symbol)
{
    const char *rest = after_scope(symbol, file->package);
    if (rest == NULL)
        return false;
    for (size_t i = 0; i < file->n_service; i++)
        if (service_has(file->service[i], rest))
            return true;
    for (size_t i = 0; i < file->n_message_type; i++)
        if (type_has(file->message_type[i], rest))
            return true;
    for (size_t i = 0; i < file->n_enum_type; i++)
        if (enum_has(file->enum_type[i], rest))
            return true;
    return false;
}

const file_t *rpc_index_file(const struct rpc_index *index, const char *name)
{
    for (size_t s = 0; s < index->set_count; s++)
        for (size_t i = 0; i < index->sets[s]->n_file; i++)
            if (strcmp(index->sets[s]->file[i]->name, name) == 0)
                return index->sets[s]->file[i];
    return NULL;
}

const file_t *rpc_index_file_of(const struct rpc_index *index, const char *symbol)
{
    for (size_t s = 0; s < index->set_count; s++)
        for (size_t i = 0; i < index->sets[s]->n_file; i++)
            if (file_has(index->sets[s]->file[i], symbol))
                return index->sets[s]->file[i];
    return NULL;
}

/* `name` is one of the types, or of those inside them. */
static bool names_message(type_t *const *types, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        const char *const rest = after_scope(name, types[i]->name);
        if (strcmp(types[i]->name, name) == 0 ||
            (rest != NULL && names_message(types[i]->nested_type, types[i]->n_nested_type, rest)))
            return true;
    }
    return false;
}

bool rpc_index_is_message(const struct rpc_index *index, const char *full_name)
{
    const file_t *const file = rpc_index_file_of(index, full_name);
    return file != NULL &&
           names_message(file->message_type, file->n_message_type, after_scope(full_name, file->package));
}

static const service_t *find_service(const struct rpc_index *index, const char *full_name)
{
    const file_t *file = rpc_index_file_of(index, full_name);
    const char *name = file == NULL ? NULL : after_scope(full_name, file->package);
    for (size_t i = 0; name != NULL && i < file->n_service; i++)
        if (strcmp(file->service[i]->name, name) == 0)
            return file->service[i];
    return NULL;
}

enum err_code rpc_index_markers(const struct rpc_index *index, const char *service, const char *method,
                                struct rpc_stream_markers *out_markers, struct err *e)
{
    const service_t *found = find_service(index, service);
    if (found == NULL)
        return err_set(e, ERR_NOT_FOUND, "service %s is in no descriptor set", service);
    for (size_t i = 0; i < found->n_method; i++) {
        const Google__Protobuf__MethodDescriptorProto *m = found->method[i];
        if (strcmp(m->name, method) != 0)
            continue;
        out_markers->client = m->has_client_streaming && m->client_streaming;
        out_markers->server = m->has_server_streaming && m->server_streaming;
        return ERR_OK;
    }
    return err_set(e, ERR_NOT_FOUND, "service %s has no method %s in the descriptor set", service, method);
}

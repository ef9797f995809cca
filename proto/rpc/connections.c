#include "rpc/connections.h"

#include "base/clock.h"
#include "base/log.h"
#include "rpc/server_state.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESS_BYTES (INET6_ADDRSTRLEN + 32)

/* One open connection, as the kernel shows it. */
struct seen {
    int fd;
    uint64_t address, identity; /* hashes; identity 0: no call was admitted yet */
    uint_fast32_t resets;
    bool unwelcome;
};

struct look {
    struct seen *items;
    size_t count, capacity;
};

/* FNV-1a; never 0. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = 14695981039346656037u;
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash | 1;
}

static struct rpc_connection_entry *entry_of(struct rpc_server *server, uint64_t address)
{
    return &server->connections.entries[(address >> 1) & (RPC_CONNECTION_ENTRIES - 1)];
}

void rpc_connections_prove(struct rpc_server *server, const struct rpc_call *call)
{
    if (call->address == NULL)
        return;
    const uint64_t address = hash_of(call->address);
    const uint64_t identity = hash_of(call->identity != NULL ? call->identity : "");
    struct rpc_connection_entry *const entry = entry_of(server, address);
    if (atomic_load_explicit(&entry->address, memory_order_relaxed) == address)
        return;
    atomic_store(&entry->address, 0);
    atomic_store(&entry->identity, identity);
    atomic_store(&entry->resets, 0);
    atomic_store(&entry->unwelcome, false);
    atomic_store(&entry->address, address);
}

void rpc_connections_refuse(struct rpc_server *server, const struct rpc_call *call)
{
    rpc_connections_prove(server, call);
    if (call->address != NULL)
        atomic_store(&entry_of(server, hash_of(call->address))->unwelcome, true);
}

void rpc_connections_count_reset(struct rpc_server *server, const struct rpc_call *call)
{
    if (call->address == NULL || clock_monotonic_us() - call->begun_us > RPC_RESET_AT_ONCE_US)
        return;
    const uint64_t address = hash_of(call->address);
    struct rpc_connection_entry *const entry = entry_of(server, address);
    if (atomic_load(&entry->address) == address)
        atomic_fetch_add(&entry->resets, 1);
}

/* As grpc_call_get_peer writes it; false for what is no TCP address. */
static bool name_address(const struct sockaddr_storage *address, char out_text[ADDRESS_BYTES], int *out_port)
{
    const struct sockaddr_in *const v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *const v6 = (const struct sockaddr_in6 *)address;
    char host[INET6_ADDRSTRLEN] = "";
    if (address->ss_family == AF_INET ||
        (address->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))) {
        const void *const bytes =
            address->ss_family == AF_INET ? (const void *)&v4->sin_addr : &v6->sin6_addr.s6_addr[12];
        *out_port = ntohs(address->ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
        (void)inet_ntop(AF_INET, bytes, host, sizeof host);
        snprintf(out_text, ADDRESS_BYTES, "ipv4:%s:%d", host, *out_port);
        return true;
    }
    if (address->ss_family != AF_INET6)
        return false;
    *out_port = ntohs(v6->sin6_port);
    (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    snprintf(out_text, ADDRESS_BYTES, "ipv6:%%5B%s%%5D:%d", host, *out_port);
    return true;
}

/* Whether `fd` is a connection of this server; its peer's address. */
static bool is_ours(const struct rpc_server *server, int fd, char out_address[ADDRESS_BYTES])
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    int port = 0;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0 ||
        !name_address(&address, out_address, &port) || port != server->port)
        return false;
    len = sizeof address;
    return getpeername(fd, (struct sockaddr *)&address, &len) == 0 &&
           name_address(&address, out_address, &port);
}

static bool add_seen(struct look *look, struct seen seen)
{
    if (look->count == look->capacity) {
        const size_t capacity = look->capacity != 0 ? 2 * look->capacity : 256;
        struct seen *const items = realloc(look->items, capacity * sizeof *items);
        if (items == NULL)
            return false;
        look->items = items;
        look->capacity = capacity;
    }
    look->items[look->count++] = seen;
    return true;
}

static void look_at(struct rpc_server *server, struct look *look)
{
    DIR *const dir = opendir("/proc/self/fd");
    if (dir == NULL) /* nothing is bounded then; without descriptors the accept failure ends the process */
        return;
    for (const struct dirent *item; (item = readdir(dir)) != NULL;) {
        char address[ADDRESS_BYTES];
        const int fd = atoi(item->d_name);
        if (item->d_name[0] == '.' || !is_ours(server, fd, address))
            continue;
        struct seen seen = {.fd = fd, .address = hash_of(address)};
        struct rpc_connection_entry *const entry = entry_of(server, seen.address);
        if (atomic_load(&entry->address) == seen.address) {
            seen.identity = atomic_load(&entry->identity);
            seen.resets = atomic_exchange(&entry->resets, 0);
            seen.unwelcome = atomic_load(&entry->unwelcome);
        }
        if (!add_seen(look, seen))
            break;
    }
    closedir(dir);
}

/* Core reads the end of the stream then and drops the connection. Its descriptor may have become another
 * one's since it was looked at: that is asked of a copy, which cannot change. */
static bool close_one(const struct rpc_server *server, const struct seen *seen)
{
    char address[ADDRESS_BYTES];
    const int copy = fcntl(seen->fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return false;
    const bool same = is_ours(server, copy, address) && hash_of(address) == seen->address;
    if (same)
        (void)shutdown(copy, SHUT_RDWR);
    close(copy);
    return same;
}

static int by_identity(const void *a, const void *b)
{
    const uint64_t left = ((const struct seen *)a)->identity, right = ((const struct seen *)b)->identity;
    return (left > right) - (left < right);
}

/* How many connections are kept when no identity may have more than `each`; those without a call apart. */
static size_t kept(const struct look *look, size_t each)
{
    size_t sum = 0;
    for (size_t i = 0, end; i < look->count; i = end) {
        for (end = i; end < look->count && look->items[end].identity == look->items[i].identity; end++)
            ;
        if (look->items[i].identity != 0)
            sum += end - i < each ? end - i : each;
    }
    return sum;
}

/* The largest number that an identity may have so that all have at most `most`. */
static size_t fair_part(const struct look *look, size_t most)
{
    size_t low = 0, high = look->count;
    while (low < high) {
        const size_t middle = (low + high + 1) / 2;
        if (kept(look, middle) <= most)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static size_t close_over(struct rpc_server *server, struct look *look)
{
    const size_t limit = server->connections.limit;
    if (look->count <= limit)
        return 0;
    qsort(look->items, look->count, sizeof *look->items, by_identity);
    const size_t each = fair_part(look, limit - limit / 4);
    const size_t unproven = limit - kept(look, each);
    size_t closed = 0;
    for (size_t i = 0, nth = 0; i < look->count; i++) {
        const struct seen *const seen = &look->items[i];
        nth = i > 0 && look->items[i - 1].identity == seen->identity ? nth + 1 : 0;
        if (nth >= (seen->identity != 0 ? each : unproven))
            closed += close_one(server, seen);
    }
    return closed;
}

static bool is_flooding(const struct seen *seen)
{
    return seen->resets > RPC_RESETS_MAX;
}

static bool is_unwelcome(const struct seen *seen)
{
    return seen->unwelcome;
}

static size_t close_each(const struct rpc_server *server, const struct look *look,
                         bool (*is)(const struct seen *))
{
    size_t closed = 0;
    for (size_t i = 0; i < look->count; i++)
        if (is(&look->items[i]))
            closed += close_one(server, &look->items[i]);
    return closed;
}

void rpc_connections_sweep(struct rpc_server *server)
{
    struct rpc_connections *const c = &server->connections;
    struct look look = {0};
    look_at(server, &look);
    atomic_store(&c->open, look.count);
    const size_t flooded = close_each(server, &look, is_flooding), over = close_over(server, &look);
    (void)close_each(server, &look, is_unwelcome);
    atomic_fetch_add(&c->flooded, flooded);
    atomic_fetch_add(&c->over, over);
    if (flooded > 0)
        log_event(LOG_WARN, "connections closed whose calls were reset again and again",
                  LOG_INT("closed", (int64_t)flooded));
    if (over > 0)
        log_event(LOG_WARN, "connections closed that are over limits.max_connections",
                  LOG_INT("closed", (int64_t)over), LOG_INT("limit", (int64_t)c->limit));
    free(look.items);
}

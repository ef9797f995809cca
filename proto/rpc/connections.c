#include "rpc/connections.h"

#include "base/clock.h"
#include "base/log.h"
#include "rpc/server_state.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESS_BYTES (INET6_ADDRSTRLEN + 32)
#define CAPACITY_MIN  1024
#define FLOOD_LOOKS   2

struct rpc_connection {
    uint64_t address, identity; /* hashes, 0: no entry; no call was admitted yet */
    uint64_t received;          /* bytes, at the last look */
    int64_t explained, recent;  /* bytes since the last look; before it, half of them forgotten at each */
    int64_t unexplained;        /* the balance */
    int fd;                     /* at this look; -1: not seen */
    int looks;                  /* in a row at which it was too much, and growing */
    int waiting;                /* calls since the last look, less the requests that came since */
    bool unwelcome;
};

/* FNV-1a; never 0. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = 14695981039346656037u;
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash | 1;
}

bool rpc_connections_init(struct rpc_connections *c)
{
    /* It is held for moments only: waiting for it is not worth a switch of threads. */
    pthread_mutexattr_t adaptive;
    pthread_mutexattr_init(&adaptive);
    pthread_mutexattr_settype(&adaptive, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&c->lock, &adaptive);
    pthread_mutexattr_destroy(&adaptive);
    for (c->capacity = CAPACITY_MIN; c->capacity < 4 * c->limit; c->capacity *= 2)
        ;
    c->items = calloc(c->capacity, sizeof *c->items);
    return c->items != NULL;
}

void rpc_connections_drop(struct rpc_connections *c)
{
    if (c->capacity == 0)
        return;
    pthread_mutex_destroy(&c->lock);
    free(c->items);
}

/* Lock held. NULL: there are far more than the limit, and this one is not remembered. */
static struct rpc_connection *item_of(struct rpc_connections *c, uint64_t address)
{
    size_t at = (address >> 1) & (c->capacity - 1);
    while (c->items[at].address != 0 && c->items[at].address != address)
        at = (at + 1) & (c->capacity - 1);
    if (c->items[at].address == 0) {
        if (c->count >= c->capacity / 2)
            return NULL;
        c->count++;
        c->items[at] = (struct rpc_connection){.address = address, .fd = -1};
    }
    return &c->items[at];
}

/* Whether too many calls of its connection wait with it. */
static bool note_call(struct rpc_server *server, const struct rpc_call *call, struct rpc_connection more)
{
    struct rpc_connections *const c = &server->connections;
    bool floods = false;
    if (call->address == NULL)
        return false;
    const uint64_t address = hash_of(call->address);
    pthread_mutex_lock(&c->lock);
    struct rpc_connection *const item = item_of(c, address);
    if (item != NULL) {
        if (item->identity == 0)
            item->identity = hash_of(call->identity != NULL ? call->identity : "");
        item->explained += more.explained;
        item->waiting += more.waiting;
        item->unwelcome = item->unwelcome || more.unwelcome;
        floods = more.waiting > 0 && item->waiting == c->waiting_max + 1;
    }
    pthread_mutex_unlock(&c->lock);
    return floods;
}

bool rpc_connections_open(struct rpc_server *server, const struct rpc_call *call)
{
    return note_call(server, call, (struct rpc_connection){.waiting = 1});
}

void rpc_connections_explain(struct rpc_server *server, const struct rpc_call *call, size_t bytes)
{
    (void)note_call(
        server, call,
        (struct rpc_connection){.explained = (int64_t)bytes + RPC_EXPLAINED_BYTES, .waiting = -1});
}

void rpc_connections_refuse(struct rpc_server *server, const struct rpc_call *call)
{
    (void)note_call(server, call, (struct rpc_connection){.unwelcome = true});
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

static uint64_t bytes_received(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 ? info.tcpi_bytes_received : 0;
}

/* Lock held. */
static void see(struct rpc_connections *c, int fd, uint64_t address)
{
    struct rpc_connection *const item = item_of(c, address);
    if (item == NULL)
        return;
    const uint64_t received = bytes_received(fd);
    const int64_t came = received >= item->received ? (int64_t)(received - item->received) : 0;
    item->fd = fd;
    item->received = received;
    const int64_t more = came - item->explained - RPC_FORGIVEN_BYTES;
    item->recent = item->recent / 2 + item->explained;
    item->explained = 0;
    item->unexplained += more;
    if (more <= 0)
        item->unexplained /= 2;
    item->unexplained = item->unexplained > 0 ? item->unexplained : 0;
    /* One message that is far too large, which core refuses, comes within a look. */
    const bool much = more > 0 && item->unexplained > c->unexplained_max + item->recent;
    item->looks = much ? item->looks + 1 : 0;
    /* A request cannot begin before its call. */
    if (item->identity == 0 && item->unexplained > RPC_UNPROVEN_BYTES)
        item->looks = FLOOD_LOOKS;
}

/* Lock held. How many there are, remembered or not. */
static size_t look_at_all(struct rpc_server *server)
{
    struct rpc_connections *const c = &server->connections;
    DIR *const dir = opendir("/proc/self/fd");
    size_t count = 0;
    if (dir == NULL) /* nothing is bounded then; without descriptors the accept failure ends the process */
        return 0;
    for (const struct dirent *item; (item = readdir(dir)) != NULL;) {
        char address[ADDRESS_BYTES];
        const int fd = atoi(item->d_name);
        if (item->d_name[0] == '.' || !is_ours(server, fd, address))
            continue;
        see(c, fd, hash_of(address));
        count++;
    }
    closedir(dir);
    return count;
}

/* What is seen, packed at the start of a new table; what is not seen is forgotten. Lock held. */
static struct rpc_connection *take_seen(struct rpc_connections *c, size_t *out_count)
{
    struct rpc_connection *const seen = calloc(c->capacity, sizeof *seen);
    size_t count = 0;
    for (size_t i = 0; seen != NULL && i < c->capacity; i++)
        if (c->items[i].address != 0 && c->items[i].fd >= 0)
            seen[count++] = c->items[i];
    *out_count = count;
    return seen;
}

/* Lock held. */
static void remember(struct rpc_connections *c, const struct rpc_connection *seen, size_t count)
{
    memset(c->items, 0, c->capacity * sizeof *c->items);
    c->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct rpc_connection *const item = item_of(c, seen[i].address);
        *item = seen[i];
        item->fd = -1;
        item->waiting = 0;
    }
}

/* Core finds the connection ended then and drops it. Its descriptor may have become another one's since it
 * was looked at: that is asked of a copy, which cannot change. */
static bool close_one(const struct rpc_server *server, const struct rpc_connection *seen, bool at_once)
{
    static const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    char address[ADDRESS_BYTES];
    const int copy = fcntl(seen->fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return false;
    const bool same = is_ours(server, copy, address) && hash_of(address) == seen->address;
    if (same && at_once) /* what came and was not read yet goes too, and its peer gets a reset */
        (void)connect(copy, &nobody, sizeof nobody);
    else if (same)
        (void)shutdown(copy, SHUT_RDWR);
    close(copy);
    return same;
}

static int by_identity(const void *a, const void *b)
{
    const uint64_t left = ((const struct rpc_connection *)a)->identity;
    const uint64_t right = ((const struct rpc_connection *)b)->identity;
    return (left > right) - (left < right);
}

/* How many are kept when no identity may have more than `each`; those without a call apart. */
static size_t kept(const struct rpc_connection *seen, size_t count, size_t each)
{
    size_t sum = 0;
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i; end < count && seen[end].identity == seen[i].identity; end++)
            ;
        if (seen[i].identity != 0)
            sum += end - i < each ? end - i : each;
    }
    return sum;
}

/* The largest number that an identity may have so that all have at most `most`. */
static size_t fair_part(const struct rpc_connection *seen, size_t count, size_t most)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = (low + high + 1) / 2;
        if (kept(seen, count, middle) <= most)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static size_t close_over(struct rpc_server *server, struct rpc_connection *seen, size_t count)
{
    const size_t limit = server->connections.limit;
    if (count <= limit)
        return 0;
    qsort(seen, count, sizeof *seen, by_identity);
    const size_t each = fair_part(seen, count, limit - limit / 4);
    const size_t unproven = limit - kept(seen, count, each);
    size_t closed = 0;
    for (size_t i = 0, nth = 0; i < count; i++) {
        nth = i > 0 && seen[i - 1].identity == seen[i].identity ? nth + 1 : 0;
        if (nth >= (seen[i].identity != 0 ? each : unproven))
            closed += close_one(server, &seen[i], false);
    }
    return closed;
}

static void punish(struct rpc_connections *c, uint64_t identity)
{
    if (identity == 0)
        return;
    pthread_mutex_lock(&c->lock);
    c->penalties[c->penalty_count++ % RPC_PENALTIES] =
        (struct rpc_penalty){identity, clock_monotonic_ms() + RPC_FLOOD_PENALTY_MS};
    pthread_mutex_unlock(&c->lock);
}

static bool is_punished(struct rpc_connections *c, uint64_t identity)
{
    const int64_t now_ms = clock_monotonic_ms();
    bool found = false;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < RPC_PENALTIES && !found; i++)
        found = identity != 0 && c->penalties[i].identity == identity && now_ms < c->penalties[i].until_ms;
    pthread_mutex_unlock(&c->lock);
    return found;
}

bool rpc_connections_punished(struct rpc_connections *c, const char *identity)
{
    return is_punished(c, hash_of(identity != NULL ? identity : ""));
}

/* Others that an identity made to flood as well are found before they are many; those that ask something, or
 * nothing, stay. */
static bool floods(struct rpc_connections *c, const struct rpc_connection *connection)
{
    return connection->looks >= FLOOD_LOOKS || connection->waiting > c->waiting_max ||
           (connection->unexplained > 0 && connection->recent == 0 && is_punished(c, connection->identity));
}

/* The floods among them; those that are unwelcome are closed with them, and not counted. */
static size_t close_bad(struct rpc_server *server, const struct rpc_connection *seen, size_t count)
{
    struct rpc_connections *const c = &server->connections;
    size_t closed = 0;
    for (size_t i = 0; i < count; i++)
        if (floods(c, &seen[i]))
            punish(c, seen[i].identity);
    for (size_t i = 0; i < count; i++) {
        if (floods(c, &seen[i]))
            closed += close_one(server, &seen[i], true);
        else if (seen[i].unwelcome)
            (void)close_one(server, &seen[i], false);
    }
    return closed;
}

void rpc_connections_sweep(struct rpc_server *server)
{
    struct rpc_connections *const c = &server->connections;
    size_t count = 0;
    pthread_mutex_lock(&c->lock);
    atomic_store(&c->open, look_at_all(server));
    struct rpc_connection *const seen = take_seen(c, &count);
    if (seen != NULL)
        remember(c, seen, count);
    pthread_mutex_unlock(&c->lock);
    if (seen == NULL)
        return;
    const size_t flooding = close_bad(server, seen, count), over = close_over(server, seen, count);
    free(seen);
    atomic_fetch_add(&c->flooding, flooding);
    atomic_fetch_add(&c->over, over);
    if (flooding > 0)
        log_event(LOG_WARN, "connections closed that sent much and asked little: a flood",
                  LOG_INT("closed", (int64_t)flooding));
    if (over > 0)
        log_event(LOG_WARN, "connections closed that are over limits.max_connections",
                  LOG_INT("closed", (int64_t)over), LOG_INT("limit", (int64_t)c->limit));
}

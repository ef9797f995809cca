#include "tests/support/valve.h"

#include "tests/support/suite.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS_MAX   32
#define TICK_MS     10
#define CHUNK_BYTES 65536

struct pair {
    int client, server; /* -1: closed */
    bool lost;
};

struct valve {
    int listener, port, target;
    pthread_t thread;
    pthread_mutex_t lock; /* what follows */
    struct pair pairs[PAIRS_MAX];
    size_t made;
    bool over;
};

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Lock held, as for the next. */
static void take_client(struct valve *v)
{
    const struct sockaddr_in address = loopback(v->target);
    const int client = accept(v->listener, NULL, NULL);
    if (client < 0)
        return;
    if (v->made == PAIRS_MAX)
        abort(); /* a test that makes so many is wrong */
    struct pair *const pair = &v->pairs[v->made++];
    *pair = (struct pair){.client = client, .server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (connect(pair->server, (const struct sockaddr *)&address, sizeof address) == 0)
        return;
    close_end(&pair->server);
    close_end(&pair->client);
}

static void pass(struct pair *pair, int *from, const int *to)
{
    static char bytes[CHUNK_BYTES];
    const ssize_t n = recv(*from, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0)
        return;
    if (n == 0) {
        close_end(from);
        if (!pair->lost) {
            close_end(&pair->client);
            close_end(&pair->server);
        }
        return;
    }
    if (!pair->lost)
        (void)!send(*to, bytes, (size_t)n, MSG_NOSIGNAL);
}

static void *run(void *context)
{
    struct valve *const v = context;
    for (bool over = false; !over;) {
        struct pollfd fds[2 * PAIRS_MAX + 1];
        pthread_mutex_lock(&v->lock);
        const size_t pairs = v->made;
        for (size_t i = 0; i < pairs; i++) {
            fds[2 * i] = (struct pollfd){.fd = v->pairs[i].client, .events = POLLIN};
            fds[2 * i + 1] = (struct pollfd){.fd = v->pairs[i].server, .events = POLLIN};
        }
        pthread_mutex_unlock(&v->lock);
        fds[2 * pairs] = (struct pollfd){.fd = v->listener, .events = POLLIN};
        (void)poll(fds, 2 * pairs + 1, TICK_MS);
        pthread_mutex_lock(&v->lock);
        for (size_t i = 0; i < pairs; i++) {
            struct pair *const pair = &v->pairs[i];
            if (fds[2 * i].revents != 0 && pair->client >= 0)
                pass(pair, &pair->client, &pair->server);
            if (fds[2 * i + 1].revents != 0 && pair->server >= 0)
                pass(pair, &pair->server, &pair->client);
        }
        if (fds[2 * pairs].revents != 0)
            take_client(v);
        over = v->over;
        pthread_mutex_unlock(&v->lock);
    }
    return NULL;
}

struct valve *valve_open(int port)
{
    struct valve *const v = calloc(1, sizeof *v);
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    ck_assert_ptr_nonnull(v);
    v->target = port;
    v->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(v->listener, (const struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(v->listener, PAIRS_MAX), 0);
    ck_assert_int_eq(getsockname(v->listener, (struct sockaddr *)&address, &len), 0);
    v->port = ntohs(address.sin_port);
    pthread_mutex_init(&v->lock, NULL);
    ck_assert_int_eq(pthread_create(&v->thread, NULL, run, v), 0);
    return v;
}

int valve_port(const struct valve *v)
{
    return v->port;
}

void valve_lose(struct valve *v)
{
    pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < v->made; i++)
        v->pairs[i].lost = true;
    pthread_mutex_unlock(&v->lock);
}

size_t valve_made(struct valve *v)
{
    pthread_mutex_lock(&v->lock);
    const size_t made = v->made;
    pthread_mutex_unlock(&v->lock);
    return made;
}

size_t valve_held(struct valve *v)
{
    size_t held = 0;
    pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < v->made; i++)
        held += v->pairs[i].client >= 0;
    pthread_mutex_unlock(&v->lock);
    return held;
}

void valve_close(struct valve *v)
{
    pthread_mutex_lock(&v->lock);
    v->over = true;
    pthread_mutex_unlock(&v->lock);
    pthread_join(v->thread, NULL);
    for (size_t i = 0; i < v->made; i++) {
        close_end(&v->pairs[i].client);
        close_end(&v->pairs[i].server);
    }
    close(v->listener);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

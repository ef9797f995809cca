#include "hsm-service/keeper/serve.h"

#include "base/clock.h"
#include "base/secret.h"
#include "base/trace.h"
#include "hsm-service/ipc.h"
#include "hsm-service/keeper/methods.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOST_AFTER   8  /* calls in a row for which the token was away */
#define END_LIMIT_S  15 /* a keeper that cannot end by then, since a call hangs, is ended by SIGALRM */
#define THREADS_MOST 256

struct server {
    struct tok *tok;
    int fd;
    const struct keeper_policy *policy;
    atomic_uint away; /* calls in a row that found the token away */
    atomic_bool lost;
};

/* One thread's own. */
struct worker {
    struct server *server;
    pthread_t thread;
    struct arena arena;
    uint8_t *packet; /* IPC_PACKET_BYTES, for the request and then for the answer */
    uint8_t pin_uses[IPC_PIN_USES_MAX * IPC_PIN_USE_BYTES];
};

static void worker_drop(struct worker *w)
{
    arena_drop(&w->arena);
    if (w->packet != NULL)
        (void)munmap(w->packet, IPC_PACKET_BYTES);
}

static enum err_code worker_init(struct worker *w, struct server *server, struct err *e)
{
    *w = (struct worker){.server = server};
    TRY(arena_init(&w->arena, e));
    void *const packet =
        mmap(NULL, IPC_PACKET_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (packet == MAP_FAILED)
        return err_errno(e, "no memory for a packet");
    (void)madvise(packet, IPC_PACKET_BYTES, MADV_DONTDUMP);
    w->packet = packet;
    return ERR_OK;
}

/* A token that is away for every call does not come back to this process: PKCS#11 wants a new C_Initialize.
 */
static void watch_token(struct server *s, bool away)
{
    if (!away) {
        atomic_store(&s->away, 0);
    } else if (atomic_fetch_add(&s->away, 1) + 1 >= LOST_AFTER && !atomic_exchange(&s->lost, true)) {
        (void)shutdown(s->fd, SHUT_RD); /* wakes the other threads; answers still go out */
    }
}

static enum err_code serve_frame(struct worker *w, const struct ipc_frame *in, struct keeper_call *call,
                                 ProtobufCBinaryData *out_answer, struct err *e)
{
    if (in->kind != IPC_REQUEST)
        return err_set(e, ERR_INPUT, "a keeper takes requests only");
    if (clock_monotonic_ms() >= in->deadline_ms)
        return err_set(e, ERR_TIMEOUT, "the deadline passed while the call waited for a keeper");
    const enum err_code code = methods_serve(call, in->method, in->body, in->body_len, out_answer, e);
    watch_token(w->server, call->token_away);
    return code;
}

/* False when the front is gone. */
static bool serve_packet(struct worker *w, size_t len)
{
    struct err e = {0};
    struct ipc_frame in = {0};
    struct keeper_call call = {.tok = w->server->tok, .arena = &w->arena, .policy = w->server->policy};
    ProtobufCBinaryData answer = {0};
    enum err_code code = ipc_decode(w->packet, len, &in, &e);
    if (code != ERR_OK)
        return false; /* the two are one binary: a front that speaks nonsense is not served */
    const struct trace before = trace_enter(trace_parse(in.traceparent, in.traceparent_len));
    call.deadline_ms = in.deadline_ms;
    call.refused = in.refused;
    call.pin_uses = w->pin_uses;
    code = serve_frame(w, &in, &call, &answer, &e);
    (void)trace_enter(before);
    struct ipc_frame out = {.kind = code == ERR_OK ? IPC_RESPONSE : IPC_FAILURE,
                            .method = in.method,
                            .request_id = in.request_id,
                            .operations = call.operations > 0 ? call.operations : 1,
                            .error = code,
                            .native = code == ERR_OK ? (call.token_away ? IPC_TOKEN_AWAY : 0) : e.native,
                            .pin_uses = w->pin_uses,
                            .pin_use_count = call.pin_use_count,
                            .body = code == ERR_OK ? answer.data : (const uint8_t *)e.note,
                            .body_len = code == ERR_OK ? answer.len : strlen(e.note)};
    size_t out_len = 0;
    struct err send_e = {0};
    code = ipc_encode(&out, w->packet, IPC_PACKET_BYTES, &out_len, &send_e);
    if (code == ERR_OK)
        code = ipc_send(w->server->fd, w->packet, out_len, true, &send_e);
    secret_wipe(w->packet, len > out_len ? len : out_len);
    secret_wipe(w->pin_uses, call.pin_use_count * IPC_PIN_USE_BYTES);
    arena_reset(&w->arena);
    return code == ERR_OK;
}

static void *work(void *context)
{
    struct worker *const w = context;
    struct err e = {0};
    size_t len = 0;
    while (ipc_receive(w->server->fd, w->packet, true, &len, &e) == ERR_OK && len > 0)
        if (!serve_packet(w, len))
            break;
    (void)shutdown(w->server->fd, SHUT_RD); /* all threads end together */
    (void)alarm(END_LIMIT_S);
    return NULL;
}

static enum err_code start_workers(struct worker *workers, size_t count, struct server *server,
                                   size_t *out_started, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        TRY(worker_init(&workers[i], server, e));
        const int failed = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
        if (failed != 0)
            return err_native(e, ERR_IO, failed, "cannot start a thread: %s", strerror(failed));
        *out_started = i + 1;
    }
    return ERR_OK;
}

enum err_code serve_until_closed(struct tok *tok, int fd, size_t threads, const struct keeper_policy *policy,
                                 struct err *e)
{
    if (threads > THREADS_MOST)
        return err_set(e, ERR_INPUT, "a keeper has at most %d threads", THREADS_MOST);
    struct server server = {.tok = tok, .fd = fd, .policy = policy};
    struct worker *const workers = calloc(threads, sizeof *workers);
    if (workers == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the keeper's threads");
    size_t started = 0;
    enum err_code code = start_workers(workers, threads, &server, &started, e);
    if (code != ERR_OK)
        (void)shutdown(fd, SHUT_RDWR);
    for (size_t i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    for (size_t i = 0; i < threads; i++)
        worker_drop(&workers[i]);
    free(workers);
    if (code == ERR_OK && atomic_load(&server.lost))
        code = err_set(e, ERR_UNAVAILABLE, "the token was away for %d calls in a row", LOST_AFTER);
    return code;
}

/* The front's one thread: reads what keepers say, and looks at the clock. */
#include "hsm-service/front/front.h"
#include "hsm-service/front/release.h"
#include "hsm-service/front/state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TICK_MS        20 /* deadlines are met within this */
#define PACKETS_A_TURN 64 /* from one keeper before the next gets its turn */
#define REASSERT_EVERY 25 /* ticks between tellings that the service does not serve */

static void answer(struct front_call *call, const struct release *release)
{
    if (call->rpc == NULL)
        return;
    if (release->failed)
        rpc_call_fail(call->rpc, &release->failure);
    else
        rpc_call_finish(call->rpc, release->body.data, release->body.len);
}

/* What the loop does with an answer once the mutex is free. */
static void finish(struct front *f, struct front_call *call, const struct ipc_frame *frame)
{
    if (call == NULL)
        return; /* answered before */
    if (call->asked != NULL) {
        call->asked(f, call->asked_context, frame);
    } else {
        struct release release = release_answer(f, call, frame);
        front_operations_answer(f->kinds, &call->facts, &release);
        if (!front_audit_answer(f->audit, call, &release))
            answer(call, &release);
        release_drop(&release);
    }
    front_call_free(call);
}

/* All of a call, or items of a batch. */
static bool found_token_away(const struct ipc_frame *frame)
{
    return frame->kind == IPC_FAILURE ? frame->error == ERR_UNAVAILABLE : frame->native == IPC_TOKEN_AWAY;
}

/* *out_call NULL: it is back in the queue. */
static void try_again(struct front *f, const struct front_keeper *k, const struct ipc_frame *frame,
                      struct front_call **out_call)
{
    struct front_call *const call = *out_call;
    if (!front_try_again(f, call, k))
        return;
    if (call->asked == NULL) {
        const struct release seen = release_view(frame);
        front_operations_retry(f->kinds, &call->facts, &seen);
    }
    *out_call = NULL;
}

/* False when the packet makes no sense in the keeper's state. */
static bool handle(struct front *f, struct front_keeper *k, const struct ipc_frame *frame,
                   struct front_call **out_call, struct front_calls *out_failed)
{
    const bool starting = k->state == KEEPER_STARTING;
    bool known;
    switch (frame->kind) {
    case IPC_READY:
        if (starting)
            front_keeper_ready(f, k, frame, out_failed);
        break;
    case IPC_START_FAILED:
        if (starting)
            front_keeper_start_failed(f, k, frame, out_failed);
        break;
    case IPC_NOTICE:
        front_keeper_notice(f, k, frame);
        return true;
    case IPC_RESPONSE:
    case IPC_FAILURE:
        if (starting)
            return false;
        *out_call = front_answered(k, frame->request_id);
        known = *out_call != NULL;
        if (*out_call != NULL && (*out_call)->asked == NULL)
            front_health_answered(f, &f->pool.tokens[k->token], frame);
        if (*out_call != NULL && found_token_away(frame))
            try_again(f, k, frame, out_call);
        k->operations += frame->operations;
        f->operations += frame->operations;
        if (f->pool.tokens[k->token].failures > 0)
            f->pool.tokens[k->token].failures--; /* it works: the next loss is not one in a row */
        return known;
    case IPC_REQUEST:
    case IPC_KIND_COUNT:
        return false;
    }
    return starting;
}

/* One packet. False: nothing more to read from this keeper now. */
static bool read_one(struct front *f, struct front_keeper *k, uint8_t *packet)
{
    struct err e = {0};
    struct ipc_frame frame = {0};
    struct front_call *call = NULL;
    struct front_calls failed = TAILQ_HEAD_INITIALIZER(failed);
    size_t len = 0;
    const enum err_code code = ipc_receive(k->fd, packet, false, &len, &e);
    if (code == ERR_LIMIT)
        return false;
    pthread_mutex_lock(&f->lock);
    if (code == ERR_OK && len == 0)
        front_keeper_lost(f, k, "it closed its socket", &failed);
    else if (code != ERR_OK || ipc_decode(packet, len, &frame, &e) != ERR_OK)
        front_keeper_lost(f, k, e.note, &failed);
    else if (!handle(f, k, &frame, &call, &failed))
        front_keeper_lost(f, k, "it sent a packet that was not asked for", &failed);
    front_pump(f, &failed);
    const bool more = k->fd >= 0;
    pthread_mutex_unlock(&f->lock);
    finish(f, call, &frame);
    secret_wipe(packet, len); /* may hold track data */
    front_answer_failed(f, &failed);
    return more;
}

static void drain_wake(const struct front *f)
{
    uint64_t count;
    (void)!read(f->wake_fd, &count, sizeof count);
}

/* Wait for packets; the pollfd of slot i is fds[i], of the eventfd the one after the last. */
static void wait_for_packets(struct front *f, uint8_t *packet)
{
    struct pollfd fds[FRONT_KEEPERS + 1];
    for (size_t i = 0; i < FRONT_KEEPERS; i++) {
        const enum keeper_state state = f->keepers[i].state; /* only this thread changes it */
        const bool open = state != KEEPER_NONE && state != KEEPER_ENDING;
        fds[i] = (struct pollfd){.fd = open ? f->keepers[i].fd : -1, .events = POLLIN};
    }
    fds[FRONT_KEEPERS] = (struct pollfd){.fd = f->wake_fd, .events = POLLIN};
    if (poll(fds, FRONT_KEEPERS + 1, TICK_MS) <= 0)
        return;
    if (fds[FRONT_KEEPERS].revents != 0)
        drain_wake(f);
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        for (int n = 0; fds[i].revents != 0 && n < PACKETS_A_TURN; n++)
            if (!read_one(f, &f->keepers[i], packet))
                break;
}

/* Health follows the keepers. service_main says SERVING once after the start, so "not" is told again now and
 * then. */
static void tell_health(struct front *f, bool *serving, unsigned tick)
{
    pthread_mutex_lock(&f->lock);
    const bool now = front_health_serving(f), leave = f->draining;
    pthread_mutex_unlock(&f->lock);
    if (leave || (now == *serving && (now || tick % REASSERT_EVERY != 0)))
        return;
    for (int plane = 0; plane < FRONT_PLANES; plane++)
        rpc_server_set_serving(f->servers[plane], now);
    *serving = now;
}

/* Looks at the clock; true when all is done. */
static bool tick(struct front *f)
{
    struct front_calls failed = TAILQ_HEAD_INITIALIZER(failed);
    const int64_t now_ms = clock_monotonic_ms();
    pthread_mutex_lock(&f->lock);
    front_expire(f, now_ms, &failed);
    if (f->stopping)
        front_keepers_release(f);
    front_keepers_tend(f, now_ms, &failed);
    front_health_tick(f, now_ms);
    if (front_pool_is_away(&f->pool))
        front_flush(f, &failed); /* nothing waits for tokens that are all away */
    front_audit_tick(f, now_ms);
    const bool done = f->stopping && front_keepers_gone(f);
    pthread_mutex_unlock(&f->lock);
    front_answer_failed(f, &failed);
    return done;
}

static void *run(void *context)
{
    struct front *const f = context;
    uint8_t *const packet = malloc(IPC_PACKET_BYTES);
    if (packet == NULL) {
        log_event(LOG_ERROR, "no memory for the front's loop: no keeper will start");
        return NULL;
    }
    bool serving = false;
    int64_t next_ms = 0;
    for (unsigned ticks = 0;;) {
        wait_for_packets(f, packet);
        if (clock_monotonic_ms() < next_ms)
            continue;
        if (tick(f))
            break;
        tell_health(f, &serving, ticks++);
        next_ms = clock_monotonic_ms() + TICK_MS / 2;
    }
    free(packet);
    return NULL;
}

enum err_code front_loop_start(struct front *f, struct err *e)
{
    f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (f->wake_fd < 0)
        return err_errno(e, "cannot make the front's wake-up");
    const int failed = pthread_create(&f->loop, NULL, run, f);
    if (failed != 0)
        return err_native(e, ERR_IO, failed, "cannot start the front's loop: %s", strerror(failed));
    f->loop_runs = true;
    return ERR_OK;
}

void front_loop_join(struct front *f)
{
    if (f->loop_runs)
        pthread_join(f->loop, NULL);
    f->loop_runs = false;
    if (f->wake_fd >= 0)
        close(f->wake_fd);
    f->wake_fd = -1;
}

/* The life of one keeper process: started, ready, lost or let go, reaped. */
#include "hsm-service/front/keepers_inside.h"

#include "base/clock.h"
#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACK_OFF_FIRST_MS 100
#define BACK_OFF_MOST_MS  30000
#define KEEPER_LOST_TOKEN 1     /* keeper.h: exit status */
#define REAP_MS           100   /* at most this long the loop waits for a process that it killed */
#define SHORT_LIFE_MS     10000 /* a keeper that dies younger counts as a failure in a row */

static struct front_token *token_of(struct front *f, const struct front_keeper *k)
{
    return &f->pool.tokens[k->token];
}

static void set_state(struct front *f, struct front_keeper *k, enum keeper_state state)
{
    struct front_token *const t = token_of(f, k);
    f->ready -= k->state == KEEPER_READY;
    f->ready += state == KEEPER_READY;
    t->ready -= k->state == KEEPER_READY;
    t->ready += state == KEEPER_READY;
    k->state = state;
    k->since_ms = clock_monotonic_ms();
}

static void back_off(struct front_token *t)
{
    int64_t wait_ms = BACK_OFF_FIRST_MS;
    for (unsigned i = 0; i < t->failures && wait_ms < BACK_OFF_MOST_MS; i++)
        wait_ms *= 2;
    t->failures++;
    t->next_start_ms = clock_monotonic_ms() + (wait_ms < BACK_OFF_MOST_MS ? wait_ms : BACK_OFF_MOST_MS);
}

static void log_keeper(const struct front *f, enum log_level level, const char *event,
                       const struct front_keeper *k, const char *reason)
{
    log_event(level, event, LOG_INT("keeper", k->number), LOG_INT("pid", k->pid), LOG_STR("reason", reason),
              LOG_INT("operations", k->operations), LOG_STR("of", f->pool.tokens[k->token].is.name));
}

void front_keeper_close(struct front *f, struct front_keeper *k)
{
    close(k->fd);
    k->fd = -1;
    set_state(f, k, KEEPER_ENDING);
}

/* Reap; true when the process has ended: its slot is free again. */
static bool reap(struct front *f, struct front_keeper *k, int *out_status)
{
    char how[48] = "unknown";
    int status = 0;
    const pid_t ended = waitpid(k->pid, &status, WNOHANG);
    if (ended == 0)
        return false;
    if (ended == k->pid && WIFEXITED(status))
        snprintf(how, sizeof how, "exit status %d", WEXITSTATUS(status));
    else if (ended == k->pid && WIFSIGNALED(status))
        snprintf(how, sizeof how, "signal %d", WTERMSIG(status));
    log_keeper(f, LOG_INFO, "keeper ended", k, how);
    front_health_ended(f, k);
    set_state(f, k, KEEPER_NONE);
    *out_status = status;
    return true;
}

static unsigned blame_of(int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == KEEPER_LOST_TOKEN)
        return FRONT_BLAME_NONE;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? FRONT_BLAME_KILLED : FRONT_BLAME_CRASH;
}

/* End a keeper that lost its socket or is not trusted any more, and say how much its calls are to blame: a
 * process that was crashing keeps the status of its crash, SIGKILL comes too late to change that. */
static unsigned end_now(struct front *f, struct front_keeper *k)
{
    int status = 0;
    (void)kill(k->pid, SIGKILL);
    for (int waited_ms = 0; waited_ms < REAP_MS; waited_ms++) {
        if (reap(f, k, &status))
            return blame_of(status);
        clock_sleep_ms(1);
    }
    return FRONT_BLAME_KILLED; /* it ends later: front_keeper_tend waits for it */
}

/* A keeper that was let go and stays is killed. */
static void wait_for_end(struct front *f, struct front_keeper *k, int64_t now_ms)
{
    int status = 0;
    if (!reap(f, k, &status) && now_ms - k->since_ms > f->config->hang_ms)
        (void)kill(k->pid, SIGKILL);
}

void front_keeper_not_started(struct front *f, struct front_token *t, const struct err *e,
                              struct front_calls *out_failed)
{
    t->start_error = *e;
    t->start_failed = true;
    t->reported = true;
    t->halted = e->code == ERR_UNAUTHENTICATED;
    back_off(t);
    if (t->halted)
        log_failure(LOG_ERROR,
                    "keepers are halted: the token refused the login; mend token.pin_file, send SIGHUP", e,
                    LOG_STR("of", t->is.name));
    if (t->ready == 0)
        front_health_no_keeper(f, t, e->note);
    if (f->ready == 0 && !front_pool_takes(&f->pool))
        front_flush(f, out_failed);
    pthread_cond_broadcast(&f->changed);
}

/* Its keepers finish what they have: they worked with the keys that count. */
static void keep_out(struct front *f, struct front_keeper *k, const char *difference,
                     struct front_calls *out_failed)
{
    struct front_token *const t = token_of(f, k);
    struct err e = {0};
    char note[200];
    (void)err_set(&e, ERR_CHECK, "%s", difference);
    snprintf(note, sizeof note, "%.40s: %.150s", t->is.name, difference);
    if (!t->kept_out || strcmp(t->difference, difference) != 0) {
        log_event(LOG_ERROR, "token kept out", LOG_STR("of", t->is.name), LOG_STR("why", difference));
        front_audit_event(f->audit, AUDIT_SERVICE, "token kept out", &e, note);
    }
    t->kept_out = true;
    snprintf(t->difference, sizeof t->difference, "%s", difference);
    front_keeper_close(f, k);
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        if (f->keepers[i].state == KEEPER_READY && token_of(f, &f->keepers[i]) == t)
            set_state(f, &f->keepers[i], KEEPER_RETIRING);
    back_off(t);
    if (f->ready == 0 && !front_pool_takes(&f->pool))
        front_flush(f, out_failed);
    pthread_cond_broadcast(&f->changed);
}

static void let_in(struct front *f, struct front_token *t)
{
    if (t->kept_out) {
        log_event(LOG_INFO, "token let in", LOG_STR("of", t->is.name));
        front_audit_event(f->audit, AUDIT_SERVICE, "token let in", NULL, t->is.name);
        t->failures = 0;
    }
    t->kept_out = false;
    t->ever_ready = true;
    t->start_failed = false;
}

/* A description, and behind the first end of line the keys. *out_line is the caller's, *out_keys of malloc.
 */
static enum err_code read_ready(const struct ipc_frame *frame, char out_line[IPC_READY_LINE_BYTES],
                                char **out_keys, struct err *e)
{
    const char *const text = (const char *)frame->body;
    const char *const end = frame->body_len > 0 ? memchr(text, '\n', frame->body_len) : NULL;
    const size_t line_len = end != NULL ? (size_t)(end - text) : frame->body_len;
    char *const keys = end != NULL ? strndup(end + 1, frame->body_len - line_len - 1) : strdup("");
    if (keys == NULL)
        return err_set(e, ERR_LIMIT, "no memory for the keys of a token");
    snprintf(out_line, IPC_READY_LINE_BYTES, "%.*s", (int)line_len, text != NULL ? text : "");
    *out_keys = keys;
    return ERR_OK;
}

static void take_ready(struct front *f, struct front_keeper *k, const char *line)
{
    struct front_token *const t = token_of(f, k);
    log_event(LOG_INFO, "keeper ready", LOG_INT("keeper", k->number), LOG_INT("pid", k->pid),
              LOG_STR("token", line), LOG_INT("took_ms", clock_monotonic_ms() - k->since_ms),
              LOG_STR("of", t->is.name));
    front_audit_event(f->audit, AUDIT_LOGIN, "keeper logged in", NULL, line);
    let_in(f, t);
    set_state(f, k, KEEPER_READY);
    front_audit_keeper_ready(f, (size_t)(k - f->keepers));
    k->probed_ms = clock_monotonic_ms(); /* its start was a probe */
    pthread_cond_broadcast(&f->changed);
}

void front_keeper_ready(struct front *f, struct front_keeper *k, const struct ipc_frame *frame,
                        struct front_calls *out_failed)
{
    char line[IPC_READY_LINE_BYTES], difference[POOL_DIFFERENCE_BYTES];
    char *keys = NULL;
    struct err e = {0};
    if (read_ready(frame, line, &keys, &e) != ERR_OK) {
        log_failure(LOG_ERROR, "keeper could not start", &e, LOG_INT("keeper", k->number));
        front_keeper_close(f, k);
        front_keeper_not_started(f, token_of(f, k), &e, out_failed);
        return;
    }
    front_health_ready(f, token_of(f, k));
    if (k->stale && !front_pool_is_reference(&f->pool, keys))
        front_keeper_close(f, k); /* it read them before the reload */
    else if (k->stale || front_pool_admits(&f->pool, k->token, keys, difference))
        take_ready(f, k, line);
    else
        keep_out(f, k, difference, out_failed);
    free(keys);
}

void front_keeper_notice(struct front *f, const struct front_keeper *k, const struct ipc_frame *frame)
{
    char text[200];
    const char *const line = text;
    snprintf(text, sizeof text, "%.*s",
             (int)(frame->body_len < sizeof text ? frame->body_len : sizeof text - 1),
             (const char *)frame->body);
    log_event(LOG_WARN, "keeper notice", LOG_INT("keeper", k->number), LOG_INT("pid", k->pid),
              LOG_STR("notice", line));
    front_audit_event(f->audit, AUDIT_SERVICE, "keeper notice", NULL, line);
}

void front_keeper_start_failed(struct front *f, struct front_keeper *k, const struct ipc_frame *frame,
                               struct front_calls *out_failed)
{
    struct err e = {0};
    (void)ipc_failure(frame, &e);
    log_failure(LOG_ERROR, "keeper could not start", &e, LOG_INT("keeper", k->number), LOG_INT("pid", k->pid),
                LOG_STR("of", token_of(f, k)->is.name));
    front_audit_event(f->audit, AUDIT_LOGIN, "keeper could not start", &e, e.note);
    front_keeper_close(f, k);
    front_keeper_not_started(f, token_of(f, k), &e, out_failed);
}

void front_keeper_lost(struct front *f, struct front_keeper *k, const char *reason,
                       struct front_calls *out_failed)
{
    const int64_t now_ms = clock_monotonic_ms();
    const enum keeper_state was = k->state;
    const int64_t lived_ms = now_ms - k->since_ms;
    log_keeper(f, LOG_WARN, "keeper lost", k, reason);
    front_audit_event(f->audit, AUDIT_SERVICE, "keeper lost", NULL, reason);
    front_keeper_close(f, k);
    const unsigned blame = end_now(f, k);
    f->restarts++;
    if (was == KEEPER_STARTING) {
        struct err e = {0};
        (void)err_set(&e, ERR_UNAVAILABLE, "a keeper ended during its start: %s", reason);
        front_keeper_not_started(f, token_of(f, k), &e, out_failed);
    } else if (was == KEEPER_READY && lived_ms < SHORT_LIFE_MS) {
        back_off(token_of(f, k));
    } else if (was == KEEPER_READY) { /* the end of one that retires says nothing of its token */
        token_of(f, k)->failures = 0;
    }
    front_orphan(f, k, blame, INT64_MAX, out_failed);
    front_pump(f, out_failed);
}

/* A call that is with its keeper for too long. It, not its neighbours, is held to be the cause. */
static void kill_hung(struct front *f, struct front_keeper *k, int64_t now_ms, struct front_calls *out_failed)
{
    const int64_t before_ms = now_ms - f->config->hang_ms;
    const struct front_call *const oldest = TAILQ_FIRST(&k->calls);
    if (oldest == NULL || oldest->sent_ms >= before_ms)
        return;
    front_orphan(f, k, FRONT_BLAME_CRASH, before_ms, out_failed);
    front_keeper_lost(f, k, "a call hung: keepers.hang_ms", out_failed);
}

void front_keeper_tend(struct front *f, struct front_keeper *k, int64_t now_ms,
                       struct front_calls *out_failed)
{
    switch (k->state) {
    case KEEPER_NONE:
        return;
    case KEEPER_STARTING:
        if (now_ms - k->since_ms > f->config->start_ms)
            front_keeper_lost(f, k, "its start took too long: keepers.start_ms", out_failed);
        return;
    case KEEPER_READY:
        if (!k->stale && k->operations >= (uint64_t)f->config->retire_after) {
            k->stale = true;
            f->retirements++;
        }
        if (k->broken)
            front_keeper_lost(f, k, "it takes no packets, or its token failed a probe", out_failed);
        else
            kill_hung(f, k, now_ms, out_failed);
        return;
    case KEEPER_RETIRING:
        if (k->load == 0)
            front_keeper_close(f, k); /* the keeper reads the end and finalises its module */
        else
            kill_hung(f, k, now_ms, out_failed);
        return;
    case KEEPER_ENDING:
        wait_for_end(f, k, now_ms);
        return;
    }
}

enum err_code front_keeper_start(struct front *f, unsigned token, struct front_keeper *k, struct err *e)
{
    int fds[2];
    TRY(ipc_pair(fds, e));
    pid_t pid = -1;
    const enum err_code code = front_spawn(f, &f->pool.tokens[token].is, fds[1], &pid, e);
    close(fds[1]);
    if (code != ERR_OK) {
        close(fds[0]);
        return code;
    }
    *k = (struct front_keeper){
        .token = token, .pid = pid, .fd = fds[0], .number = ++f->next_number, .epoch = f->epoch};
    TAILQ_INIT(&k->calls);
    set_state(f, k, KEEPER_STARTING);
    log_keeper(f, LOG_INFO, "keeper starting", k,
               f->reload         ? "reload"
               : f->restarts > 0 ? "replacement"
                                 : "wanted");
    return ERR_OK;
}

void front_keeper_retire(struct front *f, struct front_keeper *k)
{
    log_keeper(f, LOG_INFO, "keeper retires", k, "its successor is ready");
    set_state(f, k, KEEPER_RETIRING);
}

/* Which keepers there are: a plan that is looked at again on every tick, not a chain of events.
 *
 * Wanted are keepers.count fresh keepers of each token. One start of a token at a time, since starts that
 * overlap fail now and then. A stale keeper goes on taking calls until its successor is ready; after a
 * reload, until as many new ones as are wanted are. */
#include "hsm-service/front/state.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
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

static void close_socket(struct front *f, struct front_keeper *k)
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
    return FRONT_BLAME_KILLED; /* it ends later: tend_one waits for it */
}

/* A keeper that was let go and stays is killed. */
static void wait_for_end(struct front *f, struct front_keeper *k, int64_t now_ms)
{
    int status = 0;
    if (!reap(f, k, &status) && now_ms - k->since_ms > f->config->hang_ms)
        (void)kill(k->pid, SIGKILL);
}

/* A start that failed: those who wait hear why, and nothing is tried in a tight loop. */
static void note_failed_start(struct front *f, struct front_token *t, const struct err *e,
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
    close_socket(f, k);
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
        close_socket(f, k);
        note_failed_start(f, token_of(f, k), &e, out_failed);
        return;
    }
    front_health_ready(f, token_of(f, k));
    if (k->stale && !front_pool_is_reference(&f->pool, keys))
        close_socket(f, k); /* it read them before the reload */
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
    (void)err_native(&e, frame->error, (long)frame->native, "%.*s",
                     (int)(frame->body_len < 199 ? frame->body_len : 199), (const char *)frame->body);
    log_failure(LOG_ERROR, "keeper could not start", &e, LOG_INT("keeper", k->number), LOG_INT("pid", k->pid),
                LOG_STR("of", token_of(f, k)->is.name));
    front_audit_event(f->audit, AUDIT_LOGIN, "keeper could not start", &e, e.note);
    close_socket(f, k);
    note_failed_start(f, token_of(f, k), &e, out_failed);
}

void front_keeper_lost(struct front *f, struct front_keeper *k, const char *reason,
                       struct front_calls *out_failed)
{
    const int64_t now_ms = clock_monotonic_ms();
    const enum keeper_state was = k->state;
    const int64_t lived_ms = now_ms - k->since_ms;
    log_keeper(f, LOG_WARN, "keeper lost", k, reason);
    front_audit_event(f->audit, AUDIT_SERVICE, "keeper lost", NULL, reason);
    close_socket(f, k);
    const unsigned blame = end_now(f, k);
    f->restarts++;
    if (was == KEEPER_STARTING) {
        struct err e = {0};
        (void)err_set(&e, ERR_UNAVAILABLE, "a keeper ended during its start: %s", reason);
        note_failed_start(f, token_of(f, k), &e, out_failed);
    } else if (lived_ms < SHORT_LIFE_MS) {
        back_off(token_of(f, k));
    } else {
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

static void tend_one(struct front *f, struct front_keeper *k, int64_t now_ms, struct front_calls *out_failed)
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
            close_socket(f, k); /* the keeper reads the end and finalises its module */
        else
            kill_hung(f, k, now_ms, out_failed);
        return;
    case KEEPER_ENDING:
        wait_for_end(f, k, now_ms);
        return;
    }
}

static enum err_code start_keeper(struct front *f, unsigned token, struct front_keeper *k, struct err *e)
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

struct tally {
    unsigned starting, fresh;
    struct front_keeper *free_slot, *oldest_stale;
};

static struct tally count_keepers(struct front *f, unsigned token)
{
    struct tally t = {0};
    for (size_t i = 0; i < FRONT_KEEPERS; i++) {
        struct front_keeper *const k = &f->keepers[i];
        if (k->state == KEEPER_NONE && t.free_slot == NULL)
            t.free_slot = k;
        if (k->state == KEEPER_NONE || k->token != token)
            continue;
        t.starting += k->state == KEEPER_STARTING;
        t.fresh += k->state == KEEPER_READY && !k->stale;
        if (k->state == KEEPER_READY && k->stale &&
            (t.oldest_stale == NULL || k->number < t.oldest_stale->number))
            t.oldest_stale = k;
    }
    return t;
}

static void apply_reload(struct front *f, int64_t now_ms)
{
    f->reload = false;
    f->epoch++;
    front_pool_reload(&f->pool, now_ms);
    for (size_t i = 0; i < f->pool.count; i++) {
        struct front_token *const t = &f->pool.tokens[i];
        t->halted = false;
        t->failures = 0;
        t->next_start_ms = now_ms;
    }
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        f->keepers[i].stale = f->keepers[i].state == KEEPER_STARTING || f->keepers[i].state == KEEPER_READY;
}

static void tend_token(struct front *f, unsigned token, int64_t now_ms, struct front_calls *out_failed)
{
    struct front_token *const of = &f->pool.tokens[token];
    const struct tally t = count_keepers(f, token);
    if (t.fresh < (unsigned)f->config->keeper_count && t.starting == 0 && !of->halted &&
        now_ms >= of->next_start_ms && t.free_slot != NULL && front_pool_may_start(&f->pool, token, now_ms)) {
        struct err e = {0};
        if (start_keeper(f, token, t.free_slot, &e) != ERR_OK) {
            log_failure(LOG_ERROR, "keeper could not start", &e, LOG_STR("of", of->is.name));
            note_failed_start(f, of, &e, out_failed);
        }
    }
}

static bool old_ones_serve(const struct front *f)
{
    for (size_t i = 0; i < FRONT_KEEPERS; i++) {
        const struct front_keeper *const k = &f->keepers[i];
        if (k->state == KEEPER_READY && k->epoch == f->serving && !k->broken)
            return true;
    }
    return false;
}

/* After a reload the new keepers take over together: what one of them seals under a new key, the others, and
 * no keeper that does not know the key, are asked to open. Where they cannot all start, those that can. */
static void take_over(struct front *f)
{
    bool all = true;
    unsigned fresh = 0;
    if (f->serving == f->epoch)
        return;
    for (unsigned i = 0; i < f->pool.count; i++) {
        const struct front_token *const of = &f->pool.tokens[i];
        const unsigned of_token = count_keepers(f, i).fresh;
        fresh += of_token;
        all = all && (of_token >= (unsigned)f->config->keeper_count || of->failures > 0 || of->halted ||
                      of->kept_out);
    }
    if (fresh > 0 && (all || !old_ones_serve(f)))
        f->serving = f->epoch;
}

static void retire(struct front *f, struct front_keeper *k)
{
    log_keeper(f, LOG_INFO, "keeper retires", k, "its successor is ready");
    set_state(f, k, KEEPER_RETIRING);
}

/* Those of earlier epochs all go once the new ones serve; within an epoch one by one. */
static void retire_stale(struct front *f)
{
    for (size_t i = 0; i < FRONT_KEEPERS; i++) {
        struct front_keeper *const k = &f->keepers[i];
        if (k->state == KEEPER_READY && k->epoch != f->epoch && k->epoch != f->serving)
            retire(f, k);
    }
    for (unsigned i = 0; f->serving == f->epoch && i < f->pool.count; i++) {
        struct front_keeper *const oldest = count_keepers(f, i).oldest_stale;
        if (oldest != NULL && f->pool.tokens[i].ready > (unsigned)f->config->keeper_count)
            retire(f, oldest);
    }
}

void front_keepers_tend(struct front *f, int64_t now_ms, struct front_calls *out_failed)
{
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        tend_one(f, &f->keepers[i], now_ms, out_failed);
    if (f->stopping)
        return;
    if (f->reload)
        apply_reload(f, now_ms);
    for (unsigned i = 0; i < f->pool.count; i++)
        tend_token(f, i, now_ms, out_failed);
    take_over(f);
    retire_stale(f);
    front_pump(f, out_failed);
}

void front_keepers_release(struct front *f, int64_t now_ms)
{
    (void)now_ms;
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        if (f->keepers[i].state != KEEPER_NONE && f->keepers[i].state != KEEPER_ENDING)
            close_socket(f, &f->keepers[i]);
}

bool front_keepers_gone(const struct front *f)
{
    for (size_t i = 0; i < FRONT_KEEPERS; i++)
        if (f->keepers[i].state != KEEPER_NONE)
            return false;
    return true;
}

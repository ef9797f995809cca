#include "p11/state.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define QUIET_PATIENCE_S 2

static enum err_code open_session(struct tok_session *s, struct err *e)
{
    CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
    TRY(tok_rv(s->fn->C_OpenSession(s->tok->slot, CKF_SERIAL_SESSION, NULL, NULL, &handle), "C_OpenSession",
               e));
    s->handle = handle;
    return ERR_OK;
}

static void close_session(struct tok_session *s)
{
    if (s->handle != CK_INVALID_HANDLE)
        s->fn->C_CloseSession(s->handle);
    s->handle = CK_INVALID_HANDLE;
}

enum err_code tok_session_open_rw(struct tok *tok, struct tok_session *out_session, struct err *e)
{
    CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
    TRY(tok_rv(tok->fn->C_OpenSession(tok->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &handle),
               "C_OpenSession", e));
    *out_session = (struct tok_session){.tok = tok, .fn = tok->fn, .handle = handle};
    return ERR_OK;
}

void tok_session_drop(struct tok_session *session)
{
    if (session->fn != NULL)
        close_session(session);
}

enum err_code tok_pool_open(struct tok *tok, size_t count, struct err *e)
{
    tok->sessions = calloc(count, sizeof *tok->sessions);
    tok->idle = calloc(count, sizeof(struct tok_session *));
    if (tok->sessions == NULL || tok->idle == NULL)
        return err_set(e, ERR_LIMIT, "no memory for %zu sessions", count);
    for (; tok->session_count < count; tok->session_count++) {
        struct tok_session *s = &tok->sessions[tok->session_count];
        *s = (struct tok_session){.tok = tok, .fn = tok->fn};
        TRY(open_session(s, e));
        tok->idle[tok->idle_count++] = s;
    }
    return ERR_OK;
}

void tok_pool_close(struct tok *tok)
{
    for (size_t i = 0; i < tok->session_count; i++)
        close_session(&tok->sessions[i]);
    free(tok->sessions);
    free(tok->idle);
    tok->sessions = NULL;
    tok->idle = NULL;
    tok->session_count = tok->idle_count = 0;
}

bool tok_session_alive(const struct tok_session *s)
{
    CK_SESSION_INFO info;
    return s->handle != CK_INVALID_HANDLE && s->fn->C_GetSessionInfo(s->handle, &info) == CKR_OK &&
           (info.state == CKS_RO_USER_FUNCTIONS || info.state == CKS_RW_USER_FUNCTIONS);
}

/* All sessions are idle or wait for this recovery: nobody is in a call of the module. */
static bool is_quiet(const struct tok *tok)
{
    return tok->idle_count + tok->recovering == tok->session_count;
}

/* Sessions that are lent come back when their calls fail; one that hangs is the front's affair. */
static enum err_code quiesce(struct tok *tok, struct err *e)
{
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += QUIET_PATIENCE_S;
    pthread_mutex_lock(&tok->lock);
    tok->reinitialising = true;
    while (!is_quiet(tok) && late == 0)
        late = pthread_cond_timedwait(&tok->given, &tok->lock, &until);
    const bool quiet = is_quiet(tok);
    tok->reinitialising = quiet;
    pthread_cond_broadcast(&tok->given);
    pthread_mutex_unlock(&tok->lock);
    return quiet ? ERR_OK
                 : err_set(e, ERR_UNAVAILABLE, "the token is away, and a call of it does not return");
}

static void lend_again(struct tok *tok)
{
    pthread_mutex_lock(&tok->lock);
    for (size_t i = 0; i < tok->session_count; i++)
        tok->sessions[i].handle = CK_INVALID_HANDLE; /* went with C_Finalize */
    tok->reinitialising = false;
    pthread_cond_broadcast(&tok->given);
    pthread_mutex_unlock(&tok->lock);
}

/* The rung before the last: the module has lost the token, or itself. After it this process gives up, and the
 * front starts another. */
static enum err_code reinitialise(struct tok *tok, struct err *e)
{
    TRY(quiesce(tok, e));
    enum err_code code = tok_reinitialise(tok, e);
    lend_again(tok);
    if (code == ERR_NOT_FOUND) /* it was there before, and may be again */
        code = e->code = ERR_UNAVAILABLE;
    TRY(code);
    atomic_fetch_add(&tok->reinitialised, 1);
    return ERR_OK;
}

static enum err_code reload_keys(struct tok *tok, struct err *e)
{
    TRY(tok_keys_reload(tok, e));
    atomic_store(&tok->stale, false);
    return ERR_OK;
}

/* The token was restarted: its login and every session object went with the holder. holder_lock is held. */
static enum err_code revive_holder(struct tok *tok, struct err *e)
{
    if (tok_session_alive(&tok->holder))
        return atomic_load(&tok->stale) ? reload_keys(tok, e) : ERR_OK;
    if (tok->holder.handle != CK_INVALID_HANDLE)
        tok->fn->C_CloseSession(tok->holder.handle);
    tok->holder.handle = CK_INVALID_HANDLE;
    tok_cache_forget(tok);
    atomic_store(&tok->stale, true);
    enum err_code code = tok_login(tok, e);
    if (code == ERR_OK)
        atomic_fetch_add(&tok->relogins, 1);
    else if (code == ERR_UNAVAILABLE)
        code = reinitialise(tok, e);
    return code == ERR_OK ? reload_keys(tok, e) : code;
}

static void count_recovering(struct tok *tok, int change)
{
    pthread_mutex_lock(&tok->lock);
    tok->recovering += (size_t)change;
    pthread_cond_broadcast(&tok->given);
    pthread_mutex_unlock(&tok->lock);
}

void tok_holder_take(struct tok *tok)
{
    count_recovering(tok, 1);
    pthread_mutex_lock(&tok->holder_lock);
    count_recovering(tok, -1);
}

static enum err_code revive(struct tok_session *s, struct err *e)
{
    count_recovering(s->tok, 1);
    pthread_mutex_lock(&s->tok->holder_lock);
    enum err_code code = revive_holder(s->tok, e);
    count_recovering(s->tok, -1);
    /* A session that lived through a logout is logged in again with the holder. */
    if (code == ERR_OK && !tok_session_alive(s)) {
        close_session(s);
        code = open_session(s, e);
    }
    pthread_mutex_unlock(&s->tok->holder_lock);
    return code == ERR_OK ? code
                          : err_context(e, "a session of the token was lost and cannot be opened anew");
}

enum err_code tok_session_take(struct tok *tok, struct tok_session **out_session, struct err *e)
{
    if (tok->pid != getpid())
        return err_set(e, ERR_STATE, "the token was opened before fork; open it in the process that uses it");
    pthread_mutex_lock(&tok->lock);
    while (tok->idle_count == 0 || tok->reinitialising)
        pthread_cond_wait(&tok->given, &tok->lock);
    struct tok_session *s = tok->idle[--tok->idle_count];
    pthread_mutex_unlock(&tok->lock);

    const bool sound = tok_session_alive(s) && !atomic_load(&tok->stale);
    const enum err_code code = sound ? ERR_OK : revive(s, e);
    if (code != ERR_OK) {
        tok_session_give(s);
        return code;
    }
    *out_session = s;
    return ERR_OK;
}

void tok_session_discard(struct tok_session *session)
{
    close_session(session);
    tok_session_give(session);
}

void tok_session_give(struct tok_session *session)
{
    struct tok *tok = session->tok;
    pthread_mutex_lock(&tok->lock);
    tok->idle[tok->idle_count++] = session;
    pthread_cond_broadcast(&tok->given); /* borrowers wait for it, and a recovery for all of them */
    pthread_mutex_unlock(&tok->lock);
}

void tok_health(struct tok *tok, struct tok_health *out_health)
{
    pthread_mutex_lock(&tok->lock);
    *out_health = (struct tok_health){.sessions = tok->session_count,
                                      .sessions_idle = tok->idle_count,
                                      .relogins = atomic_load(&tok->relogins),
                                      .reinitialised = atomic_load(&tok->reinitialised)};
    pthread_mutex_unlock(&tok->lock);
    tok_cache_tell(tok, out_health);
}

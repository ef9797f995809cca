/* The ladder: what is done, rung by rung, when a session or the token was lost. */
#include "p11/tok.h"

#include "base/wait.h"
#include "p11/keys/cache.h"
#include "p11/keys/find.h"
#include "p11/module/state.h"

#include <stdatomic.h>
#include <unistd.h>

#define QUIET_PATIENCE_MS 2000

/* All sessions are idle or wait for this recovery: nobody is in a call of the module. */
static bool is_quiet(const struct tok *tok)
{
    return tok->idle_count + tok->recovering == tok->session_count;
}

/* Sessions that are lent come back when their calls fail; one that hangs is the front's affair. */
static enum err_code quiesce(struct tok *tok, struct err *e)
{
    const struct timespec end = wait_end(QUIET_PATIENCE_MS);
    bool in_time = true;
    pthread_mutex_lock(&tok->lock);
    tok->reinitialising = true;
    while (!is_quiet(tok) && in_time)
        in_time = wait_until(&tok->given, &tok->lock, &end);
    const bool quiet = is_quiet(tok);
    tok->reinitialising = quiet;
    pthread_cond_broadcast(&tok->given);
    pthread_mutex_unlock(&tok->lock);
    return quiet ? ERR_OK
                 : err_set(e, ERR_UNAVAILABLE, "the token is unavailable, and a call of it does not return");
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

static enum err_code revive(struct tok_session *s, struct err *e)
{
    tok_count_recovering(s->tok, 1);
    pthread_mutex_lock(&s->tok->holder_lock);
    enum err_code code = revive_holder(s->tok, e);
    tok_count_recovering(s->tok, -1);
    /* A session that lived through a logout is logged in again with the holder. */
    if (code == ERR_OK && !tok_session_alive(s)) {
        code = tok_session_reopen(s, e);
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

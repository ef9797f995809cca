#include "p11/module/state.h"

#include <stdlib.h>

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

enum err_code tok_session_reopen(struct tok_session *s, struct err *e)
{
    close_session(s);
    return open_session(s, e);
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

enum err_code tok_sessions_open(struct tok *tok, size_t count, struct err *e)
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

void tok_sessions_close(struct tok *tok)
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

void tok_count_recovering(struct tok *tok, int change)
{
    pthread_mutex_lock(&tok->lock);
    tok->recovering += (size_t)change;
    pthread_cond_broadcast(&tok->given);
    pthread_mutex_unlock(&tok->lock);
}

void tok_holder_take(struct tok *tok)
{
    tok_count_recovering(tok, 1);
    pthread_mutex_lock(&tok->holder_lock);
    tok_count_recovering(tok, -1);
}

enum err_code tok_random(struct tok_session *session, uint8_t *out, size_t len, struct err *e)
{
    return tok_rv(session->fn->C_GenerateRandom(session->handle, out, len), "C_GenerateRandom", e);
}

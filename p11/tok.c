#include "p11/tok.h"

#include "base/wait.h"
#include "p11/keys/cache.h"
#include "p11/keys/find.h"
#include "p11/module/state.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SESSIONS_MAX 256

static enum err_code check_options(const struct tok_options *options, struct err *e)
{
    if (options->module_path == NULL || options->token_label == NULL || options->pin_path == NULL)
        return err_set(e, ERR_INPUT, "a token needs module_path, token_label and pin_path");
    if (options->session_count < 1 || options->session_count > SESSIONS_MAX)
        return err_set(e, ERR_INPUT, "session_count is %zu; give 1 to %d", options->session_count,
                       SESSIONS_MAX);
    return ERR_OK;
}

static void free_tok(struct tok *tok)
{
    tok_cache_free(tok);
    tok_keys_free(tok);
    pthread_mutex_destroy(&tok->keys_lock);
    pthread_mutex_destroy(&tok->holder_lock);
    pthread_mutex_destroy(&tok->lock);
    pthread_cond_destroy(&tok->given);
    free(tok->ways);
    free(tok->pin_path);
    free(tok->lock_path);
    free(tok->label);
    free(tok->serial);
    free(tok->init_string);
    free(tok);
}

static enum err_code new_tok(const struct tok_options *options, struct tok **out_tok, struct err *e)
{
    struct tok *tok = calloc(1, sizeof *tok);
    if (tok == NULL)
        return err_set(e, ERR_LIMIT, "no memory for a token");
    tok->pid = getpid();
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&tok->holder_lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_mutex_init(&tok->keys_lock, NULL);
    pthread_mutex_init(&tok->lock, NULL);
    wait_cond_init(&tok->given);
    const struct {
        char **copy;
        const char *text;
    } texts[] = {{&tok->pin_path, options->pin_path},
                 {&tok->lock_path, options->lock_path},
                 {&tok->label, options->token_label},
                 {&tok->serial, options->token_serial},
                 {&tok->init_string, options->init_string}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        *texts[i].copy = texts[i].text != NULL ? strdup(texts[i].text) : NULL;
        if (texts[i].text != NULL && *texts[i].copy == NULL) {
            free_tok(tok);
            return err_set(e, ERR_LIMIT, "no memory for a token");
        }
    }
    *out_tok = tok;
    return ERR_OK;
}

static enum err_code open_into(struct tok *tok, const struct tok_options *options, struct err *e)
{
    TRY(tok_module_load(options->module_path, &tok->fn, e));
    TRY(tok_start(tok, options, e));
    enum err_code code = tok_sessions_open(tok, options->session_count, e);
    if (code == ERR_OK)
        code = tok_cache_new(tok, e);
    if (code == ERR_OK)
        return ERR_OK;
    tok_sessions_close(tok);
    tok->fn->C_Finalize(NULL);
    return code;
}

enum err_code tok_open(const struct tok_options *options, struct tok **out_tok, struct err *e)
{
    TRY(check_options(options, e));
    struct tok *tok = NULL;
    TRY(new_tok(options, &tok, e));
    const enum err_code code = open_into(tok, options, e);
    if (code != ERR_OK) {
        free_tok(tok);
        return code;
    }
    *out_tok = tok;
    return ERR_OK;
}

void tok_close(struct tok *tok)
{
    if (tok == NULL)
        return;
    const bool ours = tok->pid == getpid();
    if (ours) {
        tok_sessions_close(tok);
        tok->fn->C_Logout(tok->holder.handle);
        tok->fn->C_CloseSession(tok->holder.handle);
        tok->fn->C_Finalize(NULL);
    }
    free_tok(tok);
}

void tok_info(const struct tok *tok, struct tok_info *out_info)
{
    *out_info = tok->info;
}

void tok_health(struct tok *tok, struct tok_health *out_health)
{
    pthread_mutex_lock(&tok->lock);
    *out_health = (struct tok_health){.sessions = tok->session_count,
                                      .sessions_idle = tok->idle_count,
                                      .relogins = atomic_load(&tok->relogins),
                                      .reinitialised = atomic_load(&tok->reinitialised)};
    pthread_mutex_unlock(&tok->lock);
    const struct tok_cache_counts cache = tok_cache_counts(tok);
    out_health->cached = cache.entries;
    out_health->cache_room = TOK_CACHE_ENTRIES;
    out_health->cache_hits = cache.hits;
    out_health->cache_misses = cache.misses;
}
